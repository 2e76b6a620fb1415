"""What an iteration of `hessian_norm` costs, in training steps of the same samples.

    KERAS_BACKEND=tensorflow python examples/benchmarks/hessian_norm.py
    KERAS_BACKEND=jax python examples/benchmarks/hessian_norm.py --json FILE

Both are timed by turns within one process; the number to read is the median of the
ratios of neighbors.
"""

import argparse
import pathlib

import keras
import numpy as np
from paired import compare_all, keep, show

from keras_convinit import hessian_norm

ITERATIONS = 5


def plain(size):
    """Ten convolutions with batch normalization."""
    layers = [keras.Input((size, size, 3))]
    for index in range(10):
        layers += [
            keras.layers.Conv2D(32 if index < 5 else 64, 3, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
        ]
    return keras.Sequential(
        [*layers, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)]
    )


def resnet50(size):
    """The network of `keras.applications`, untrained."""
    return keras.applications.ResNet50(
        weights=None,
        input_shape=(size, size, 3),
        classes=10,
        classifier_activation=None,
    )


NETWORKS = {"plain": plain, "resnet50": resnet50}


def main(arguments=None):
    """Measures, prints a table, and keeps the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=NETWORKS, default="plain")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=pathlib.Path, help="where to keep the numbers")
    options = parser.parse_args(arguments)

    model = NETWORKS[options.network](options.size)
    model.compile(
        keras.optimizers.SGD(1e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    generator = np.random.default_rng(0)
    x = generator.standard_normal((options.batch, options.size, options.size, 3))
    x, y = x.astype("float32"), generator.integers(0, 10, options.batch)

    def steps():
        # One product more than there are iterations measures the residual.
        for _ in range(ITERATIONS + 1):
            model.train_on_batch(x, y)

    def norm():
        hessian_norm(model, x, y, max_iterations=ITERATIONS, tolerance=1e-30)

    rows = compare_all({"training step": steps, "iteration": norm}, options.rounds)
    show(
        f"{keras.backend.backend()}, {options.network}, batch {options.batch} of "
        f"{options.size} x {options.size}, {ITERATIONS + 1} of each",
        rows,
    )
    keep(options.json, vars(options), rows)


if __name__ == "__main__":
    main()
