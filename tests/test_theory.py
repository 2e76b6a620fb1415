"""Thirty layers deep: what the rules predict and what signals do."""

import keras
import numpy as np
import pytest

from keras_convinit import forward_scale
from keras_convinit.activations import elementwise
from keras_convinit.initializers import ZhangBackward, ZhangForward

WIDTH, DEPTH = 1000, 30

# The mean over the layers of log(variance out / variance in). In one layer the sum of
# n squares phi(x)^2 spreads by sqrt(kurtosis / n), at most sqrt(5 / n) for these, and
# that of its n Gaussian outputs by sqrt(2 / n). Five standard errors of 30 layers,
# and the mean of a logarithm lies below the logarithm of the mean by half a variance.
SPREAD = (5 + 2) / WIDTH
TOLERANCE = 5 * np.sqrt(SPREAD / DEPTH) + SPREAD / 2

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
    phi = elementwise(activation)
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
    phi = elementwise(activation)
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
    assert abs(found) < TOLERANCE


@every_activation
def test_error_signals_keep_their_variance(activation, generator):
    found = backward(
        lambda seed: ZhangBackward(activation, seed=seed), activation, generator
    )
    assert abs(found) < TOLERANCE


@pytest.mark.parametrize("rule", [ZhangForward, ZhangBackward])
@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_the_rule_for_relu_is_seen_to_be_wrong_for_others(rule, activation, generator):
    measure = forward if rule is ZhangForward else backward
    assert abs(measure(lambda seed: rule("relu", seed=seed), activation, generator)) > (
        TOLERANCE
    )


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
    assert found == pytest.approx(np.log((1 + slope**2) ** 2 / 2), abs=TOLERANCE)
    assert np.exp(-DEPTH * found) > 1e3


def test_gamma_is_a_factor_on_the_variance_of_every_layer(generator):
    found = backward(
        lambda seed: ZhangBackward(gamma=0.4, seed=seed), "relu", generator
    )
    assert found == pytest.approx(np.log(1 / 0.4), abs=TOLERANCE)
