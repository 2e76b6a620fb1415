"""What kind of layer a layer is."""

from typing import Any

import keras

from keras_convinit.graph import ScaledSum, canonical_activation, fused_activation
from keras_convinit.graph._activation import LAYERS as ACTIVATIONS

NORMALIZATIONS = (
    keras.layers.BatchNormalization,
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    keras.layers.RMSNormalization,
)


def is_activation(layer: Any) -> bool:
    """Whether a layer is nothing but an activation."""
    return isinstance(layer, ACTIVATIONS) or canonical_activation(layer) is not layer


def has_activation(layer: Any) -> bool:
    """Whether what a layer gives has been through an activation that is not linear."""
    if is_activation(layer):
        return canonical_activation(layer) is not None
    return fused_activation(layer) is not None


def is_normalization(layer: Any) -> bool:
    """Whether the size of what a layer gives does not depend on that of its input."""
    return isinstance(layer, NORMALIZATIONS)


def is_sum(layer: Any) -> bool:
    """Whether a layer adds up."""
    return isinstance(layer, ScaledSum) or type(layer).__name__ in ("Add", "Average")
