"""Fixtures shared by all tests. The backend is the one that KERAS_BACKEND names."""

import gc
import os
import pathlib
import signal
import subprocess
import sys
import textwrap

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if os.environ.get("KERAS_BACKEND") == "jax":
    # Tests compile many small programs, most of them for one run: what makes a program
    # fast costs more than it saves.
    flags = (
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
        "--xla_cpu_use_fusion_emitters=false",
        "--xla_cpu_parallel_codegen_split_count=1",
    )
    os.environ.setdefault("XLA_FLAGS", " ".join(flags))

import keras
import pytest

ROOT = pathlib.Path(__file__).parents[1]
TESTS = ROOT / "tests"


def pytest_collection_modifyitems(items):
    """Marks tests by what they use: the lab, processes of their own."""
    for item in items:
        if item.path.relative_to(TESTS).parts[0] in ("lab", "examples"):
            item.add_marker("lab")
        if "fresh_process" in item.fixturenames:
            item.add_marker("process")


def pytest_collection_finish():
    """Takes the frameworks and the tests themselves out of every later collection."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(20220117)


@pytest.fixture
def root():
    """The root of the repository."""
    return ROOT


@pytest.fixture
def fresh_process():
    """Runs Python code in a process of its own and returns what it printed."""

    def run(code, *, succeeds=True, **environment):
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ,
            "KERAS_BACKEND": keras.backend.backend(),
            "PYTHONPATH": os.pathsep.join(paths),
            **environment,
        }
        process = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            capture_output=True,
            text=True,
            env=environment,
        )
        assert (process.returncode == 0) == succeeds, process.stdout + process.stderr
        return process.stdout + process.stderr

    return run


@pytest.fixture
def press():
    """Sends this process Ctrl-C, or another signal."""
    # Whoever starts tests in the background has Ctrl-C ignored.
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, one) for number, one in usual.items()}
    yield lambda number=signal.SIGINT: os.kill(os.getpid(), number)
    for number, handler in before.items():
        signal.signal(number, handler)
