"""The kernels of Keras' linear layers."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import keras

from keras_convinit.geometry import Geometry
from keras_convinit.kernels._kernel import Kernel, check_built, kernels_of, unknown


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


def _kernel(layer: keras.layers.Layer, geometry: Geometry) -> tuple[Kernel, ...]:
    """The kernel of a layer that may compute it: with LoRA, or unpacked from codes.

    `layer.kernel` then is another tensor whenever it is asked for.
    """
    if isinstance(layer.kernel, keras.Variable):
        computed = layer.quantization_mode not in (None, "float8")
        return (Kernel("kernel", layer.kernel, geometry, computed=computed),)
    for variable in layer.weights:
        # The latter holds the codes of GPTQ and AWQ.
        if variable.name in ("kernel", "quantized_kernel"):
            return (Kernel("kernel", variable, geometry, computed=True),)
    raise unknown(layer)


@kernels_of.register
def _(layer: keras.layers.Dense) -> tuple[Kernel, ...]:
    check_built(layer)
    return _kernel(layer, Geometry.from_shape(layer.kernel.shape))


@kernels_of.register
def _(layer: keras.layers.EinsumDense) -> tuple[Kernel, ...]:
    check_built(layer)
    left, output = layer.equation.replace(" ", "").split("->")
    source, names = left.split(",")
    size = dict(zip(names, layer.kernel.shape, strict=True))

    def over(axes: Iterable[str]) -> int:
        return math.prod(size[axis] for axis in axes)

    def axes(chosen: Callable[[str], bool]) -> tuple[int, ...]:
        return tuple(i - len(names) for i, a in enumerate(names) if chosen(a))

    geometry = Geometry(
        receptive_field=over(a for a in names if a not in source and a not in output),
        in_channels=over(a for a in names if a in source and a not in output),
        out_channels=over(a for a in names if a in output and a not in source),
        groups=over(a for a in names if a in source and a in output),
        output_axes=axes(lambda a: a in output),
        group_axes=axes(lambda a: a in source and a in output),
    )
    return _kernel(layer, geometry)


def _convolution(layer: keras.layers.Layer) -> tuple[Kernel, ...]:
    check_built(layer)
    *positions, inputs, outputs = layer.kernel.shape
    geometry = Geometry(
        receptive_field=math.prod(positions),
        in_channels=inputs,
        out_channels=outputs // layer.groups,
        groups=layer.groups,
        stride=product(layer.strides, len(positions)),
    )
    return _kernel(layer, geometry)


for _class in (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D):
    kernels_of.register(_class, _convolution)


def _transposed_convolution(layer: keras.layers.Layer) -> tuple[Kernel, ...]:
    check_built(layer)
    *positions, outputs, inputs = layer.kernel.shape
    geometry = Geometry(
        receptive_field=math.prod(positions),
        in_channels=inputs,
        out_channels=outputs,
        stride=product(layer.strides, len(positions)),
        transposed=True,
        output_axes=(-2,),
    )
    return _kernel(layer, geometry)


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
        stride=product(strides, len(positions)),
        output_axes=(-2, -1),
        group_axes=(-2,),
    )
    return Kernel(name, variable, geometry)


def _depthwise_convolution(layer: keras.layers.Layer) -> tuple[Kernel, ...]:
    check_built(layer)
    return (_depthwise("kernel", layer.kernel, layer.strides),)


for _class in (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D):
    kernels_of.register(_class, _depthwise_convolution)


def _separable_convolution(layer: keras.layers.Layer) -> tuple[Kernel, ...]:
    check_built(layer)
    pointwise = layer.pointwise_kernel
    return (
        _depthwise("depthwise_kernel", layer.depthwise_kernel, layer.strides),
        Kernel("pointwise_kernel", pointwise, Geometry.from_shape(pointwise.shape)),
    )


for _class in (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D):
    kernels_of.register(_class, _separable_convolution)


def product(strides: int | tuple[int, ...], rank: int) -> int:
    return strides**rank if isinstance(strides, int) else math.prod(strides)
