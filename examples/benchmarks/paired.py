"""Times two things by turns, for machines whose speed changes while one looks.

A machine that is shared or throttled may run at half its speed for seconds at a time.
Two measurements made one after the other then say nothing about each other; pairs of
neighbouring ones do. What is reported is the median of the ratios of the pairs.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How long B takes in units of A.

    Args:
        wall: Median of the paired ratios of wall-clock time.
        cpu: Median of the paired ratios of processor time.
        a_seconds: Median wall-clock time of A.
        b_seconds: Median wall-clock time of B.
        pairs: Number of pairs.
    """

    wall: float
    cpu: float
    a_seconds: float
    b_seconds: float
    pairs: int


def compare(a: Callable[[], object], b: Callable[[], object], pairs: int) -> Comparison:
    """Runs A and B by turns, either one first every other time, after a warm-up."""
    a()
    b()
    walls: tuple[list[float], list[float]] = ([], [])
    cpus: tuple[list[float], list[float]] = ([], [])
    for index in range(pairs):
        for which in (0, 1) if index % 2 else (1, 0):
            wall, cpu = time.perf_counter(), time.process_time()
            (a, b)[which]()
            walls[which].append(time.perf_counter() - wall)
            cpus[which].append(time.process_time() - cpu)
    ratio = statistics.median
    return Comparison(
        wall=ratio(b / a for a, b in zip(*walls, strict=True)),
        cpu=ratio(b / a for a, b in zip(*cpus, strict=True)),
        a_seconds=ratio(walls[0]),
        b_seconds=ratio(walls[1]),
        pairs=pairs,
    )
