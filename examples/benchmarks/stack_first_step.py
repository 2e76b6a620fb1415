"""How long it takes until a very deep residual network has made its first step.

    python examples/benchmarks/stack_first_step.py                      # 3 x 166 blocks
    python examples/benchmarks/stack_first_step.py --blocks 1666 --kinds stack,remat

Three stages of equal blocks, two convolutions each, on maps of 32x32, 16x16 and 8x8:
once layer by layer in plain Keras, once with a `ScaledResidualStack` for each stage,
and once with one that computes activations again instead of keeping them. Each is made
in a process of its own, by turns: from the first layer to the end of the first training
step, then more steps. What the first takes longer than those is the price of building
and compiling. Memory is the largest that the process ever held.
"""

import argparse
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import time

import numpy as np
from paired import keep, paired

KINDS = ("layers", "stack", "remat")


def branch(options):
    """The layers of a branch, weight-normalized if wanted."""
    import keras

    from keras_convinit.initializers import WeightNormGain
    from keras_convinit.layers import WeightNormConv2D

    if options.weight_norm:
        last = WeightNormGain(gamma=1.0)
        return [
            WeightNormConv2D(options.width, 3, padding="same", activation="relu"),
            WeightNormConv2D(options.width, 3, padding="same", gain_initializer=last),
        ]
    arguments = {"padding": "same", "kernel_initializer": "he_normal"}
    return [
        keras.layers.Conv2D(options.width, 3, activation="relu", **arguments),
        keras.layers.Conv2D(options.width, 3, **arguments),
    ]


def network(kind, options):
    """The whole network, compiled."""
    import keras

    from keras_convinit.layers import ScaledResidualStack

    inputs = x = keras.Input((32, 32, 3))
    for stage in range(3):
        x = keras.layers.Conv2D(
            options.width, 3, strides=2 if stage else 1, padding="same"
        )(x)
        if kind == "layers":
            for _ in range(options.blocks):
                y = x
                for layer in branch(options):
                    y = layer(y)
                y = keras.layers.Rescaling(options.blocks**-0.5)(y)
                x = keras.layers.Add()([x, y])
        else:
            x = ScaledResidualStack(
                branch(options), options.blocks, remat=kind == "remat"
            )(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(10)(x))
    model.compile(
        keras.optimizers.SGD(1e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=True if options.xla else "auto",
    )
    return model


def first_steps(kind, options):
    """What one process measures."""
    # So that what is counted is neither the import nor the backend's own start.
    import keras

    import keras_convinit

    assert keras_convinit
    keras.ops.convert_to_numpy(keras.ops.ones(1) + 1)
    # Keras imports TensorFlow, where it is installed, at the first config of a layer.
    keras.layers.Dense(1).get_config()
    generator = np.random.default_rng(0)
    images = generator.standard_normal((options.batch, 32, 32, 3)).astype("float32")
    labels = generator.integers(0, 10, options.batch)

    def now():
        return time.perf_counter(), time.process_time()

    start = now()
    model = network(kind, options)
    built = now()
    times = []
    losses = []
    for _ in range(1 + options.steps):
        # Keras makes its training function at the first step.
        losses.append(float(model.train_on_batch(images, labels)))
        times.append(now())
    first, first_cpu = np.subtract(times[0], start).tolist()
    step, step_cpu = np.median(np.diff(times, axis=0), axis=0).tolist()
    return {
        "build": built[0] - start[0],
        "first_step": first,
        "first_step_cpu": first_cpu,
        "step": step,
        "step_cpu": step_cpu,
        "peak_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2,
        "losses": losses,
    }


def in_a_process(kind, arguments):
    """What a fresh process measures."""
    command = [sys.executable, __file__, *arguments, "--measure", kind]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def series(results, name):
    """Wall and processor times of one thing, a row for each process."""
    return np.array([[result[name], result[f"{name}_cpu"]] for result in results])


def summary(runs):
    """One row a kind: medians over the runs, and over the ratios of neighbors."""
    first, *_ = runs.values()
    rows = {}
    for kind, results in runs.items():
        rows[kind] = {
            name: statistics.median(result[name] for result in results)
            for name in ("build", "first_step", "step", "peak_gigabytes")
        }
        rows[kind]["over_the_step"] = statistics.median(
            result["first_step"] - result["step"] for result in results
        )
        rows[kind]["compared"] = {
            name: paired(series(first, name), series(results, name))
            for name in ("first_step", "step")
        }
        rows[kind]["sooner"] = 1 / rows[kind]["compared"]["first_step"].wall
        rows[kind]["runs"] = results
    return rows


def main(arguments=None):
    """Measures, prints a table, and keeps the numbers."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=166, help="blocks of a stage")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--weight-norm", action="store_true")
    parser.add_argument("--xla", action="store_true")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="steps after the first")
    parser.add_argument("--json", type=pathlib.Path, help="where to keep the numbers")
    parser.add_argument("--measure", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        print(json.dumps(first_steps(options.measure, options)))
        return

    kinds = options.kinds.split(",")
    runs: dict = {kind: [] for kind in kinds}
    for _ in range(options.repeats):
        for kind in kinds:
            runs[kind].append(in_a_process(kind, arguments))
            latest = runs[kind][-1]
            print(
                f"{kind}: first step after {latest['first_step']:.1f} s",
                file=sys.stderr,
            )
    rows = summary(runs)
    import keras

    convolution = "weight-normalized convolutions" if options.weight_norm else "Conv2D"
    print(
        f"{keras.backend.backend()}, 3 x {options.blocks} blocks of two {convolution}, "
        f"width {options.width}, batch {options.batch}, {options.repeats} processes"
    )
    print(
        f"{'':8}{'build, s':>9}{'first step, s':>14}{'later ones, s':>14}"
        f"{'difference, s':>14}{'sooner':>8}{'peak, GB':>10}"
    )
    for kind, row in rows.items():
        print(
            f"{kind:8}{row['build']:9.1f}{row['first_step']:14.1f}{row['step']:14.2f}"
            f"{row['over_the_step']:14.1f}{row['sooner']:8.1f}"
            f"{row['peak_gigabytes']:10.2f}"
        )
    keep(options.json, vars(options), rows)


if __name__ == "__main__":
    main()
