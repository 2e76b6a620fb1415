"""What a kernel is, and the function to which layers are made known."""

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

import keras

from keras_convinit.geometry import Geometry


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One kernel of a layer.

    Args:
        name: Path of attributes from the layer, such as `"depthwise_kernel"`.
        variable: The `keras.Variable`.
        geometry: How it connects units.
        copies: How many kernels of that geometry the variable holds. Where it is more
            than one they are stacked on leading axes, and are no part of one another.
        gain: The `keras.Variable` of gains of a weight-normalised layer, which applies
            gain * variable / ||variable||, one norm for each output; None for others.
        stacked: Whether there is an axis of copies; always where there is more than
            one, and in a stack of one block as well.
        computed: Whether the layer multiplies by something that it computes from the
            variable and others: with LoRA, or quantized.
    """

    name: str
    variable: Any
    geometry: Geometry
    copies: int = 1
    gain: Any = None
    stacked: bool = False
    computed: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "stacked", self.stacked or self.copies > 1)


@functools.singledispatch
def kernels_of(layer: keras.layers.Layer) -> tuple[Kernel, ...]:
    """The kernels of a built layer, each with its true geometry.

    A subclass of a layer that is known here is known as well. For another one:

        @keras_convinit.kernels_of.register
        def _(layer: MyLayer):
            return (Kernel("kernel", layer.kernel, Geometry(...)),)

    Args:
        layer: A built Keras layer.

    Returns:
        A tuple of `Kernel`; empty for a layer without any, such as a normalisation.

    Raises:
        ValueError: The layer has not been built, or has variables that look like
            kernels and its class is not registered.

    Example:
        >>> from keras_convinit import kernels_of
        >>> layer = keras.layers.DepthwiseConv2D(3, depth_multiplier=2)
        >>> layer.build((None, 8, 8, 16))
        >>> [kernel.geometry.fans() for kernel in kernels_of(layer)]
        [(9, 18)]
    """
    check_built(layer)
    if any(len(variable.shape) > 1 for variable in layer.trainable_variables):
        raise unknown(layer)
    return ()


def unknown(layer: keras.layers.Layer) -> ValueError:
    return ValueError(
        "A layer with kernels must be one of Keras' linear layers, or be "
        "registered with `keras_convinit.kernels_of.register`. "
        f"Received: layer={layer!r} of class {type(layer).__name__}"
    )


def check_built(layer: keras.layers.Layer) -> None:
    if not layer.built:
        raise ValueError(f"`layer` must be built. Received: layer={layer!r}")


def prefixed(path: str, kernels: Iterable[Kernel]) -> tuple[Kernel, ...]:
    """The kernels of a part, under the names that they have in the whole."""
    return tuple(
        dataclasses.replace(kernel, name=f"{path}.{kernel.name}") for kernel in kernels
    )
