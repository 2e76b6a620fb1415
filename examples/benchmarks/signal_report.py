"""What a signal report costs once it is compiled, in training steps of the same batch.

    KERAS_BACKEND=tensorflow python examples/benchmarks/signal_report.py
    KERAS_BACKEND=jax python examples/benchmarks/signal_report.py --json FILE

Both are timed by turns within one process; the number to read is the median of the
ratios of neighbors.
"""

import argparse
import pathlib
import time

import keras
import numpy as np
from paired import compare_all, keep, show

from keras_convinit import signal_report


def deep(size):
    """300 dense layers, on the pixels of an image."""
    layers = [
        keras.layers.Dense(256, "relu", kernel_initializer="he_normal")
        for _ in range(299)
    ]
    return keras.Sequential(
        [
            keras.Input((size, size, 3)),
            keras.layers.Flatten(),
            *layers,
            keras.layers.Dense(10),
        ]
    )


def plain(size):
    """300 convolutions of 16 channels."""
    layers = [
        keras.layers.Conv2D(16, 3, padding="same", activation="relu")
        for _ in range(299)
    ]
    return keras.Sequential(
        [
            keras.Input((size, size, 3)),
            *layers,
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10),
        ]
    )


def resnet50(size):
    """The network of `keras.applications`, untrained."""
    return keras.applications.ResNet50(
        weights=None,
        input_shape=(size, size, 3),
        classes=10,
        classifier_activation=None,
    )


NETWORKS = {"deep": deep, "plain": plain, "resnet50": resnet50}


def main(arguments=None):
    """Measures, prints a table, and keeps the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=NETWORKS, default="deep")
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

    began = time.perf_counter()
    signal_report(model, x, y)
    first = time.perf_counter() - began
    signal_report(model, x, y)
    second = time.perf_counter() - began - first
    rows = compare_all(
        {
            "training step": lambda: model.train_on_batch(x, y),
            "report": lambda: signal_report(model, x, y),
        },
        options.rounds,
    )
    show(
        f"{keras.backend.backend()}, {options.network}, batch {options.batch} of "
        f"{options.size} x {options.size}",
        rows,
    )
    print(f"the first report {first:.1f} s, the second, compiled, {second:.1f} s")
    seconds = {"first report, s": first, "second report, s": second}
    keep(options.json, vars(options), {**rows, **seconds})


if __name__ == "__main__":
    main()
