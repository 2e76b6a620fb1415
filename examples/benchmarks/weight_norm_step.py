"""What weight normalisation adds to a training step, and what batch normalisation does.

    KERAS_BACKEND=tensorflow python examples/benchmarks/weight_norm_step.py
    KERAS_BACKEND=jax python examples/benchmarks/weight_norm_step.py --jit-compile yes

The same convolutional network is trained plain, with weight normalisation and with
batch normalisation, one step of each in turn within one process. What else the machine
does then meets all three alike: the numbers to read are the medians of the ratios of
steps that stood side by side. Where kernels are large and batches small, as with
`--width 256 --batch 8`, weight normalisation has the most to do.
"""

import argparse
import json
import pathlib
import platform
import time

import keras
import numpy as np

import keras_convinit
from keras_convinit.layers import WeightNormConv2D


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
    return [keras.layers.Conv2D(width, 3, padding="same", activation="relu")]


KINDS = ("plain", "weight norm", "batch norm")


def network(kind, options):
    """A network of equal convolutions, with a classifier on top."""
    layers = [keras.Input((options.size, options.size, options.width))]
    for _ in range(options.layers):
        layers += convolution(kind, options.width)
    layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)]
    model = keras.Sequential(layers)
    model.compile(
        keras.optimizers.SGD(1e-3, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile={"auto": "auto", "yes": True, "no": False}[options.jit_compile],
    )
    return model


def seconds(model, data):
    """Wall and processor time of one step."""
    wall, processor = time.perf_counter(), time.process_time()
    model.train_on_batch(*data)
    return time.perf_counter() - wall, time.process_time() - processor


def measure(options):
    """The times of every step, of shape (kinds, steps, 2)."""
    generator = np.random.default_rng(0)
    shape = (options.batch, options.size, options.size, options.width)
    data = (
        generator.standard_normal(shape).astype("float32"),
        generator.integers(0, 10, options.batch),
    )
    models = [network(kind, options) for kind in KINDS]
    for model in models:
        for _ in range(3):
            model.train_on_batch(*data)
    times = np.zeros((len(KINDS), options.steps, 2))
    for step in range(options.steps):
        # Nobody always comes after the same neighbour.
        for index in np.roll(range(len(KINDS)), step):
            times[index, step] = seconds(models[index], data)
    return times


def summary(times):
    """One row a kind: medians of the times, and of the ratios to the plain network."""
    ratios = times / times[:1]
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75], axis=1)
    return [
        {
            "kind": kind,
            "seconds": np.median(times[index], axis=0).tolist(),
            "ratio": middle[index].tolist(),
            "quartiles": [low[index].tolist(), high[index].tolist()],
        }
        for index, kind in enumerate(KINDS)
    ]


def main(arguments=None):
    """Measures, prints a table, and keeps the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--layers", type=int, default=7)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--jit-compile", choices=["auto", "yes", "no"], default="auto")
    parser.add_argument("--json", type=pathlib.Path, help="where to keep the numbers")
    options = parser.parse_args(arguments)

    times = measure(options)
    rows = summary(times)
    print(
        f"{keras.backend.backend()}, {options.layers} convolutions of width "
        f"{options.width}, {options.size} x {options.size}, batch {options.batch}, "
        f"jit_compile={options.jit_compile}, {options.steps} steps"
    )
    print(
        f"{'':12}{'step, ms':>10}{'wall ratio':>12}{'quartiles':>16}{'CPU ratio':>12}"
    )
    for row in rows:
        low, high = (quartile[0] for quartile in row["quartiles"])
        print(
            f"{row['kind']:12}{1e3 * row['seconds'][0]:10.1f}{row['ratio'][0]:12.3f}"
            f"{f'{low:.3f}-{high:.3f}':>16}{row['ratio'][1]:12.3f}"
        )
    if options.json:
        options.json.write_text(
            json.dumps(
                {
                    "backend": keras.backend.backend(),
                    "keras": keras.__version__,
                    "keras_convinit": keras_convinit.__version__,
                    "machine": platform.processor() or platform.machine(),
                    "options": {**vars(options), "json": None},
                    "rows": rows,
                    "times": times.tolist(),
                },
                indent=1,
            )
        )
    return rows


if __name__ == "__main__":
    main()
