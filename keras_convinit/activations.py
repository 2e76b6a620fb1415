"""Activations, in all forms that Keras takes, as functions with derivatives."""

import dataclasses

import keras
import numpy as np

from keras_convinit import backend
from keras_convinit._closed_forms import (
    CLOSED_FORMS,
    CLOSED_FORMS_OF_LAYERS,
    Function,
    leaky_relu,
)
from keras_convinit._types import ActivationLike, Tensor, TensorFunction


@dataclasses.dataclass(frozen=True)
class Scaling:
    """Multiplication by a constant, as an activation.

    Args:
        factor: The constant.
    """

    factor: float

    def __call__(self, x: Tensor) -> Tensor:
        """Returns `factor * x`."""
        return self.factor * x


class Chain:
    """Composition of activations, as an activation.

    Args:
        parts: The activations in order of application, each as `resolve_activation`
            takes it.
        name: A name to print.
    """

    def __init__(self, parts: tuple[ActivationLike, ...], name: str) -> None:
        self.parts = parts
        self.__name__ = name

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the activations one after the other."""
        for part in self.parts:
            x = _find_function(part)(x)
        return x


PROBE = np.linspace(-4.0, 4.0, 42)


@dataclasses.dataclass(frozen=True)
class Elementwise:
    """An elementwise function of pre-activations.

    Args:
        value: The function, from and to float64 arrays of shape `(n,)`.
        derivative: The derivative, from and to float64 arrays of shape `(n,)`.
        precision: The dtype in which both are computed.
    """

    value: Function
    derivative: Function
    precision: type = np.float64


def resolve_activation(activation: ActivationLike) -> Elementwise:
    """Returns an activation as a function with a derivative.

    Args:
        activation: None, the name of a Keras activation, an activation layer, or an
            elementwise function of the backend.

    Returns:
        The function and its derivative. The derivative raises a `ValueError` when it is
        called if the backend cannot differentiate the function.

    Raises:
        ValueError: `activation` is unknown, or not elementwise.
    """
    if isinstance(activation, Chain):
        return _compose([resolve_activation(part) for part in activation.parts])
    if isinstance(activation, Scaling):
        factor = activation.factor
        return Elementwise(lambda x: factor * x, lambda x: np.full_like(x, factor))
    if isinstance(activation, keras.layers.PReLU):
        # Over channels of slope a, E[phi^2] = (1 + mean(a^2)) / 2: a leaky ReLU.
        slope = float(np.sqrt(np.mean(np.square(_draw_slopes(activation)))))
        return Elementwise(*leaky_relu(slope))
    if type(activation) in CLOSED_FORMS_OF_LAYERS:
        return Elementwise(*CLOSED_FORMS_OF_LAYERS[type(activation)](activation))
    function = _find_function(activation)
    for name, closed_form in CLOSED_FORMS.items():
        if function is getattr(keras.activations, name, None):
            return Elementwise(*closed_form)
    return _resolve_by_backend(activation, function)


def _compose(parts: list[Elementwise]) -> Elementwise:
    def value(points: np.ndarray) -> np.ndarray:
        for part in parts:
            points = part.value(points)
        return points

    def derivative(points: np.ndarray) -> np.ndarray:
        slope = np.ones_like(points)
        for part in parts:
            slope = slope * part.derivative(points)
            points = part.value(points)
        return slope

    wide = all(part.precision == np.float64 for part in parts)
    return Elementwise(value, derivative, np.float64 if wide else np.float32)


def _find_function(activation: ActivationLike) -> TensorFunction:
    if isinstance(activation, keras.layers.Activation):
        return _find_function(activation.activation)
    if isinstance(activation, keras.layers.Layer):
        makes_variables = type(activation).build is not keras.layers.Layer.build
        if makes_variables and not activation.built:
            activation = type(activation).from_config(activation.get_config())
            activation.build((None, 1))
        # `__call__` would round to the precision of the layer's policy.
        return activation.call
    if activation is None or isinstance(activation, str) or callable(activation):
        try:
            return keras.activations.get(activation)
        except ValueError as error:
            raise _activation_error(activation, "is unknown to Keras") from error
    raise _activation_error(activation, "is none of these")


def _draw_slopes(layer: keras.layers.PReLU) -> np.ndarray:
    if layer.built:
        return backend.to_numpy(layer.alpha)
    draw = layer.alpha_initializer
    return backend.evaluate(lambda x: draw(x.shape, dtype="float32"), np.zeros(1024))


def _resolve_by_backend(
    activation: ActivationLike, function: TensorFunction
) -> Elementwise:
    precision = _check_elementwise(activation, function)
    differentiate = backend.differentiate(function)

    def value(points: np.ndarray) -> np.ndarray:
        return backend.evaluate(function, points.astype(precision)).astype(np.float64)

    def derivative(points: np.ndarray) -> np.ndarray:
        slope = differentiate(points.astype(precision))
        if slope is None:
            raise _activation_error(
                activation,
                f"cannot be differentiated by {keras.backend.backend()}: it must be "
                "made of operations of `keras.ops` or of that backend",
            )
        return slope.astype(np.float64)

    return Elementwise(value, derivative, precision)


def _check_elementwise(activation: ActivationLike, function: TensorFunction) -> type:
    """Returns the dtype that the function computes in; raises if not elementwise."""
    block = PROBE.reshape(-1, 2)
    try:
        values = backend.evaluate(function, block)
    except Exception:
        # A constant inside the function may have fixed its precision.
        try:
            values = backend.evaluate(function, block.astype(np.float32))
        except Exception as error:
            raise _activation_error(activation, f"fails: {error}") from error
    precision = np.float64 if values.dtype == np.float64 else np.float32
    # An elementwise function has the same values elsewhere, among other neighbors.
    sample = slice(None, None, 7)
    row = PROBE[sample].reshape(1, -1).astype(precision)
    if values.shape != block.shape or not np.allclose(
        backend.evaluate(function, row).ravel(),
        values.ravel()[sample],
        rtol=float(np.sqrt(np.finfo(precision).eps)),
        atol=float(np.finfo(precision).eps),
        equal_nan=True,
    ):
        raise _activation_error(activation, "is not elementwise")
    return precision


def _activation_error(activation: ActivationLike, complaint: str) -> ValueError:
    return ValueError(
        "`activation` must be None, the name of a Keras activation, an activation "
        "layer, or an elementwise function. "
        f"Received: activation={activation!r}, which {complaint}."
    )
