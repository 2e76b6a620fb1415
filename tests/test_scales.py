import math

import keras
import numpy as np
import pytest
from scipy import integrate, stats

from keras_convinit import backward_scale, forward_scale
from keras_convinit._closed_forms import CLOSED_FORMS

pytestmark = pytest.mark.once


def normal_mass(limit):
    """P(|z| < limit)."""
    return math.erf(limit / math.sqrt(2))


# E[phi^2] and E[phi'^2] on paper, for pre-activations of variance 1.
ON_PAPER = {
    "relu": (1 / 2, 1 / 2),
    "leaky_relu": ((1 + 0.2**2) / 2, (1 + 0.2**2) / 2),
    "linear": (1, 1),
    "exponential": (math.exp(2), math.exp(2)),
    # Self-normalizing: the constants of SELU are chosen so that this is 1.
    "selu": (1, None),
    "hard_sigmoid": (None, normal_mass(3) / 36),
    "hard_tanh": (
        normal_mass(1) - 2 * stats.norm.pdf(1) + 2 * stats.norm.sf(1),
        normal_mass(1),
    ),
    "relu6": (None, normal_mass(6) / 2),
    "hard_shrink": (None, 2 * stats.norm.sf(0.5)),
    "gelu": (
        1 / 3 + 1 / (2 * math.pi * math.sqrt(3)),
        1 / 3 + 2 / (3 * math.pi * math.sqrt(3)),
    ),
}

# Computed with another program, to the digits that are given.
ELSEWHERE = {
    "tanh": (2.5362, 2.1533),
    "sigmoid": (3.4086, 22.30),
    "elu": (1.5505, 1.4968),
    "selu": (1.0000, 0.9332),
    "gelu": (2.3517, 2.1937),
    "silu": (2.8108, 2.6352),
    "softplus": (1.0855, 3.4086),
}


@pytest.mark.parametrize("name", ON_PAPER)
def test_scales_on_paper(name):
    forward, backward = ON_PAPER[name]
    if forward is not None:
        assert forward_scale(name) == pytest.approx(1 / forward, rel=1e-10)
    if backward is not None:
        assert backward_scale(name) == pytest.approx(1 / backward, rel=1e-10)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_scales_computed_elsewhere(name):
    forward, backward = ELSEWHERE[name]
    assert forward_scale(name) == pytest.approx(forward, abs=5e-5)
    assert backward_scale(name) == pytest.approx(backward, rel=2e-4)


@pytest.mark.parametrize("variance", [0.01, 0.5, 4.0])
@pytest.mark.parametrize("name", sorted(CLOSED_FORMS))
def test_scales_by_another_quadrature(name, variance):
    value, derivative = CLOSED_FORMS[name]
    deviation = math.sqrt(variance)
    kinks = [k / deviation for k in (-3, -1, -0.5, 0, 0.5, 1, 3, 6)]
    points = sorted({*range(-19, 20), *(k for k in kinks if abs(k) < 20)})

    def second_moment(function):
        result, _ = integrate.quad(
            lambda z: function(np.array([deviation * z]))[0] ** 2 * stats.norm.pdf(z),
            -20,
            20,
            points=points,
            epsabs=0,
            epsrel=1e-11,
            limit=1000,
        )
        return result

    assert forward_scale(name, variance) == pytest.approx(
        variance / second_moment(value), rel=1e-9
    )
    assert backward_scale(name, variance) == pytest.approx(
        1 / second_moment(derivative), rel=1e-9
    )


@pytest.mark.parametrize("variance", [1e-3, 1.0, 50.0])
def test_homogeneous_activations_do_not_ask_for_the_variance(variance):
    for activation in ("relu", "leaky_relu", None):
        assert forward_scale(activation, variance) == pytest.approx(
            forward_scale(activation), rel=1e-12
        )


@pytest.mark.everywhere
def test_special_cases_agree():
    assert forward_scale(None) == forward_scale("linear") == 1
    assert forward_scale(keras.layers.LeakyReLU(0.0)) == forward_scale("relu")
    assert forward_scale(keras.layers.LeakyReLU(0.25)) == pytest.approx(1.88235, 1e-5)
    prelu = keras.layers.PReLU(alpha_initializer=keras.initializers.Constant(0.25))
    for scale in (forward_scale, backward_scale):
        assert scale(prelu) == pytest.approx(scale(keras.layers.LeakyReLU(0.25)))
    assert forward_scale("swish") == forward_scale("silu")
    # The derivative of softplus is the sigmoid.
    assert backward_scale("softplus") == pytest.approx(forward_scale("sigmoid"))


@pytest.mark.everywhere
@pytest.mark.parametrize(
    ("function", "name", "accuracy"),
    [
        (lambda x: keras.ops.relu(x), "relu", 1e-10),
        (lambda x: keras.ops.maximum(x, 0), "relu", 1e-6),
        (lambda x: keras.ops.where(x > 0, x, 0.2 * x), "leaky_relu", 1e-10),
        (lambda x: keras.ops.tanh(x), "tanh", 1e-6),
        (lambda x: keras.ops.tanh(keras.ops.cast(x, "float32")), "tanh", 1e-6),
        (lambda x: keras.ops.clip(x, -1, 1), "hard_tanh", 1e-10),
    ],
    ids=["relu", "maximum", "leaky_relu", "tanh", "tanh in float32", "hard_tanh"],
)
def test_functions_are_differentiated_by_the_backend(function, name, accuracy):
    assert forward_scale(function) == pytest.approx(forward_scale(name), rel=accuracy)
    assert backward_scale(function) == pytest.approx(backward_scale(name), rel=accuracy)


@pytest.mark.everywhere
def test_kinks_that_nobody_knows_are_found():
    layer = keras.layers.Lambda(
        lambda x: keras.ops.where(x > 0.7321, x, keras.ops.zeros_like(x))
    )
    mass = stats.norm.sf(0.7321)
    tail = mass + 0.7321 * stats.norm.pdf(0.7321)
    # The threshold itself is a constant that some backends round to float32.
    assert backward_scale(layer) == pytest.approx(1 / mass, rel=1e-7)
    assert forward_scale(layer) == pytest.approx(1 / tail, rel=1e-7)


@pytest.mark.parametrize("scale", [forward_scale, backward_scale])
@pytest.mark.parametrize("variance", [0, -1.0, math.inf, math.nan, "1", None, True])
def test_the_variance_is_a_positive_number(scale, variance):
    with pytest.raises(ValueError, match="finite number greater than 0") as caught:
        scale("relu", variance)
    assert f"Received: variance={variance!r}" in str(caught.value)


@pytest.mark.everywhere
@pytest.mark.parametrize(
    ("scale", "function"),
    [
        (forward_scale, lambda x: x * 0),
        (backward_scale, lambda x: x * 0 + 1),
        (forward_scale, lambda x: keras.ops.exp(x * x)),
        (forward_scale, lambda x: keras.ops.log(x)),
    ],
    ids=["zero", "constant", "too fast", "undefined"],
)
def test_without_a_second_moment_there_is_no_scale(scale, function):
    with pytest.raises(ValueError, match="finite second moment that is not zero"):
        scale(function)


@pytest.mark.everywhere
def test_scales_can_be_computed_while_a_program_is_traced():
    def traced(x):
        function = keras.layers.Lambda(lambda y: keras.ops.maximum(y, 0) + 0 * y)
        return x * forward_scale(function) * backward_scale(function)

    layer = keras.layers.Lambda(traced, output_shape=lambda shape: shape)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layer(inputs))
    model.compile(jit_compile=keras.backend.backend() != "torch")
    outputs = model.predict(np.ones((2, 3)), verbose=0)
    np.testing.assert_allclose(outputs, 4.0, rtol=1e-6)
