"""LSUV leaves a kernel as drawn where no size of it gives unit variance."""

import warnings

import keras
import numpy as np
import pytest

from keras_convinit import Geometry, Kernel, initialize, kernels_of
from keras_convinit.layers import ScaledResidual, ScaledResidualStack, WeightNormDense
from keras_convinit.schemes import LSUV

layers = keras.layers


class Squashed(layers.Layer):
    """A layer of somebody's own, whose activation nobody can take off."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self._function = function

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 8), name="kernel")

    def call(self, x):
        return self._function(keras.ops.matmul(x, self.kernel))

    def compute_output_shape(self, shape):
        return (*shape[:-1], 8)


@kernels_of.register
def _(layer: Squashed):
    return (Kernel("kernel", layer.kernel, Geometry.from_shape(layer.kernel.shape)),)


def over_time(layer):
    return layers.TimeDistributed(keras.Sequential([layer]), name="bounded")


def signals():
    return np.random.default_rng(0).normal(size=(32, 5, 8)).astype("float32")


def std(x):
    return float(np.std(keras.ops.convert_to_numpy(x)))


def initialize_quietly(model, scheme="lsuv", **kwargs):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No unit variance")
        return initialize(model, scheme, data=signals(), seed=0, **kwargs)


BOUNDED = {
    "sigmoid": lambda: over_time(layers.Dense(8, activation="sigmoid")),
    "softmax": lambda: over_time(layers.Dense(8, activation="softmax")),
    "tanh": lambda: over_time(layers.Dense(8, activation="tanh")),
    "weight-normalized": lambda: over_time(WeightNormDense(8, activation="sigmoid")),
    "of one's own": lambda: Squashed(keras.ops.softmax, name="bounded"),
}


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize("residual", [False, True])
def test_what_is_bounded_is_left_as_drawn(name, residual):
    layer = BOUNDED[name]()
    part = ScaledResidual([layer], 2) if residual else layer
    model = keras.Sequential([keras.Input((5, 8)), part])
    report = initialize_quietly(model)
    (kernel,) = kernels_of(layer)
    value = keras.ops.convert_to_numpy(kernel.variable)
    # Orthonormal: neither divided by anything, nor of the size it had before.
    np.testing.assert_allclose(value.T @ value, np.eye(8), atol=1e-5)
    if kernel.gain is not None:
        gain = keras.ops.convert_to_numpy(kernel.gain)
        np.testing.assert_allclose(gain, 1, rtol=1e-5)
    real = std(layer(signals()))
    (row,) = [row for row in report.rows if row.num_rescalings is not None]
    assert (row.rule, row.num_rescalings) == ("orthonormal", 0)
    assert row.output_std_before == row.output_std_after == pytest.approx(real, 1e-4)
    (note,) = report.notes
    assert note.endswith(f"the standard deviation {real:.3g}; left as drawn")
    assert "bounded: " in note


def test_rows_of_a_stack_are_left_as_drawn_one_by_one():
    bounded = over_time(layers.Dense(8, activation="sigmoid"))
    stack = ScaledResidualStack([bounded], 3)
    model = keras.Sequential([keras.Input((5, 8)), stack])
    report = initialize_quietly(model)
    rows = keras.ops.convert_to_numpy(stack.stacked_variables[0].variable)
    for row in rows:
        np.testing.assert_allclose(row.T @ row, np.eye(8), atol=1e-5)
    assert not np.allclose(rows[0], rows[1])
    assert [row.num_rescalings for row in report.rows].count(0) == 3


def test_tries_end_when_the_outputs_no_longer_follow():
    seen = []

    def saturate(x):
        if not isinstance(x, keras.KerasTensor):
            seen.append(std(x))
        return 0.1 * keras.ops.sign(x)

    layer = Squashed(saturate, name="bounded")
    model = keras.Sequential([keras.Input((5, 8)), layer])
    seen.clear()
    initialize_quietly(model)
    # As drawn, ten times as large, and as drawn again.
    np.testing.assert_allclose(np.array(seen) / seen[0], [1, 10, 1], rtol=1e-4)


def test_what_gets_there_in_several_tries_is_scaled():
    layer = Squashed(lambda x: 3 * keras.ops.tanh(x))
    model = keras.Sequential([keras.Input((5, 8)), layer])
    report = initialize(model, "lsuv", data=signals(), seed=0, tolerance=1e-3)
    assert report.rows[0].num_rescalings > 1
    assert std(layer(signals())) == pytest.approx(1, abs=5e-4)
    assert report.notes == ()


def test_a_bias_that_is_too_large_leaves_the_kernel_as_drawn():
    dense = layers.Dense(8)
    model = keras.Sequential([keras.Input((5, 8)), dense])
    dense.bias.assign(keras.ops.linspace(-4.0, 4.0, 8))
    initialize_quietly(model, others="keep")
    kernel = keras.ops.convert_to_numpy(dense.kernel)
    np.testing.assert_allclose(kernel.T @ kernel, np.eye(8), atol=1e-5)


def test_an_absorbed_factor_is_not_multiplied_by_twice():
    last = WeightNormDense(8)
    branch = ScaledResidual([layers.Rescaling(0.0), last], 4, absorb=True)
    model = keras.Sequential([keras.Input((5, 8)), branch])
    (kernel,) = kernels_of(last)
    before = keras.ops.convert_to_numpy(kernel.gain)
    initialize_quietly(model, LSUV(initializer=None))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(kernel.gain), before)
    initialize_quietly(model)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(kernel.gain), 0.5, rtol=1e-5)


class Turned(layers.Dense):
    def call(self, x):
        return 5 - super().call(x)


def test_what_a_layer_does_behind_its_activation_is_seen():
    behind = layers.Dense(8)
    first = Turned(8, activation="tanh")
    model = keras.Sequential([keras.Input((5, 8)), first, behind])
    initialize_quietly(model, tolerance=1e-3)
    assert std(model(signals())) == pytest.approx(1, abs=1e-3)
