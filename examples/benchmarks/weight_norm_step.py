"""What weight normalization adds to a training step, and what other layers add.

    KERAS_BACKEND=tensorflow python examples/benchmarks/weight_norm_step.py
    KERAS_BACKEND=jax python examples/benchmarks/weight_norm_step.py --jit-compile yes

The same convolutional network is trained plain, with weight normalization, with batch
normalization and with Keras' `SpectralNormalization`, one step of each in turn within
each of some processes. Where kernels are large and batches small, as with
`--width 256 --batch 8`, weight normalization has the most to do.
"""

import argparse
import pathlib

import keras
import numpy as np
from over_processes import add_options, amount, compare_over_processes
from paired import keep, show

from keras_convinit.layers import WeightNormConv2D

KINDS = ("plain", "weight norm", "batch norm", "spectral norm")
JIT_COMPILE = {"auto": "auto", "yes": True, "no": False}


def convolution(kind, width):
    """One convolution of the network, by the layers that it takes."""
    if kind == "weight norm":
        return [WeightNormConv2D(width, 3, padding="same", activation="relu")]
    if kind == "batch norm":
        return [
            keras.layers.Conv2D(width, 3, padding="same", use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
        ]
    plain = keras.layers.Conv2D(width, 3, padding="same", activation="relu")
    if kind == "spectral norm":
        return [keras.layers.SpectralNormalization(plain)]
    return [plain]


def network(kind, options):
    """A network of equal convolutions, with a classifier on top."""
    layers = [keras.Input((options.size, options.size, options.width))]
    for _ in range(options.layers):
        layers += convolution(kind, options.width)
    layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)]
    return keras.Sequential(layers)


def images(options):
    """A batch of noise, as many channels deep as the network is wide."""
    shape = (options.batch, options.size, options.size, options.width)
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def parser(text):
    """The options that the benchmarks of this network share."""
    options = argparse.ArgumentParser(description=text.splitlines()[0])
    options.add_argument("--width", type=int, default=64)
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--size", type=int, default=32)
    options.add_argument("--layers", type=int, default=7)
    add_options(options)
    options.add_argument("--jit-compile", choices=JIT_COMPILE, default="auto")
    options.add_argument("--json", type=pathlib.Path, help="where to keep the numbers")
    return options


def title(options):
    """What was measured, in one line."""
    return (
        f"{keras.backend.backend()}, {options.layers} convolutions of width "
        f"{options.width}, {options.size} x {options.size}, batch {options.batch}, "
        f"jit_compile={options.jit_compile}, {amount(options)}"
    )


def main(arguments=None):
    """Measures, prints a table, and keeps the numbers."""
    choices = parser(__doc__)
    choices.add_argument("--kinds", default=",".join(KINDS), help="the first is 1")
    options = choices.parse_args(arguments)
    labels = np.random.default_rng(0).integers(0, 10, options.batch)
    batch = images(options), labels

    def step(kind):
        model = network(kind, options)
        model.compile(
            keras.optimizers.SGD(1e-3, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=JIT_COMPILE[options.jit_compile],
        )
        return lambda: model.train_on_batch(*batch)

    rows = compare_over_processes(
        __file__,
        arguments,
        options,
        lambda: {kind: step(kind) for kind in options.kinds.split(",")},
    )
    if rows is None:
        return
    show(f"Training step: {title(options)}", rows)
    keep(options.json, vars(options), rows)


if __name__ == "__main__":
    main()
