"""Times several things by turns, for machines whose speed changes while one looks.

A machine that is shared or throttled may run at half its speed for seconds at a time.
Two measurements made one after the other then say nothing about each other; pairs of
neighboring ones do. What is reported are medians of the ratios of the pairs.
"""

import contextlib
import dataclasses
import importlib
import json
import os
import pathlib
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How long B takes in units of A.

    Args:
        wall: Median of the paired ratios of wall-clock time.
        cpu: Median of the paired ratios of processor time.
        wall_quartiles: The quartiles of the former.
        a_seconds: Median wall-clock time of A.
        b_seconds: Median wall-clock time of B.
        pairs: Number of pairs.
    """

    wall: float
    cpu: float
    wall_quartiles: tuple[float, float]
    a_seconds: float
    b_seconds: float
    pairs: int


def compare(
    a: Callable[[], object], b: Callable[[], object], pairs: int, warm_up: int = 1
) -> Comparison:
    """How B compares with A, from that many runs of each by turns."""
    return compare_all({"a": a, "b": b}, pairs, warm_up)["b"]


def compare_all(
    functions: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1
) -> dict[str, Comparison]:
    """How each function compares with the first one.

    Args:
        functions: What to time, by name.
        rounds: How often each of them runs.
        warm_up: How often each runs beforehand.

    Returns:
        A comparison for each name, that of the first with itself included.
    """
    return compared(timed(functions, rounds, warm_up))


def timed(
    functions: Mapping[str, Callable[[], object]], rounds: int, warm_up: int
) -> dict[str, np.ndarray]:
    """Wall-clock and processor times of each, `(rounds, 2)`; see `compare_all`."""
    runs = list(functions.values())
    for run in runs:
        for _ in range(warm_up):
            run()
    times = np.zeros((len(runs), rounds, 2))
    orders = np.random.default_rng(0)
    for index in range(rounds):
        # Who always came after the same neighbor would be timed in its wake: of equal
        # networks that take turns in one order some are slower by some percent.
        for which in orders.permutation(len(runs)):
            wall, cpu = time.perf_counter(), time.process_time()
            runs[which]()
            times[which, index] = time.perf_counter() - wall, time.process_time() - cpu
    return dict(zip(functions, times, strict=True))


def compared(times: Mapping[str, np.ndarray]) -> dict[str, Comparison]:
    """How each of some series of times compares with the first one."""
    first, *_ = times.values()
    return {name: paired(first, rows) for name, rows in times.items()}


def paired(a: np.ndarray, b: np.ndarray) -> Comparison:
    """The comparison of two series of wall and processor times, `(pairs, 2)` each."""
    ratios = b / a
    low, high = np.quantile(ratios[:, 0], [0.25, 0.75])
    return Comparison(
        wall=float(np.median(ratios[:, 0])),
        cpu=float(np.median(ratios[:, 1])),
        wall_quartiles=(float(low), float(high)),
        a_seconds=float(np.median(a[:, 0])),
        b_seconds=float(np.median(b[:, 0])),
        pairs=len(a),
    )


def show(title: str, rows: Mapping[str, Comparison]) -> None:
    """Prints one line for each comparison."""
    print(title)
    print(
        f"{'':28}{'median, ms':>11}{'wall ratio':>12}{'quartiles':>16}{'CPU ratio':>11}"
    )
    for name, row in rows.items():
        low, high = row.wall_quartiles
        print(
            f"{name:28}{1e3 * row.b_seconds:11.1f}{row.wall:12.3f}"
            f"{f'{low:.3f}-{high:.3f}':>16}{row.cpu:11.3f}"
        )


def machine() -> str:
    """The processor, and how many of its cores there are."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"{name}, {os.cpu_count()} cores"


def keep(
    path: pathlib.Path | None,
    settings: Mapping[str, Any],
    rows: Any,
    packages: Sequence[str] = (),
) -> None:
    """Writes rows to a JSON file, with what they depend on.

    Args:
        path: Where to; nothing is written for None.
        settings: What was measured.
        rows: What came out.
        packages: What they depend on besides Keras and its backend.
    """
    if path is None:
        return
    import keras

    import keras_convinit
    from keras_convinit.backend import get_accelerator

    backend = keras.backend.backend()
    values = {
        "settings": {k: v for k, v in settings.items() if k != "json"},
        "rows": rows,
        "versions": {
            "keras_convinit": keras_convinit.__version__,
            "keras": keras.__version__,
            **{
                package: importlib.import_module(package).__version__
                for package in (backend, *packages)
            },
            "python": platform.python_version(),
        },
        "backend": backend,
        "machine": machine(),
        "accelerator": get_accelerator(),
        "date": time.strftime("%Y-%m-%d"),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=1, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)
