"""Thirty layers deep: what the rules predict and what signals do."""

import keras
import numpy as np
import pytest

from keras_convinit import forward_scale
from keras_convinit.activations import resolve_activation
from keras_convinit.initializers import ZhangBackward, ZhangForward
from keras_convinit.scales import gaussian_expectation

pytestmark = pytest.mark.once

WIDTH, DEPTH = 1000, 30


def tolerance(function):
    """Five standard errors of the mean, over the layers, of log(variance ratio).

    The sum of n squares of the function spreads by sqrt((kurtosis - 1) / n), that of
    the n Gaussian outputs by sqrt(2 / n). The mean of a logarithm lies half a variance
    below the logarithm of the mean.
    """
    fourth = gaussian_expectation(lambda z: function(z) ** 4)
    second = gaussian_expectation(lambda z: function(z) ** 2)
    spread = (fourth / second**2 - 1 + 2) / WIDTH
    return 5 * np.sqrt(spread / DEPTH) + spread / 2


ACTIVATIONS = ["relu", keras.layers.LeakyReLU(0.25), "tanh", "gelu", "selu"]

every_activation = pytest.mark.parametrize(
    "activation", ACTIVATIONS, ids=["relu", "leaky_relu", "tanh", "gelu", "selu"]
)


def weights(initializer):
    kernel = initializer((WIDTH, WIDTH))
    return keras.ops.convert_to_numpy(kernel).astype(np.float64)


def variance(values):
    return np.mean(np.square(values))


def forward(make, activation, generator):
    """How far x <- W phi(x) drifts from the prediction, as a mean over the layers.

    The rule is made for pre-activations of variance 1. Of those that came to have
    variance v, it predicts a ratio of scale(1) / scale(v).
    """
    phi = resolve_activation(activation)
    x = generator.standard_normal(WIDTH)
    drifts = []
    for seed in range(DEPTH):
        before = variance(x)
        predicted = forward_scale(activation) / forward_scale(activation, before)
        x = phi.value(x) @ weights(make(seed))
        drifts.append(np.log(variance(x) / before / predicted))
    return np.mean(drifts)


def backward(make, activation, generator):
    """How far d <- W^T (phi'(x) d) drifts, at pre-activations of variance 1.

    These come from a forward pass that is brought back to variance 1 behind every
    layer, for a rule that keeps the one signal may not keep the other.
    """
    phi = resolve_activation(activation)
    x = generator.standard_normal(WIDTH)
    pre_activations = []
    for seed in range(DEPTH):
        x = phi.value(x) @ weights(ZhangForward(activation, seed=1000 + seed))
        x = (x - x.mean()) / x.std()
        pre_activations.append(x)
    start = signal = generator.standard_normal(WIDTH)
    for seed, x in enumerate(reversed(pre_activations)):
        signal = phi.derivative(x) * (weights(make(seed)) @ signal)
    return np.log(variance(signal) / variance(start)) / DEPTH


@pytest.fixture
def generator():
    return np.random.default_rng(7)


@every_activation
def test_forward_signals_keep_their_variance(activation, generator):
    found = forward(
        lambda seed: ZhangForward(activation, seed=seed), activation, generator
    )
    assert abs(found) < tolerance(resolve_activation(activation).value)


@every_activation
def test_error_signals_keep_their_variance(activation, generator):
    found = backward(
        lambda seed: ZhangBackward(activation, seed=seed), activation, generator
    )
    assert abs(found) < tolerance(resolve_activation(activation).derivative)


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_the_rule_for_relu_is_seen_to_be_wrong_for_others(activation, generator):
    found = forward(lambda seed: ZhangForward("relu", seed=seed), activation, generator)
    assert abs(found) > tolerance(resolve_activation(activation).value)
    found = backward(
        lambda seed: ZhangBackward("relu", seed=seed), activation, generator
    )
    assert abs(found) > tolerance(resolve_activation(activation).derivative)


def test_the_printed_formula_for_prelu_is_seen_to_be_wrong(generator):
    slope = 0.25
    layer = keras.layers.LeakyReLU(slope)
    printed = 1 + slope**2
    corrected = 2 / (1 + slope**2)
    found = forward(
        lambda seed: ZhangForward(layer, scale=printed / corrected, seed=seed),
        layer,
        generator,
    )
    expected = np.log((1 + slope**2) ** 2 / 2)
    assert found == pytest.approx(
        expected, abs=tolerance(resolve_activation(layer).value)
    )
    assert np.exp(-DEPTH * found) > 1e3


@pytest.mark.everywhere
def test_gamma_is_a_factor_on_the_variance_of_every_layer(generator):
    found = backward(
        lambda seed: ZhangBackward(gamma=0.4, seed=seed), "relu", generator
    )
    expected = np.log(1 / 0.4)
    assert found == pytest.approx(
        expected, abs=tolerance(resolve_activation("relu").derivative)
    )
