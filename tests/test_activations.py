import inspect

import keras
import numpy as np
import pytest

from keras_convinit import activations, backend
from keras_convinit._closed_forms import CLOSED_FORMS

# Not elementwise, or in need of arguments.
OTHERS = {"glu", "log_softmax", "softmax", "sparsemax", "threshold"}
NAMES = {
    name
    for name, function in inspect.getmembers(keras.activations, inspect.isfunction)
    if name not in {"deserialize", "get", "serialize"}
}

# On no kink, on both sides of each.
POINTS = np.linspace(-7.03, 7.03, 200)


def test_every_elementwise_activation_of_keras_has_a_closed_form():
    functions = {getattr(keras.activations, name) for name in NAMES - OTHERS}
    assert functions == {getattr(keras.activations, name) for name in CLOSED_FORMS}


@pytest.mark.parametrize("name", sorted(CLOSED_FORMS))
def test_closed_forms_are_what_keras_computes(name):
    function = getattr(keras.activations, name)
    value, derivative = CLOSED_FORMS[name]
    kwargs = {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(
        value(POINTS), backend.evaluate(function, POINTS), **kwargs
    )
    np.testing.assert_allclose(
        derivative(POINTS), backend.differentiate(function)(POINTS), **kwargs
    )


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.LeakyReLU(0.25),
        keras.layers.ELU(0.7),
        keras.layers.ReLU(),
        keras.layers.ReLU(max_value=1.9, negative_slope=0.1, threshold=0.77),
        keras.layers.Activation("tanh"),
        keras.layers.Activation(keras.layers.LeakyReLU(0.3)),
    ],
    ids=lambda layer: layer.name,
)
def test_layers_mean_what_they_compute(layer):
    found = activations.resolve_activation(layer)
    inputs = POINTS.astype("float32")
    np.testing.assert_allclose(
        found.value(POINTS),
        keras.ops.convert_to_numpy(layer(inputs[:, None]))[:, 0],
        rtol=1e-5,
        atol=1e-6,
    )
    np.testing.assert_allclose(
        found.derivative(POINTS),
        backend.differentiate(layer.call)(POINTS),
        rtol=1e-5,
        atol=1e-6,
    )


class Swish(keras.layers.Layer):
    """A layer that is built late, with a scalar of its own."""

    def build(self, input_shape):
        self.beta = self.add_weight(shape=(), initializer="ones")

    def call(self, inputs):
        return inputs * keras.ops.sigmoid(
            keras.ops.cast(self.beta, inputs.dtype) * inputs
        )


def test_a_layer_of_somebody_elses_is_left_unbuilt():
    layer = Swish()
    found = activations.resolve_activation(layer)
    assert not layer.built
    np.testing.assert_allclose(
        found.value(POINTS), CLOSED_FORMS["silu"][0](POINTS), rtol=1e-5, atol=1e-6
    )


def test_prelu_with_a_slope_a_channel_is_their_mean_square():
    layer = keras.layers.PReLU(shared_axes=[1, 2])
    layer.build((None, 4, 4, 3))
    layer.alpha.assign(keras.ops.reshape([0.1, 0.2, 0.3], (1, 1, 3)))
    found = activations.resolve_activation(layer)
    points = np.array([-1.0, 1.0])
    slope = np.sqrt((0.01 + 0.04 + 0.09) / 3)
    np.testing.assert_allclose(found.value(points), [-slope, 1], rtol=1e-6)


def test_a_function_may_compute_in_float32_only():
    def function(x):
        return keras.ops.tanh(keras.ops.cast(x, "float32"))

    found = activations.resolve_activation(function)
    assert found.precision == np.float32
    np.testing.assert_allclose(found.value(POINTS), np.tanh(POINTS), atol=1e-6)


@pytest.mark.parametrize(
    ("activation", "complaint"),
    [
        ("relo", "is unknown to Keras"),
        (3, "is none of these"),
        (["relu"], "is none of these"),
        ("softmax", "is not elementwise"),
        ("log_softmax", "is not elementwise"),
        ("sparsemax", "is not elementwise"),
        ("glu", "is not elementwise"),
        ("threshold", "fails: "),
        (keras.layers.Softmax(), "is not elementwise"),
        (lambda x: x - keras.ops.mean(x), "is not elementwise"),
        (lambda x: keras.ops.cumsum(x, axis=0), "is not elementwise"),
        (lambda x: keras.ops.concatenate([x, x], axis=-1), "is not elementwise"),
        (lambda x: keras.random.normal(x.shape), "is not elementwise"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_not_an_elementwise_activation_is_refused(activation, complaint):
    with pytest.raises(ValueError, match="`activation` must be None") as caught:
        activations.resolve_activation(activation)
    assert f"Received: activation={activation!r}, which {complaint}" in str(
        caught.value
    )


def test_what_cannot_be_differentiated_is_refused_when_it_has_to_be():
    def function(x):
        return np.tanh(np.asarray(x))

    found = activations.resolve_activation(function)
    np.testing.assert_allclose(found.value(POINTS), np.tanh(POINTS))
    with pytest.raises(ValueError, match="cannot be differentiated by"):
        found.derivative(POINTS)
