"""Runs measurements one after the other, each in a process of its own.

A file of numbers also says by which command, in how many seconds, with which versions
and on which machine it was made; one for which all of that still holds is not made
again.
"""

import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
import shlex
import subprocess
import sys
import tempfile
import time

from examples.benchmarks.paired import machine
from examples.benchmarks.suite.measurements import Measurement

SCRIPTS = pathlib.Path(__file__).resolve().parents[1]
ROOT = SCRIPTS.parents[1]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one measurement.

    Args:
        measurement: Its name.
        backend: Where.
        state: `"kept"`, `"measured"` or `"failed"`.
        seconds: What it took.
        error: The end of what a failed one printed.
    """

    measurement: str
    backend: str
    state: str
    seconds: float = 0.0
    error: str = ""


def run(
    measurement: Measurement,
    backend: str,
    scale: str,
    folder: pathlib.Path,
    again: bool = False,
) -> Outcome:
    """Measures, unless it is there, and keeps the numbers.

    Args:
        measurement: What.
        backend: Where.
        scale: `"full"` or `"smoke"`.
        folder: Where files of numbers lie. One that fails leaves a file ending in
            `.failed`, with what it printed, and earlier numbers as they were.
        again: Whether to measure what is there, too.

    Returns:
        What became of it.
    """
    name = measurement.name
    path = folder / measurement.file(backend)
    command = measurement.command(backend, scale)
    if not again and is_current(path, command):
        return Outcome(name, backend, "kept")
    failure = path.with_suffix(".failed")
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        fresh = pathlib.Path(place) / path.name
        script = SCRIPTS / f"{measurement.script}.py"
        arguments = [*shlex.split(getattr(measurement, scale)), "--json", str(fresh)]
        done = subprocess.run(
            [sys.executable, str(script), *arguments],
            cwd=ROOT,
            env=_environment(backend),
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - began
        folder.mkdir(parents=True, exist_ok=True)
        if done.returncode != 0 or not fresh.exists():
            error = done.stderr.strip() or f"ended with {done.returncode}, no numbers"
            failure.write_text(f"{command}\n\n{error}\n")
            return Outcome(name, backend, "failed", seconds, error)
        record = json.loads(fresh.read_text())
    record = {"command": command, "seconds": round(seconds, 1), **record}
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(record, indent=1) + "\n")
    unfinished.replace(path)
    failure.unlink(missing_ok=True)
    return Outcome(name, backend, "measured", seconds)


def is_current(path: pathlib.Path, command: str) -> bool:
    """Whether a file holds what the command would measure here and now."""
    if not path.exists() or path.with_suffix(".failed").exists():
        return False
    record = json.loads(path.read_text())
    return (
        record.get("command") == command
        and record["machine"] == machine()
        and all(_installed(*item) for item in record["versions"].items())
    )


def _installed(package: str, version: str) -> bool:
    if package == "python":
        return version == platform.python_version()
    try:
        return version == importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        # The package itself runs from its sources, too.
        return package == "keras_convinit"


def _environment(backend: str) -> dict[str, str]:
    """This tree's package comes before an installed one."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONPATH": os.pathsep.join(paths),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
