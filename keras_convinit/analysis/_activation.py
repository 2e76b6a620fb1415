"""One way to write an activation, however the model has it."""

from typing import Any

import keras
import numpy as np

from keras_convinit._types import ActivationLike, KerasLayer
from keras_convinit.activations import PROBE, Chain, Scaling, resolve_activation

LAYERS = (
    keras.layers.Activation,
    keras.layers.ELU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ReLU,
    keras.layers.Softmax,
)
# Operations of a graph, by the names of their classes, that have no arguments.
OPERATIONS = {
    "relu": "relu",
    "relu6": "relu6",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "silu": "silu",
    "selu": "selu",
    "softplus": "softplus",
    "softsign": "softsign",
    "logsigmoid": "log_sigmoid",
    "hardsigmoid": "hard_sigmoid",
    "hardsilu": "hard_silu",
    "hardtanh": "hard_tanh",
    "softmax": "softmax",
}
# By `max_value`, `negative_slope` and `threshold`.
_RELUS = {(None, 0, 0): keras.activations.relu, (6, 0, 0): keras.activations.relu6}


def canonicalize(activation: ActivationLike) -> Any:
    """Returns an activation in a form that `forward_scale` takes.

    Args:
        activation: None, a function, or a layer or operation that is an activation.

    Returns:
        None for the linear one; a function of Keras where it is one; else what was
        given.

    Example:
        >>> from keras_convinit.analysis import canonical_activation
        >>> canonical_activation(keras.layers.ReLU()) is keras.activations.relu
        True
    """
    if isinstance(activation, keras.layers.Activation):
        return canonicalize(activation.activation)
    if isinstance(activation, keras.layers.ReLU):
        numbers = activation.max_value, activation.negative_slope, activation.threshold
        return _RELUS.get(numbers, activation)
    if isinstance(activation, keras.layers.Layer):
        return activation
    if isinstance(activation, keras.Operation):
        name = OPERATIONS.get(type(activation).__name__.lower())
        return activation if name is None else getattr(keras.activations, name)
    linear = activation is None or activation is keras.activations.linear
    return None if linear else activation


def is_activation(layer: KerasLayer) -> bool:
    """Returns True if a layer or operation is nothing but an activation.

    Args:
        layer: A layer or operation.

    Example:
        >>> from keras_convinit.analysis import is_activation
        >>> is_activation(keras.layers.ReLU()), is_activation(keras.layers.Dense(2))
        (True, False)
    """
    return isinstance(layer, LAYERS) or canonicalize(layer) is not layer


def is_same(first: Any, second: Any) -> bool:
    """Returns True if two activations are the same function."""
    return first is second or get_key(first) == get_key(second)


def chain(first: Any, second: Any, otherwise: Any) -> Any:
    """Returns two activations in a row as one.

    Args:
        first: The activation that comes first, None for the linear one.
        second: The one that is applied to what that gives.
        otherwise: Which of them to give where they are not elementwise together.

    Returns:
        One activation: one of the two, where it says all.
    """
    if first is None or second is None:
        return second if first is None else first
    parts: list[Any] = []
    for part in (*_parts(first), *_parts(second)):
        if parts and isinstance(part, Scaling) and isinstance(parts[-1], Scaling):
            part = Scaling(parts.pop().factor * part.factor)
        if part != Scaling(1.0):
            parts.append(part)
    if len(parts) < 2:
        return parts[0] if parts else None
    both = Chain(tuple(parts), _formula(parts))
    try:
        values, *alone = (
            resolve_activation(one).value(PROBE) for one in (both, second, first)
        )
    except ValueError:
        # What is not elementwise is to be told by its name.
        factors = [isinstance(one, Scaling) for one in (first, second)]
        return otherwise if not any(factors) else second if factors[0] else first
    for one, same_values in zip((second, first), alone, strict=True):
        # One that does nothing to what the other gives, such as ReLU behind ReLU.
        if np.allclose(values, same_values, rtol=1e-6, atol=1e-9):
            return one
    return both


def strip_factors(activation: ActivationLike) -> Any:
    """Removes constant factors from an activation."""
    found = None
    for part in _parts(activation):
        if not isinstance(part, Scaling):
            found = chain(found, part, part)
    return found


def get_last(activation: ActivationLike) -> Any:
    """Returns the last part of an activation, factors aside."""
    return _parts(strip_factors(activation))[-1]


def _parts(activation: ActivationLike) -> tuple[Any, ...]:
    return activation.parts if isinstance(activation, Chain) else (activation,)


def _formula(parts: list[Any]) -> str:
    told = "x"
    for part in parts:
        if isinstance(part, Scaling):
            told = f"{part.factor:.4g} {told}"
        else:
            told = f"{get_name(part)}({told})"
    return told


def get_key(activation: ActivationLike) -> Any:
    """Returns a key that is equal for activations that are the same function."""
    if isinstance(activation, Chain):
        return tuple(map(get_key, activation.parts))
    # Several operations have one of their own.
    activation = getattr(activation, "key", activation)
    if not isinstance(activation, keras.Operation):
        return activation
    if getattr(activation, "variables", ()):
        return id(activation)
    # A configuration would be serialized, which is slow.
    own = (
        (name, value)
        for name, value in vars(activation).items()
        if isinstance(value, int | float | str | tuple | None)
        and not name.startswith("_")
        and name not in ("name", "built")
    )
    return type(activation), repr(sorted(own))


def get_name(activation: ActivationLike) -> str:
    """Returns a name to print for an activation of a `KernelContext`.

    Args:
        activation: None, a function, a layer or an operation.

    Returns:
        The name.

    Example:
        >>> from keras_convinit.analysis import activation_name
        >>> activation_name(keras.activations.relu), activation_name(None)
        ('relu', 'linear')
    """
    if activation is None:
        return "linear"
    if isinstance(activation, Scaling):
        return f"{activation.factor:.4g} x"
    if isinstance(activation, keras.Operation):
        return type(activation).__name__
    return str(getattr(activation, "__name__", type(activation).__name__))


def get_fused(layer: KerasLayer) -> Any:
    """Returns the activation that a layer applies to its own outputs.

    Args:
        layer: A layer.

    Returns:
        What `canonical_activation` gives for it.

    Example:
        >>> from keras_convinit.analysis import fused_activation
        >>> fused_activation(keras.layers.Dense(2, activation="relu")).__name__
        'relu'
    """
    if isinstance(layer, keras.layers.Wrapper) and not hasattr(layer, "activation"):
        return get_fused(layer.layer)
    if type(layer) is keras.layers.RNN:
        return get_fused(layer.cell)
    activation = getattr(layer, "activation", None)
    return canonicalize(activation) if callable(activation) else None
