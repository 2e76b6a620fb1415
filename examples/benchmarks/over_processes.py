"""Times things by turns in several processes, one after the other.

A program may be a fifth slower in one process than in the next, in all of its runs
there and for nothing that it does: where its memory happens to lie is enough. Pairs of
neighboring runs of one process know nothing of it, those of several processes do.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from paired import Comparison, compared, timed

Functions = Mapping[str, Callable[[], object]]
WARM_UP = 2


def add_options(parser: argparse.ArgumentParser) -> None:
    """`--steps`, `--processes`, and what one of these is told."""
    parser.add_argument("--steps", type=int, default=8, help="of each, in a process")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)


def amount(options: argparse.Namespace) -> str:
    """How much is measured, in words."""
    return f"{options.steps} steps of each in {options.processes} processes"


def compare_over_processes(
    script: str,
    arguments: Sequence[str] | None,
    options: argparse.Namespace,
    functions: Callable[[], Functions],
) -> dict[str, Comparison] | None:
    """How each function compares with the first one.

    Args:
        script: The program that calls this, which is started again.
        arguments: Its arguments; None for those that it has.
        options: What it made of them, with those of `add_options`.
        functions: Makes the functions, in each process.

    Returns:
        A comparison for each name; None in a process that only measures, whose output
        is what it measured.
    """
    if options.measure or options.processes == 1:
        times = timed(functions(), options.steps, WARM_UP)
        if not options.measure:
            return compared(times)
        print(json.dumps({name: rows.tolist() for name, rows in times.items()}))
        return None
    given = sys.argv[1:] if arguments is None else arguments
    found = []
    for _ in range(options.processes):
        command = [sys.executable, script, *given, "--measure"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    return compared(
        {name: np.concatenate([f[name] for f in found]) for name in found[0]}
    )
