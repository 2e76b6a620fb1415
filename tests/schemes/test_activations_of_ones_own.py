"""Activations that Keras does not know by name: the rule is for what the model has."""

import functools
import subprocess
import sys

import keras
import numpy as np
import pytest
from helpers.functions import snake, tanh
from keras import ops

from keras_convinit import backward_scale, forward_scale, initialize
from keras_convinit.layers import WeightNormDense

layers = keras.layers


class Swish:
    """An object that can be called."""

    def __init__(self, beta):
        self.beta = beta

    def __call__(self, x):
        return x * ops.sigmoid(self.beta * x)


class Bent(layers.Layer):
    """An activation layer that is not registered."""

    def call(self, x):
        return 3.0 * ops.softplus(x)


FUNCTIONS = {
    "a name of Keras": tanh,
    "no name of Keras": snake,
    "lambda": lambda x: ops.tanh(x) * 1.5,
    "of keras.ops": ops.sin,
    "partial": functools.partial(keras.activations.elu, alpha=0.3),
    "object": Swish(2.0),
}
# What a graph does with a tensor, and the same as a function.
OPERATIONS = {
    "power": (lambda x: x**3, lambda x: x * x * x),
    "maximum": (lambda x: ops.maximum(x, -0.25), lambda x: ops.maximum(x, -0.25)),
    "with itself": (lambda x: layers.Multiply()([x, x]), ops.square),
    "layer": (Bent(), Bent()),
    "Activation": (layers.Activation(tanh), tanh),
}


def root_mean_square(layer):
    return float(np.sqrt(np.mean(np.square(ops.convert_to_numpy(layer.kernel)))))


@pytest.mark.parametrize("scheme", ["auto", "zhang_forward"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_precedes_is_the_function_that_is_there(name, scheme):
    function = FUNCTIONS[name]
    behind = layers.Dense(300, name="behind")
    model = keras.Sequential(
        [
            keras.Input((300,)),
            layers.Dense(300, activation=function),
            behind,
            layers.Dense(3),
        ]
    )
    report = initialize(model, scheme, seed=0)
    expected = np.sqrt(forward_scale(function) / 300)
    # Five standard errors of the root of a mean of 90,000 squares.
    assert root_mean_square(behind) == pytest.approx(expected, rel=5 / 300 / 2**0.5)
    row = next(row for row in report.rows if row.path.endswith("behind/kernel"))
    assert row.target_std == pytest.approx(expected)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_follows_is_the_function_that_is_there(name):
    function = FUNCTIONS[name]
    before = layers.Dense(300, activation=function)
    model = keras.Sequential([keras.Input((300,)), before, layers.Dense(3)])
    initialize(model, "zhang_backward", seed=0)
    expected = np.sqrt(backward_scale(function) / 300)
    assert root_mean_square(before) == pytest.approx(expected, rel=5 / 300 / 2**0.5)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_of_a_graph(name):
    applied, function = OPERATIONS[name]
    inputs = keras.Input((300,))
    behind = layers.Dense(300)
    x = behind(applied(layers.Dense(300)(inputs)))
    report = initialize(keras.Model(inputs, layers.Dense(3)(x)), "auto", seed=0)
    (row,) = (row for row in report.rows if row.path == behind.kernel.path)
    assert root_mean_square(behind) == pytest.approx(
        row.target_std, rel=5 / 300 / 2**0.5
    )
    assert row.target_std == pytest.approx(np.sqrt(forward_scale(function) / 300))


def prelu_network(dense):
    model = keras.Sequential(
        [
            keras.Input((300,)),
            dense(300),
            layers.PReLU(),
            dense(300),
            layers.PReLU(),
            layers.Dense(3),
        ]
    )
    for layer in model.layers:
        if isinstance(layer, layers.PReLU):
            # As a training might leave them.
            layer.alpha.assign(np.ones(300))
    return model


@pytest.mark.parametrize(
    ("dense", "scheme", "others"),
    [
        (layers.Dense, "zhang_forward", "keep"),
        (layers.Dense, "zhang_backward", "keep"),
        (layers.Dense, "auto", "keep"),
        (layers.Dense, "zhang_forward", "reset"),
        (layers.Dense, "zhang_backward", "reset"),
        (layers.Dense, "auto", "reset"),
        (WeightNormDense, "arpit", "keep"),
        (WeightNormDense, "hanin", "keep"),
        (WeightNormDense, "arpit", "reset"),
        (WeightNormDense, "hanin", "reset"),
        (WeightNormDense, ["he_normal", "arpit"], "reset"),
    ],
)
def test_slopes_are_those_that_the_model_has_in_the_end(dense, scheme, others):
    model = prelu_network(dense)
    slope = 1.0 if others == "keep" else 0.0
    for _ in range(2):
        report = initialize(model, scheme, seed=0, others=others)
        kernel = ops.convert_to_numpy(ops.convert_to_tensor(model.layers[2].kernel))
        found = float(np.mean(np.square(kernel))) * 300
        right = 2 / (1 + slope**2)
        assert found == pytest.approx(right, rel=5 / 300 * 2**0.5)
        alpha = ops.convert_to_numpy(model.layers[1].alpha)
        np.testing.assert_array_equal(alpha, np.full(300, slope))
    targets = [row.target_std for row in report.rows if row.fan_in == 300]
    assert any(t == pytest.approx(np.sqrt(right / 300)) for t in targets if t)


def test_lsuv_sees_the_slopes_that_the_model_has_in_the_end():
    model = prelu_network(layers.Dense)
    x = np.random.default_rng(0).standard_normal((64, 300)).astype("float32")
    initialize(model, "lsuv", x, seed=0)
    behind = model.layers[2](model.layers[1](model.layers[0](x)))
    assert float(np.std(ops.convert_to_numpy(behind))) == pytest.approx(1, abs=0.011)


@pytest.mark.skipif(
    keras.backend.backend() == "tensorflow", reason="TensorFlow is what it runs on"
)
@pytest.mark.process
def test_no_other_framework_is_imported():
    program = """
import sys, keras, keras_convinit
dense = keras.layers.Dense(4, activation="relu")
norm = keras.layers.BatchNormalization()
model = keras.Sequential([keras.Input((4,)), dense, norm, keras.layers.Dense(2)])
keras_convinit.initialize(model, "auto", seed=0)
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
