"""Finds the gain that can take over a factor on the output of a branch."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_convinit import backend
from keras_convinit.activations import elementwise

# f(c x) = c f(x) for c > 0, so that a factor passes.
TRANSPARENT = (
    keras.layers.Identity,
    keras.layers.InputLayer,
    keras.layers.ActivityRegularization,
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.Flatten,
    keras.layers.Permute,
    keras.layers.Reshape,
    keras.layers.Cropping1D,
    keras.layers.Cropping2D,
    keras.layers.Cropping3D,
    keras.layers.ZeroPadding1D,
    keras.layers.ZeroPadding2D,
    keras.layers.ZeroPadding3D,
    keras.layers.UpSampling1D,
    keras.layers.UpSampling2D,
    keras.layers.UpSampling3D,
    keras.layers.AveragePooling1D,
    keras.layers.AveragePooling2D,
    keras.layers.AveragePooling3D,
    keras.layers.MaxPooling1D,
    keras.layers.MaxPooling2D,
    keras.layers.MaxPooling3D,
)

ACTIVATIONS = (
    keras.layers.Activation,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ReLU,
)


def last_weight_normalized(branch: keras.layers.Layer) -> Any:
    """The layer of the branch whose gain can be scaled in place of the output.

    A weight-normalised layer is one that has a method `scale_gain(factor)`. What comes
    after it must let a positive factor pass, and its bias must start at zero; otherwise
    another function would come out.

    Args:
        branch: The layer or model whose output is to be scaled.

    Returns:
        The layer.

    Raises:
        ValueError: There is no such layer, or something in the way of the factor.
    """
    for part in reversed(list(_in_order(branch))):
        if callable(getattr(part, "scale_gain", None)):
            if _is_homogeneous(part):
                return part
            raise _refused(branch, part, "whose activation or bias stands in the way")
        if not _is_transparent(part):
            raise _refused(branch, part, "which stands in the way")
    raise _refused(branch, branch, "which has no weight-normalised layer")


def _in_order(part: Any) -> Iterator[Any]:
    inner = getattr(part, "operations", None)  # Of a functional model, in graph order.
    if isinstance(part, keras.Sequential):
        inner = part.layers
    if inner is None:
        yield part
    else:
        for operation in inner:
            yield from _in_order(operation)


def _is_transparent(part: Any) -> bool:
    if isinstance(part, ACTIVATIONS):
        return _passes_factors(part)
    return isinstance(part, TRANSPARENT)


def _is_homogeneous(layer: Any) -> bool:
    layer = getattr(layer, "layer", layer)
    activation = getattr(layer, "activation", None)
    return _has_no_bias(layer) and _passes_factors(activation)


def _has_no_bias(layer: Any) -> bool:
    if not getattr(layer, "use_bias", False):
        return True
    if layer.built:
        return not backend.to_numpy(layer.bias).any()
    initializer = getattr(layer, "bias_initializer", None)
    return initializer is None or isinstance(initializer, keras.initializers.Zeros)


def _passes_factors(activation: Any) -> bool:
    try:
        phi = elementwise(activation)
    except ValueError:
        return False
    points = np.linspace(-4.0, 4.0, 41)
    return np.allclose(phi.value(2 * points), 2 * phi.value(points), rtol=1e-5)


def _refused(branch: Any, part: Any, complaint: str) -> ValueError:
    return ValueError(
        "`absorb=True` needs a weight-normalised layer in `branch`, with a bias of "
        "zero at most, and behind it nothing but ReLU, dropout, pooling and other "
        "layers that let a factor pass. "
        f"Received: branch={branch!r} with {part!r}, {complaint}"
    )
