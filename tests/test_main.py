import os
import subprocess
import sys

import pytest

from keras_convinit import __main__ as door

pytestmark = pytest.mark.once


def without(module, monkeypatch):
    """As if it were not installed."""
    for name in list(sys.modules):
        if name.startswith("keras_convinit.lab"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)


@pytest.mark.parametrize("module", ["typer", "rich.console", "matplotlib.axes"])
def test_missing_extra_is_told_in_a_line(module, monkeypatch):
    without(module, monkeypatch)
    with pytest.raises(SystemExit) as exit_:
        door.main()
    # A string as status: printed to standard error, status 1.
    assert exit_.value.code == (
        f"The command line needs the Python package {module.partition('.')[0]}. "
        "To get all it needs, in a clone of the repository: "
        'pip install ".[lab]"'
    )


def test_package_that_is_missed_during_the_work(monkeypatch, tmp_path):
    without("sklearn.datasets", monkeypatch)
    monkeypatch.setattr(
        sys, "argv", ["keras-convinit", "quickstart", "--output", str(tmp_path)]
    )
    with pytest.raises(SystemExit, match="needs the Python package sklearn"):
        door.main()


def test_other_missing_modules_are_mistakes_of_ours(monkeypatch):
    without("keras_convinit.lab.stories.table", monkeypatch)
    with pytest.raises(
        ModuleNotFoundError, match=r"keras_convinit\.lab\.stories\.table"
    ):
        door.main()


@pytest.mark.process
def test_missing_extra_in_a_process():
    program = (
        "import runpy, sys; sys.modules['typer'] = None; "
        "runpy.run_module('keras_convinit', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        # The backend that is imported fastest.
        env={**os.environ, "KERAS_BACKEND": "numpy"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert 'pip install ".[lab]"' in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
