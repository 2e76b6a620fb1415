"""What the package costs: its import, and the draw of a large kernel.

    KERAS_BACKEND=jax python examples/benchmarks/initializers.py

Draws a (3, 3, 640, 640) kernel by turns with `zhang_backward` and with Keras'
`VarianceScaling` of the same law, and times `import keras_convinit` in fresh processes
that have imported keras. Prints a table; `--json FILE` keeps the numbers.
"""

import argparse
import pathlib
import statistics
import subprocess
import sys

import keras
from paired import compare, keep, show

from keras_convinit.initializers import ZhangBackward, ZhangForward

IMPORT = """
import time
import keras
start = time.perf_counter()
import keras_convinit
print(time.perf_counter() - start)
"""


def finished(value):
    """Waits for a tensor: JAX returns before it has computed."""
    return getattr(value, "block_until_ready", lambda: value)()


def draws(shape, pairs):
    """Compares each initializer with the built-in one of the same law."""
    rows = {}
    for ours, mode in ((ZhangForward(), "fan_in"), (ZhangBackward(), "fan_out")):
        builtin = keras.initializers.VarianceScaling(
            2.0, mode=mode, distribution="untruncated_normal"
        )
        rows[type(ours).__name__] = compare(
            lambda builtin=builtin: finished(builtin(shape)),
            lambda ours=ours: finished(ours(shape)),
            pairs,
        )
    return rows


def import_seconds(processes):
    """The median time of the import, over fresh processes."""
    times = [
        float(
            subprocess.run(
                [sys.executable, "-c", IMPORT],
                capture_output=True,
                text=True,
                check=True,
            ).stdout.split()[-1]
        )
        for _ in range(processes)
    ]
    return statistics.median(times)


def main(arguments=None):
    """Measures, prints a table, and keeps the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--width", type=int, default=640, help="of the kernel")
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--json", type=pathlib.Path, help="where to keep the numbers")
    options = parser.parse_args(arguments)

    shape = (3, 3, options.width, options.width)
    rows = draws(shape, options.pairs)
    show(f"Drawing {shape} on {keras.backend.backend()}, against Keras", rows)
    seconds = import_seconds(options.processes)
    print(f"import keras_convinit over import keras: {seconds * 1e3:.0f} ms")
    keep(options.json, vars(options), {**rows, "import_seconds": seconds})


if __name__ == "__main__":
    main()
