"""What a scheme that looks at data costs, in plain forward passes of the same batch.

    KERAS_BACKEND=torch python examples/benchmarks/data_schemes.py
    KERAS_BACKEND=tensorflow python examples/benchmarks/data_schemes.py --json FILE

A network of 50 convolutions. The first row is a plain call of the model, layer by
layer, as the schemes run it; `predict` is compiled. All are timed by turns within one
process; the number to read is the median of the ratios of neighbors.

On a machine that others use as well, threads wait for each other: those of a BLAS
library for 50 ms at every orthogonal kernel, those of PyTorch at every operation. See
`OPENBLAS_NUM_THREADS=1` and `OMP_NUM_THREADS=1`, which are kept with the numbers.
"""

import argparse
import os
import pathlib

import keras
import numpy as np
from paired import compare_all, keep, show

from keras_convinit import initialize
from keras_convinit.layers import WeightNormConv2D


def network(layer, depth, width, size):
    """Convolutions of one width, each with a ReLU, and a classifier."""
    return keras.Sequential(
        [
            keras.Input((size, size, 3)),
            *(layer(width, 3, padding="same", activation="relu") for _ in range(depth)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10),
        ]
    )


def main(arguments=None):
    """Measures, and prints a table for each scheme."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=50)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args(arguments)

    generator = np.random.default_rng(0)
    shape = (options.batch, options.size, options.size, 3)
    x = generator.standard_normal(shape).astype("float32")
    kept = {}
    kinds = {"lsuv": keras.layers.Conv2D, "data_dependent": WeightNormConv2D}
    for scheme, layer in kinds.items():
        model = network(layer, options.layers, options.width, options.size)
        rows = compare_all(
            {
                "model(x)": lambda model=model: keras.ops.convert_to_numpy(model(x)),
                "predict": lambda model=model: model.predict(
                    x, batch_size=options.batch, verbose=0
                ),
                scheme: lambda model=model, scheme=scheme: initialize(
                    model, scheme, data=x, seed=0
                ),
            },
            options.rounds,
        )
        title = (
            f"{keras.backend.backend()}, {options.layers} layers of {options.width}, "
            f"batch {options.batch} of {options.size} x {options.size}"
        )
        show(title, rows)
        kept.update({f"{scheme}: {name}": row for name, row in rows.items()})
    settings = {name: value for name, value in vars(options).items() if name != "json"}
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        settings[name] = os.environ.get(name)
    keep(options.json, settings, kept)


if __name__ == "__main__":
    main()
