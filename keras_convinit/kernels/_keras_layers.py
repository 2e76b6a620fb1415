"""Registrations of `kernels_of` for Keras' layers: linear, recurrent and composite."""

import dataclasses
import math
from collections.abc import Callable, Iterable

import keras

from keras_convinit._types import KerasLayer, KerasModel, Variable
from keras_convinit.geometry import Geometry
from keras_convinit.kernels._kernel import (
    Kernel,
    check_built,
    kernels_of,
    prefix_names,
    unregistered_error,
)

# Layers without a kernel, and layers whose weights are lookup tables.


def _find_none(layer: KerasLayer) -> tuple[Kernel, ...]:
    return ()


for _class in (
    keras.layers.BatchNormalization,
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    keras.layers.UnitNormalization,
    keras.layers.Embedding,
    keras.layers.PReLU,
):
    kernels_of.register(_class, _find_none)


# Linear layers.


def _find_kernel(layer: KerasLayer, geometry: Geometry) -> tuple[Kernel, ...]:
    """Returns the kernel of a layer that may compute it: by LoRA, or from codes.

    `layer.kernel` then is another tensor at each access.
    """
    if isinstance(layer.kernel, keras.Variable):
        computed = layer.quantization_mode not in (None, "float8")
        return (Kernel("kernel", layer.kernel, geometry, computed=computed),)
    for variable in layer.weights:
        # The latter holds the codes of GPTQ and AWQ.
        if variable.name in ("kernel", "quantized_kernel"):
            return (Kernel("kernel", variable, geometry, computed=True),)
    raise unregistered_error(layer)


@kernels_of.register
def _(layer: keras.layers.Dense) -> tuple[Kernel, ...]:
    check_built(layer)
    return _find_kernel(layer, Geometry.from_shape(layer.kernel.shape))


@kernels_of.register
def _(layer: keras.layers.EinsumDense) -> tuple[Kernel, ...]:
    check_built(layer)
    left, output = layer.equation.replace(" ", "").split("->")
    source, names = left.split(",")
    size = dict(zip(names, layer.kernel.shape, strict=True))

    def count(axes: Iterable[str]) -> int:
        return math.prod(size[axis] for axis in axes)

    def find_axes(chosen: Callable[[str], bool]) -> tuple[int, ...]:
        return tuple(i - len(names) for i, a in enumerate(names) if chosen(a))

    geometry = Geometry(
        receptive_field=count(a for a in names if a not in source and a not in output),
        in_channels=count(a for a in names if a in source and a not in output),
        out_channels=count(a for a in names if a in output and a not in source),
        groups=count(a for a in names if a in source and a in output),
        output_axes=find_axes(lambda a: a in output),
        group_axes=find_axes(lambda a: a in source and a in output),
    )
    return _find_kernel(layer, geometry)


def _find_in_convolution(layer: KerasLayer) -> tuple[Kernel, ...]:
    check_built(layer)
    *positions, inputs, outputs = layer.kernel.shape
    geometry = Geometry(
        receptive_field=math.prod(positions),
        in_channels=inputs,
        out_channels=outputs // layer.groups,
        groups=layer.groups,
        stride=_multiply(layer.strides, len(positions)),
    )
    return _find_kernel(layer, geometry)


for _class in (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D):
    kernels_of.register(_class, _find_in_convolution)


def _find_in_transposed_convolution(layer: KerasLayer) -> tuple[Kernel, ...]:
    check_built(layer)
    *positions, outputs, inputs = layer.kernel.shape
    geometry = Geometry(
        receptive_field=math.prod(positions),
        in_channels=inputs,
        out_channels=outputs,
        stride=_multiply(layer.strides, len(positions)),
        transposed=True,
        output_axes=(-2,),
    )
    return _find_kernel(layer, geometry)


for _class in (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
):
    kernels_of.register(_class, _find_in_transposed_convolution)


def _make_depthwise(
    name: str, variable: Variable, strides: int | tuple[int, ...]
) -> Kernel:
    *positions, channels, multiplier = variable.shape
    geometry = Geometry(
        receptive_field=math.prod(positions),
        in_channels=1,
        out_channels=multiplier,
        groups=channels,
        stride=_multiply(strides, len(positions)),
        output_axes=(-2, -1),
        group_axes=(-2,),
    )
    return Kernel(name, variable, geometry)


def _find_in_depthwise_convolution(layer: KerasLayer) -> tuple[Kernel, ...]:
    check_built(layer)
    return (_make_depthwise("kernel", layer.kernel, layer.strides),)


for _class in (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D):
    kernels_of.register(_class, _find_in_depthwise_convolution)


def _find_in_separable_convolution(layer: KerasLayer) -> tuple[Kernel, ...]:
    check_built(layer)
    pointwise = layer.pointwise_kernel
    return (
        _make_depthwise("depthwise_kernel", layer.depthwise_kernel, layer.strides),
        Kernel("pointwise_kernel", pointwise, Geometry.from_shape(pointwise.shape)),
    )


for _class in (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D):
    kernels_of.register(_class, _find_in_separable_convolution)


def _multiply(strides: int | tuple[int, ...], rank: int) -> int:
    return strides**rank if isinstance(strides, int) else math.prod(strides)


# Recurrent layers, whose kernels are those of their cells.


def _find_in_any_cell(cell: KerasLayer, stride: int = 1) -> tuple[Kernel, ...]:
    geometry = Geometry.from_shape(cell.kernel.shape)
    geometry = dataclasses.replace(geometry, stride=stride)
    recurrent = cell.recurrent_kernel
    return (
        Kernel("kernel", cell.kernel, geometry),
        Kernel("recurrent_kernel", recurrent, Geometry.from_shape(recurrent.shape)),
    )


def _find_in_cell(layer: KerasLayer) -> tuple[Kernel, ...]:
    check_built(layer)
    return _find_in_any_cell(layer)


for _class in (keras.layers.SimpleRNNCell, keras.layers.GRUCell, keras.layers.LSTMCell):
    kernels_of.register(_class, _find_in_cell)


def _find_in_convolutional_lstm(layer: KerasLayer) -> tuple[Kernel, ...]:
    check_built(layer)
    rank = len(layer.cell.kernel.shape) - 2
    kernels = _find_in_any_cell(layer.cell, _multiply(layer.cell.strides, rank))
    return prefix_names("cell", kernels)


for _class in (
    keras.layers.ConvLSTM1D,
    keras.layers.ConvLSTM2D,
    keras.layers.ConvLSTM3D,
):
    kernels_of.register(_class, _find_in_convolutional_lstm)


# Layers that are made of layers.


def _find_in_parts(*attributes: str) -> Callable[[KerasLayer], tuple[Kernel, ...]]:
    """Returns the function that collects the kernels of the parts of a layer."""

    def collect(layer: KerasLayer) -> tuple[Kernel, ...]:
        check_built(layer)
        return tuple(
            kernel
            for attribute in attributes
            for kernel in prefix_names(attribute, kernels_of(getattr(layer, attribute)))
        )

    return collect


kernels_of.register(keras.layers.Wrapper, _find_in_parts("layer"))
kernels_of.register(keras.layers.RNN, _find_in_parts("cell"))
kernels_of.register(
    keras.layers.Bidirectional, _find_in_parts("forward_layer", "backward_layer")
)
kernels_of.register(
    keras.layers.MultiHeadAttention,
    _find_in_parts("query_dense", "key_dense", "value_dense", "output_dense"),
)


@kernels_of.register
def _(layer: keras.layers.GroupQueryAttention) -> tuple[Kernel, ...]:
    check_built(layer)
    # It has no public attributes for its parts, but they have names. PyTorch keeps
    # layers apart from other attributes.
    children = dict(getattr(layer, "named_children", dict)())
    parts = {
        part.name: (attribute, part)
        for attribute, part in {**vars(layer), **children}.items()
        if isinstance(part, keras.layers.Layer)
    }
    return tuple(
        kernel
        for name in ("query", "key", "value", "attention_output")
        for kernel in prefix_names(parts[name][0], kernels_of(parts[name][1]))
    )


@kernels_of.register
def _(layer: keras.layers.StackedRNNCells) -> tuple[Kernel, ...]:
    check_built(layer)
    return tuple(
        kernel
        for index, cell in enumerate(layer.cells)
        for kernel in prefix_names(f"cells[{index}]", kernels_of(cell))
    )


@kernels_of.register
def _(layer: KerasModel) -> tuple[Kernel, ...]:
    check_built(layer)
    parts = [(f"layers[{i}]", part) for i, part in enumerate(layer.layers)]
    inherited = {id(v) for _, part in parts for v in part.variables}
    own = [v for v in layer.trainable_variables if id(v) not in inherited]
    if any(len(variable.shape) > 1 for variable in own):
        raise unregistered_error(layer)
    return tuple(
        kernel
        for path, part in parts
        for kernel in prefix_names(path, kernels_of(part))
    )
