"""Runs every experiment of this folder, one after the other, and writes RESULTS.md.

    python examples/reproduce/run_all.py --scale cpu

What is finished is not done again: interrupted, the same command goes on. One that
fails is named at the end and does not stop the others.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence

from command import HERE
from experiments import EXPERIMENTS


def main(arguments: Sequence[str] | None = None) -> list[str]:
    """The command; it gives the names of those that failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", default="cpu")
    known, others = parser.parse_known_args(arguments)
    failed = []
    for experiment in EXPERIMENTS:
        script = HERE / f"{experiment.name}.py"
        print(f"== {experiment.name}", flush=True)
        # Each in a process of its own, which gives back all memory.
        command = [sys.executable, str(script), "--scale", known.scale, *others]
        if subprocess.run(command).returncode:
            failed.append(experiment.name)
    if known.scale == "cpu" and "--output" not in others:
        subprocess.run([sys.executable, str(HERE / "write_results.py")], check=True)
    if failed:
        print(f"Failed: {', '.join(failed)}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(bool(main()))
