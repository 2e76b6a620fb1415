"""What is measured stays as it is, with all that is random around it."""

import random

import keras
import numpy as np
import pytest

from keras_convinit import SignalMonitor, hessian_norm, initialize, signal_report
from keras_convinit.schemes import LSUV, GradInit, MetaInit

layers = keras.layers
generator = np.random.default_rng(0)
X = generator.standard_normal((24, 6)).astype("float32")
Y = generator.integers(0, 3, 24)
BACKEND = keras.backend.backend()


class OfPython(layers.Layer):
    """Draws from Python and numpy, whenever it is called or traced."""

    def call(self, x):
        return x + random.gauss(0, 0.1) + float(np.random.normal(0, 0.1))


class OfKeras(layers.Layer):
    """Draws from Keras' own generator; Keras refuses that where JAX traces."""

    def call(self, x):
        if BACKEND == "jax":
            return x
        return x + keras.random.normal((6,), stddev=0.1)


class OfTheFramework(layers.Layer):
    """Draws from the framework's global generator; JAX has none."""

    def call(self, x):
        if BACKEND == "tensorflow":
            return x + tensorflow().random.get_global_generator().normal((6,))
        return x + torch().randn(6) if BACKEND == "torch" else x


def tensorflow():
    import tensorflow

    return tensorflow


def torch():
    import torch

    return torch


NOISES = {
    "dropout": lambda: [layers.Dropout(0.3)],
    "seeded": lambda: [layers.Dropout(0.3, seed=3), layers.GaussianNoise(0.1, seed=2)],
    "noise": lambda: [layers.GaussianNoise(0.2), layers.GaussianDropout(0.2)],
    "Python": lambda: [OfPython()],
    "Keras": lambda: [OfKeras()],
    "framework": lambda: [OfTheFramework()],
    "normalization": lambda: [layers.BatchNormalization()],
}
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture(params=NOISES)
def start(request):
    """Makes a model, and has all generators begin anew."""

    def make():
        keras.utils.set_random_seed(7)
        if BACKEND == "tensorflow":
            random_numbers = tensorflow().random
            random_numbers.set_global_generator(
                random_numbers.Generator.from_seed(3, alg="philox")
            )
        hidden = layers.Dense(6, "relu", name="hidden")
        middle = NOISES[request.param]()
        model = keras.Sequential(
            [keras.Input((6,)), hidden, *middle, layers.Dense(3, name="last")]
        )
        model.compile("adam", LOSS, metrics=["accuracy"])
        return model

    make.uses_keras = request.param == "Keras"
    return make


def values(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [np.array(keras.ops.convert_to_numpy(v)) for v in variables]


def generators():
    """The states of all generators that belong to nobody."""
    found = {"Python": random.getstate()[1], "numpy": np.random.get_state()[1:3]}
    if BACKEND == "tensorflow":
        state = tensorflow().random.get_global_generator().state
        found["framework"] = state.numpy()
    if BACKEND == "torch":
        found["framework"] = torch().get_rng_state().numpy()
    return {name: np.hstack(state) for name, state in found.items()}


def assert_equal(found, expected):
    keras.tree.map_structure(np.testing.assert_array_equal, found, expected)


def test_a_training_that_is_watched_is_the_same_training(start):
    def trained(*callbacks):
        # Earlier versions of Keras keep their generator when seeds are set.
        keras.backend.clear_session()
        model = start()
        history = model.fit(X, Y, 8, epochs=2, verbose=0, callbacks=list(callbacks))
        # What Keras' own generator would draw next.
        return history.history, values(model), keras.random.uniform((3,)), generators()

    *expected, states = trained()
    monitor = SignalMonitor(X, Y)
    *found, watched = trained(monitor)
    assert len(monitor.reports) == 3
    assert_equal(found, expected)
    if start.uses_keras:
        # Its generator is made with a number of Python's, here for the first report.
        del watched["Python"], states["Python"]
    assert_equal(watched, states)


def measured(model):
    signal_report(model, X, Y)
    signal_report(model, X)
    hessian_norm(model, X, Y, max_iterations=2, batch_size=16)


def test_values_and_random_states_stay_what_they_were(start):
    model = start()
    model.train_on_batch(X, Y)
    before = values(model), generators()
    measured(model)
    assert_equal((values(model), generators()), before)


@pytest.mark.parametrize("start", ["Python", "framework"], indirect=True)
def test_an_initialization_leaves_random_states(start):
    model = start()
    schemes = LSUV(), GradInit(1, verbose=False), MetaInit(1, verbose=False)
    before = generators()
    for scheme in schemes:
        initialize(model, scheme, data=(X, Y), loss=LOSS, dry_run=True, seed=0)
    assert_equal(generators(), before)


def test_reports_are_equal(start):
    model = start()
    first, second, third = (signal_report(model, X, Y) for _ in range(3))
    assert second == third
    # The first is not compiled, and rounds otherwise.
    assert first.loss == pytest.approx(second.loss, rel=1e-5)
    norms = [hessian_norm(model, X, Y, max_iterations=3).value for _ in range(2)]
    assert norms[0] == norms[1]


@pytest.mark.skipif(BACKEND != "torch", reason="modules have modes in PyTorch only")
def test_modules_of_pytorch_stay_what_they_were():
    inside = torch().nn.Sequential(torch().nn.Linear(6, 6), torch().nn.BatchNorm1d(6))
    wrapped = keras.layers.TorchModuleWrapper(inside)
    model = keras.Sequential([keras.Input((6,)), wrapped, layers.Dense(3)])
    model.compile("sgd", LOSS)
    model.train_on_batch(X, Y)
    for mode in (model.train, model.eval):
        mode()
        model.zero_grad()

        def state():
            return (
                [module.training for module in model.modules()],
                [(p.requires_grad, p.grad is None) for p in model.parameters()],
                {k: v.numpy().copy() for k, v in model.state_dict().items()},
            )

        before = state()
        measured(model)
        assert_equal(state(), before)


def test_a_model_of_several_outputs_trains_after_a_report():
    inputs = keras.Input((3,))
    outputs = [keras.layers.Dense(2)(inputs), keras.layers.Dense(1)(inputs)]
    model = keras.Model(inputs, outputs)
    model.compile("sgd", "mse")
    x, y = np.ones((4, 3)), [np.zeros((4, 2)), np.zeros((4, 1))]
    report = signal_report(model, x, y)
    # The metrics of its losses are made at the first of them.
    assert model.evaluate(x, y, verbose=0)[0] == pytest.approx(report.loss, rel=1e-5)
    model.fit(x, y, verbose=0)
