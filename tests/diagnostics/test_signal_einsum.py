"""Predictions for `EinsumDense`, whose channels may span several axes."""

import keras
import numpy as np
import pytest

from keras_convinit import signal_report
from keras_convinit.layers import WeightNorm

layers = keras.layers

# The equation, the shapes of inputs and outputs, and by hand the product of: inputs
# that an output adds up, and channels of the last axis behind over those before.
CASES = {
    "one axis": ("abc,cd->abd", (5, 64), (None, 32), 64 * 32 / 64),
    "outputs": ("abc,cde->abde", (5, 128), (None, 8, 64), 128 * 64 / 128),
    "inputs": ("abc,bcd->ad", (5, 128), (64,), 5 * 128 * 64 / 128),
    "inputs of heads": ("abcd,cde->abe", (5, 4, 32), (None, 64), 4 * 32 * 64 / 32),
    "positions": ("abc,bd->adc", (16, 24), (48, None), 16),
}


def std_of_kernel(layer):
    return float(np.std(keras.ops.convert_to_numpy(layer.weights[0])))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("activation", [None, "relu"])
def test_what_is_predicted_is_measured(case, activation):
    equation, before, after, factor = CASES[case]
    layer = layers.EinsumDense(
        equation,
        after,
        activation,
        bias_axes=equation[-1] if case == "outputs" else None,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.1, seed=1),
        bias_initializer=keras.initializers.RandomNormal(stddev=0.5, seed=2),
    )
    model = keras.Sequential([keras.Input(before), layer])
    x = np.random.default_rng(0).normal(size=(64, *before))
    row = signal_report(model, x).rows[-1]
    square = factor * std_of_kernel(layer) ** 2
    if layer.bias is not None:
        bias = keras.ops.convert_to_numpy(layer.bias)
        square += np.square(bias).sum() / before[-1]
    if activation == "relu":
        square /= 2
    # The mean of the kernel, and the mean square of the data, are not what they
    # are the sample of.
    assert row.predicted_alpha == pytest.approx(np.sqrt(square), rel=0.02)
    assert row.alpha == pytest.approx(row.predicted_alpha, rel=0.05)


def test_a_bias_of_several_axes_counts_for_the_last_one():
    layer = layers.EinsumDense(
        "abc,cde->abde",
        (None, 8, 64),
        bias_axes="de",
        bias_initializer=keras.initializers.RandomNormal(stddev=1.0, seed=2),
        kernel_initializer="zeros",
    )
    model = keras.Sequential([keras.Input((5, 16)), layer])
    row = signal_report(model, np.ones((4, 5, 16))).rows[-1]
    assert row.predicted_alpha == pytest.approx(row.alpha, rel=1e-4)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda: WeightNorm(layers.EinsumDense("abc,cde->abde", (None, 8, 64))),
        lambda: layers.TimeDistributed(layers.EinsumDense("ac,cde->ade", (8, 64))),
    ],
)
def test_wrapped_and_weight_normalized(wrap):
    model = keras.Sequential([keras.Input((5, 128)), wrap()])
    x = np.random.default_rng(0).normal(size=(64, 5, 128))
    row = signal_report(model, x).rows[-1]
    assert row.alpha == pytest.approx(row.predicted_alpha, rel=0.05)


def test_error_signals_of_heads():
    inputs = keras.Input((5, 64))
    x = layers.EinsumDense("abc,cde->abde", (None, 4, 16))(inputs)
    model = keras.Model(inputs, layers.EinsumDense("abde,dec->abc", (None, 64))(x))
    data = np.random.default_rng(0).normal(size=(64, 5, 64))
    rows = signal_report(model, data).rows
    assert rows[0].beta == pytest.approx(rows[0].predicted_beta, rel=0.05)
    for row in rows:
        assert row.alpha == pytest.approx(row.predicted_alpha, rel=0.05)


def test_nothing_is_predicted_for_a_sum_of_inputs():
    # All positions are equal: their sum is five times each, and not sqrt(5) times.
    layer = layers.EinsumDense("abc,cd->ad", (8,))
    model = keras.Sequential([keras.Input((5, 16)), layers.Dense(16), layer])
    before, row = signal_report(model, np.ones((4, 5, 16))).rows
    assert (row.predicted_alpha, before.predicted_beta) == (None, None)
