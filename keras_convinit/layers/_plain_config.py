"""Our initializers, replaced by Keras' own of the same law."""

from collections.abc import Callable
from typing import Any

import keras

from keras_convinit.initializers import DeltaOrthogonal, ZhangBackward, ZhangForward
from keras_convinit.scales import backward_scale, forward_scale


def _variance_scaling(scale: float, mode: str, seed: Any) -> Any:
    return keras.initializers.VarianceScaling(
        scale, mode=mode, distribution="untruncated_normal", seed=seed
    )


def _forward(rule: ZhangForward) -> Any:
    scale = rule.scale * forward_scale(rule.activation, rule.variance)
    return _variance_scaling(scale, "fan_in", rule.seed)


def _backward(rule: ZhangBackward) -> Any:
    scale = backward_scale(rule.activation, rule.variance) / rule.gamma
    return _variance_scaling(scale, "fan_out", rule.seed)


def _delta_orthogonal(rule: DeltaOrthogonal) -> Any:
    # The nearest that Keras has; it draws something else.
    return keras.initializers.Orthogonal(rule.gain, seed=rule.seed)


BUILT_IN: dict[type, Callable[[Any], Any]] = {
    ZhangForward: _forward,
    ZhangBackward: _backward,
    DeltaOrthogonal: _delta_orthogonal,
}


def plain_initializer(initializer: Any, dtype: str) -> Any:
    """The initializer of a plain layer, for one that may be ours.

    Args:
        initializer: An initializer of ours, or one that our layers draw in float32.
        dtype: That of the variable, in which the plain layer draws.

    Returns:
        A built-in initializer, or the given one where it can stay.
    """
    if type(initializer) in BUILT_IN:
        initializer = BUILT_IN[type(initializer)](initializer)
    if isinstance(initializer, keras.initializers.Orthogonal) and dtype in LOW:
        # No backend has a QR decomposition there; the variance is that of the columns.
        variance = initializer.gain**2
        return _variance_scaling(variance, "fan_in", initializer.seed)
    return initializer


LOW = ("bfloat16", "float16")


def plain_config(config: Any, dtype: str) -> Any:
    """A layer's configuration without our initializers.

    Args:
        config: What `get_config` gives, or a part of it.
        dtype: That of the layer's variables.

    Returns:
        The same, equal where there was nothing to replace.
    """
    if isinstance(config, dict):
        for cls in BUILT_IN:
            if config.get("registered_name") == f"keras_convinit>{cls.__name__}":
                rule = keras.saving.deserialize_keras_object(config)
                plain = plain_initializer(rule, dtype)
                return keras.saving.serialize_keras_object(plain)
        return {key: plain_config(value, dtype) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return type(config)(plain_config(value, dtype) for value in config)
    return config
