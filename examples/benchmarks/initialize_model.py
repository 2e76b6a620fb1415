"""What it takes to initialize a model by reading it, in units of building it.

    KERAS_BACKEND=jax python examples/benchmarks/initialize_model.py

Builds a ResNet-50 and initializes it by `"auto"`, by turns.
"""

import argparse
import pathlib

import keras
from paired import compare_all, keep, show

import keras_convinit
from keras_convinit import analysis


def main(arguments=None):
    """Measures, prints a table, and keeps the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="ResNet50", help="of keras.applications")
    parser.add_argument("--size", type=int, default=64, help="of an image")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=pathlib.Path, help="where to keep the numbers")
    options = parser.parse_args(arguments)

    def build():
        network = getattr(keras.applications, options.network)
        shape = (options.size, options.size, 3)
        return network(weights=None, input_shape=shape, classes=10)

    model = build()
    rows = compare_all(
        {
            "build": build,
            "read the graph": lambda: analysis.analyze(model),
            "initialize auto": lambda: keras_convinit.initialize(model, "auto", seed=0),
        },
        options.rounds,
    )
    show(f"{options.network} on {keras.backend.backend()}, against building it", rows)
    keep(options.json, vars(options), rows)


if __name__ == "__main__":
    main()
