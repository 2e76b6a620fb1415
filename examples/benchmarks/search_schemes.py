"""What an iteration of GradInit and a step of MetaInit cost, in training steps.

    KERAS_BACKEND=jax python examples/benchmarks/search_schemes.py
    KERAS_BACKEND=tensorflow python examples/benchmarks/search_schemes.py --json FILE

ResNet-20 with batch normalization, and the training step that Keras compiles. An
iteration of GradInit is of one of two kinds, which are timed apart: on the norm of the
gradient, where that is above its bound, and on the loss after a step otherwise. All
are timed by turns within one process; the number to read is the median of the ratios
of neighbors. The public versions in PyTorch took 5.2 to 6.0 (GradInit) and 25 to 30
(MetaInit) training steps.
"""

import argparse
import pathlib

import keras
import numpy as np
from paired import compare_all, keep, show

from keras_convinit.analysis import analyze, make_executable
from keras_convinit.lab import models
from keras_convinit.schemes import BatchSampler, GradInit, MetaInit, SearchProblem


def search_of(scheme, model, data, loss):
    """The search of a scheme, ready for its first step."""
    analysis = analyze(model)
    program = make_executable(analysis.program)
    problem = SearchProblem(model, analysis, program, loss, set())
    return scheme.search(problem, BatchSampler(model, data, "benchmark"), 0)


def main(arguments=None):
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="resnet_cifar:20")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args(arguments)

    keras.utils.set_random_seed(0)
    shape = (options.size, options.size, 3)
    generator = np.random.default_rng(0)
    x = generator.standard_normal((options.batch, *shape)).astype("float32")
    y = generator.integers(0, 10, options.batch)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = models.from_spec(options.network, input_shape=shape)
    # Rates of zero: all of them see the same network all the time.
    model.compile(keras.optimizers.SGD(1e-30, momentum=0.9), loss)

    def never_moves(bound):
        return GradInit(1, 1e-30, options.batch, max_gradient_norm=bound)

    searches = {
        "GradInit, the norm": search_of(never_moves(1e-30), model, (x, y), loss),
        "GradInit, the loss": search_of(never_moves(1e30), model, (x, y), loss),
        "MetaInit": search_of(
            MetaInit(1, 1e-30, batch_size=options.batch), model, (x, y), loss
        ),
    }
    rows = compare_all(
        {
            "training step": lambda: float(model.train_on_batch(x, y)),
            **{name: search.step for name, search in searches.items()},
        },
        options.rounds,
    )
    show(f"{keras.backend.backend()}, {options.network}, batch {options.batch}", rows)
    keep(options.json, vars(options), rows)


if __name__ == "__main__":
    main()
