"""The kernels of a layer and their true geometry, which the shapes alone do not tell.

Keras' own fans are wrong for grouped, strided, depthwise and transposed convolutions.
A layer of somebody else's joins with `kernels_of.register`.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable
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
    """

    name: str
    variable: Any
    geometry: Geometry
    copies: int = 1
    gain: Any = None


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
        >>> layer = keras.layers.DepthwiseConv2D(3, depth_multiplier=2)
        >>> layer.build((None, 8, 8, 16))
        >>> [kernel.geometry.fans() for kernel in kernels_of(layer)]
        [(9, 18)]
    """
    _check_built(layer)
    if any(len(variable.shape) > 1 for variable in layer.trainable_variables):
        raise _unknown(layer)
    return ()


def _unknown(layer: keras.layers.Layer) -> ValueError:
    return ValueError(
        "A layer with kernels must be one of Keras' linear layers, or be "
        "registered with `keras_convinit.kernels_of.register`. "
        f"Received: layer={layer!r} of class {type(layer).__name__}"
    )


def _check_built(layer: keras.layers.Layer) -> None:
    if not layer.built:
        raise ValueError(f"`layer` must be built. Received: layer={layer!r}")


def _without(layer: keras.layers.Layer) -> tuple[Kernel, ...]:
    """For layers whose matrices multiply nothing, or stand for a table."""
    return ()


for _class in (
    keras.layers.BatchNormalization,
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    keras.layers.UnitNormalization,
    keras.layers.Embedding,
    keras.layers.PReLU,
):
    kernels_of.register(_class, _without)


@kernels_of.register
def _(layer: keras.layers.Dense) -> tuple[Kernel, ...]:
    _check_built(layer)
    return (Kernel("kernel", layer.kernel, Geometry.from_shape(layer.kernel.shape)),)


@kernels_of.register
def _(layer: keras.layers.EinsumDense) -> tuple[Kernel, ...]:
    _check_built(layer)
    left, output = layer.equation.replace(" ", "").split("->")
    source, names = left.split(",")
    size = dict(zip(names, layer.kernel.shape, strict=True))

    def over(axes: Iterable[str]) -> int:
        return math.prod(size[axis] for axis in axes)

    geometry = Geometry(
        receptive_field=over(a for a in names if a not in source and a not in output),
        in_channels=over(a for a in names if a in source and a not in output),
        out_channels=over(a for a in names if a in output and a not in source),
        groups=over(a for a in names if a in source and a in output),
        output_axes=tuple(i - len(names) for i, a in enumerate(names) if a in output),
    )
    return (Kernel("kernel", layer.kernel, geometry),)


def _convolution(layer: keras.layers.Layer) -> tuple[Kernel, ...]:
    _check_built(layer)
    *positions, inputs, outputs = layer.kernel.shape
    geometry = Geometry(
        receptive_field=math.prod(positions),
        in_channels=inputs,
        out_channels=outputs // layer.groups,
        groups=layer.groups,
        stride=_product(layer.strides, len(positions)),
    )
    return (Kernel("kernel", layer.kernel, geometry),)


for _class in (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D):
    kernels_of.register(_class, _convolution)


def _transposed_convolution(layer: keras.layers.Layer) -> tuple[Kernel, ...]:
    _check_built(layer)
    *positions, outputs, inputs = layer.kernel.shape
    geometry = Geometry(
        receptive_field=math.prod(positions),
        in_channels=inputs,
        out_channels=outputs,
        stride=_product(layer.strides, len(positions)),
        transposed=True,
        output_axes=(-2,),
    )
    return (Kernel("kernel", layer.kernel, geometry),)


for _class in (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
):
    kernels_of.register(_class, _transposed_convolution)


def _depthwise(name: str, variable: Any, strides: Any) -> Kernel:
    *positions, channels, multiplier = variable.shape
    geometry = Geometry(
        receptive_field=math.prod(positions),
        in_channels=1,
        out_channels=multiplier,
        groups=channels,
        stride=_product(strides, len(positions)),
        output_axes=(-2, -1),
    )
    return Kernel(name, variable, geometry)


def _depthwise_convolution(layer: keras.layers.Layer) -> tuple[Kernel, ...]:
    _check_built(layer)
    return (_depthwise("kernel", layer.kernel, layer.strides),)


for _class in (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D):
    kernels_of.register(_class, _depthwise_convolution)


def _separable_convolution(layer: keras.layers.Layer) -> tuple[Kernel, ...]:
    _check_built(layer)
    pointwise = layer.pointwise_kernel
    return (
        _depthwise("depthwise_kernel", layer.depthwise_kernel, layer.strides),
        Kernel("pointwise_kernel", pointwise, Geometry.from_shape(pointwise.shape)),
    )


for _class in (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D):
    kernels_of.register(_class, _separable_convolution)


def _recurrent(cell: Any, stride: int = 1) -> tuple[Kernel, ...]:
    geometry = Geometry.from_shape(cell.kernel.shape)
    geometry = dataclasses.replace(geometry, stride=stride)
    recurrent = cell.recurrent_kernel
    return (
        Kernel("kernel", cell.kernel, geometry),
        Kernel("recurrent_kernel", recurrent, Geometry.from_shape(recurrent.shape)),
    )


def _cell(layer: keras.layers.Layer) -> tuple[Kernel, ...]:
    _check_built(layer)
    return _recurrent(layer)


for _class in (keras.layers.SimpleRNNCell, keras.layers.GRUCell, keras.layers.LSTMCell):
    kernels_of.register(_class, _cell)


def _convolutional_recurrent(layer: keras.layers.Layer) -> tuple[Kernel, ...]:
    _check_built(layer)
    rank = len(layer.cell.kernel.shape) - 2
    kernels = _recurrent(layer.cell, _product(layer.cell.strides, rank))
    return prefixed("cell", kernels)


for _class in (
    keras.layers.ConvLSTM1D,
    keras.layers.ConvLSTM2D,
    keras.layers.ConvLSTM3D,
):
    kernels_of.register(_class, _convolutional_recurrent)


def _composite(*attributes: str) -> Callable[[keras.layers.Layer], tuple[Kernel, ...]]:
    """For layers made of layers: the kernels of the parts."""

    def collect(layer: keras.layers.Layer) -> tuple[Kernel, ...]:
        _check_built(layer)
        return tuple(
            kernel
            for attribute in attributes
            for kernel in prefixed(attribute, kernels_of(getattr(layer, attribute)))
        )

    return collect


kernels_of.register(keras.layers.Wrapper, _composite("layer"))
kernels_of.register(keras.layers.RNN, _composite("cell"))
kernels_of.register(
    keras.layers.Bidirectional, _composite("forward_layer", "backward_layer")
)
for _class in (
    keras.layers.MultiHeadAttention,
    keras.layers.GroupQueryAttention,
):
    kernels_of.register(
        _class, _composite("query_dense", "key_dense", "value_dense", "output_dense")
    )


@kernels_of.register
def _(layer: keras.layers.StackedRNNCells) -> tuple[Kernel, ...]:
    _check_built(layer)
    return tuple(
        kernel
        for index, cell in enumerate(layer.cells)
        for kernel in prefixed(f"cells[{index}]", kernels_of(cell))
    )


@kernels_of.register
def _(layer: keras.Model) -> tuple[Kernel, ...]:
    _check_built(layer)
    parts = [(f"layers[{i}]", part) for i, part in enumerate(layer.layers)]
    inherited = {id(v) for _, part in parts for v in part.variables}
    own = [v for v in layer.trainable_variables if id(v) not in inherited]
    if any(len(variable.shape) > 1 for variable in own):
        raise _unknown(layer)
    return tuple(
        kernel for path, part in parts for kernel in prefixed(path, kernels_of(part))
    )


def prefixed(path: str, kernels: Iterable[Kernel]) -> tuple[Kernel, ...]:
    """The kernels of a part, under the names that they have in the whole."""
    return tuple(
        dataclasses.replace(kernel, name=f"{path}.{kernel.name}") for kernel in kernels
    )


def _product(strides: int | tuple[int, ...], rank: int) -> int:
    return strides**rank if isinstance(strides, int) else math.prod(strides)
