"""Kernels of layers, their registry, and the kernel of a weight-normalized layer."""

import dataclasses
import functools
from collections.abc import Iterable, Sequence

from keras import ops

from keras_convinit._types import DTypeLike, KerasLayer, Tensor, Variable
from keras_convinit.geometry import Geometry

# Squared norms below count as zero. The norm itself is 1e-12 there, which no filter
# that does anything comes near, so there is no bias as an added epsilon has.
ZERO = 1e-24


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A kernel of a layer.

    Args:
        name: Path of attributes from the layer, such as `"depthwise_kernel"`.
        variable: The `keras.Variable`.
        geometry: How it connects units.
        copies: How many kernels of that geometry the variable holds. Where it is more
            than one they are stacked on leading axes, and are no part of one another.
        gain: The `keras.Variable` of gains of a weight-normalized layer, whose kernel
            is gain * variable / ||variable||, one norm for each output; None for
            other layers.
        stacked: Whether there is an axis of copies; always where there is more than
            one, and in a stack of one block as well.
        computed: Whether the layer computes its kernel from the variable and others:
            with LoRA, or quantized.
    """

    name: str
    variable: Variable
    geometry: Geometry
    copies: int = 1
    gain: Variable | None = None
    stacked: bool = False
    computed: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "stacked", self.stacked or self.copies > 1)


@functools.singledispatch
def kernels_of(layer: KerasLayer) -> tuple[Kernel, ...]:
    """Returns the kernels of a built layer, each with its true geometry.

    A subclass of a registered class needs no registration. For another layer:

        @keras_convinit.kernels_of.register
        def _(layer: MyLayer):
            return (Kernel("kernel", layer.kernel, Geometry(...)),)

    Args:
        layer: A built Keras layer.

    Returns:
        A tuple of `Kernel`; empty for a layer without kernels, such as a
        normalization.

    Raises:
        ValueError: `layer` is not built, or has trained variables of rank two or more
            and its class is not registered.

    Example:
        >>> from keras_convinit import kernels_of
        >>> layer = keras.layers.DepthwiseConv2D(3, depth_multiplier=2)
        >>> layer.build((None, 8, 8, 16))
        >>> [kernel.geometry.fans() for kernel in kernels_of(layer)]
        [(9, 18)]
    """
    check_built(layer)
    if any(len(variable.shape) > 1 for variable in layer.trainable_variables):
        raise unregistered_error(layer)
    return ()


def unregistered_error(layer: KerasLayer) -> ValueError:
    """Returns the error for a layer with kernels whose class is not registered."""
    return ValueError(
        "A layer with kernels must be one of Keras' linear layers, or be "
        "registered with `keras_convinit.kernels_of.register`. "
        f"Received: layer={layer!r} of class {type(layer).__name__}"
    )


def check_built(layer: KerasLayer) -> None:
    """Raises a `ValueError` if the layer has not been built."""
    if not layer.built:
        raise ValueError(f"`layer` must be built. Received: layer={layer!r}")


def prefix_names(path: str, kernels: Iterable[Kernel]) -> tuple[Kernel, ...]:
    """Returns the kernels of a part with `path` in front of their names.

    Args:
        path: The attribute of the whole that holds the part, such as `"cell"`.
        kernels: The kernels of the part.

    Returns:
        The same kernels, under the names that they have in the whole.
    """
    return tuple(
        dataclasses.replace(kernel, name=f"{path}.{kernel.name}") for kernel in kernels
    )


def effective_kernel(
    direction: Tensor, gain: Tensor, output_axes: tuple[int, ...]
) -> Tensor:
    """Computes g * v / ||v||, the kernel of a weight-normalized layer.

    This is the only place where it is computed. A filter of zeros stays one, with the
    gradient of a filter of norm 1, instead of becoming not a number.

    Args:
        direction: v, of the shape of the kernel.
        gain: g, of the shape of the kernel's `output_axes`, in the precision in which
            all is computed.
        output_axes: Axes of the kernel that index output channels.

    Returns:
        A tensor of the shape of `direction` and the dtype of `gain`.
    """
    direction = ops.cast(direction, gain.dtype)
    inputs = _input_axes(direction, output_axes)
    # Outputs that come last meet their gain as they are: PyTorch, which does one thing
    # after the other, pays for every operation, and for that of a reshape too.
    come_last = inputs == list(range(len(inputs)))
    squares = ops.sum(direction * direction, axis=inputs, keepdims=not come_last)
    squares_or_one = squares + ops.cast(squares < ZERO, gain.dtype)
    if not come_last:
        gain = ops.reshape(gain, squares.shape)
    # The factor is a number for each filter: the kernel itself is gone over once.
    return direction * (gain * ops.rsqrt(squares_or_one))


def output_norms(
    direction: Tensor, output_axes: tuple[int, ...], dtype: DTypeLike
) -> Tensor:
    """Computes ||v|| for each output channel.

    Args:
        direction: v, of the shape of the kernel.
        output_axes: Axes of the kernel that index output channels.
        dtype: The precision to compute in.

    Returns:
        A tensor of the shape of the kernel's `output_axes`.
    """
    direction = ops.cast(direction, dtype)
    inputs = _input_axes(direction, output_axes)
    return ops.sqrt(ops.sum(ops.square(direction), axis=inputs))


def gain_shape(shape: Sequence[int], output_axes: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the sizes of the output axes, in the order of the kernel's axes."""
    rank = len(shape)
    return tuple(shape[axis] for axis in sorted(axis % rank for axis in output_axes))


def _input_axes(kernel: Tensor, output_axes: tuple[int, ...]) -> list[int]:
    """Returns the axes that a norm is taken over, in ascending order."""
    rank = len(kernel.shape)
    outputs = {axis % rank for axis in output_axes}
    return [axis for axis in range(rank) if axis not in outputs]
