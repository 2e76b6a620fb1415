"""One way to write an activation, however the model has it."""

from typing import Any

import keras

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


def canonical(activation: Any) -> Any:
    """An activation, in a form that `forward_scale` takes.

    Args:
        activation: None, a function, or a layer or operation that is an activation.

    Returns:
        None for the linear one; a function of Keras where it is one; else what was
        given.

    Example:
        >>> from keras_convinit.graph import canonical_activation
        >>> canonical_activation(keras.layers.ReLU()) is keras.activations.relu
        True
    """
    if isinstance(activation, keras.layers.Activation):
        return canonical(activation.activation)
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


def same(first: Any, second: Any) -> bool:
    """Whether two activations are the same function."""
    return first is second or _key(first) == _key(second)


def _key(activation: Any) -> Any:
    if not isinstance(activation, keras.Operation):
        return activation
    if getattr(activation, "variables", ()):
        return id(activation)
    # A configuration would be serialised, which is slow.
    own = (
        (name, value)
        for name, value in vars(activation).items()
        if isinstance(value, int | float | str | tuple | None)
        and not name.startswith("_")
        and name not in ("name", "built")
    )
    return type(activation), repr(sorted(own))


def name_of(activation: Any) -> str:
    """A name to print for an activation as a `Site` has it.

    Args:
        activation: None, a function, a layer or an operation.

    Returns:
        The name.

    Example:
        >>> from keras_convinit.graph import activation_name
        >>> activation_name(keras.activations.relu), activation_name(None)
        ('relu', 'linear')
    """
    if activation is None:
        return "linear"
    if isinstance(activation, keras.Operation):
        return type(activation).__name__
    return str(getattr(activation, "__name__", type(activation).__name__))


def fused(layer: Any) -> Any:
    """The activation that a layer applies to its own outputs.

    Args:
        layer: A layer.

    Returns:
        What `canonical_activation` gives for it.

    Example:
        >>> from keras_convinit.graph import fused_activation
        >>> fused_activation(keras.layers.Dense(2, activation="relu")).__name__
        'relu'
    """
    if isinstance(layer, keras.layers.Wrapper) and not hasattr(layer, "activation"):
        return fused(layer.layer)
    if type(layer) is keras.layers.RNN:
        return fused(layer.cell)
    activation = getattr(layer, "activation", None)
    return canonical(activation) if callable(activation) else None
