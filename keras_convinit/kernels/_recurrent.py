"""The kernels of recurrent layers, which are those of their cells."""

import dataclasses
from typing import Any

import keras

from keras_convinit.geometry import Geometry
from keras_convinit.kernels._kernel import Kernel, check_built, kernels_of, prefixed
from keras_convinit.kernels._linear import product


def _recurrent(cell: Any, stride: int = 1) -> tuple[Kernel, ...]:
    geometry = Geometry.from_shape(cell.kernel.shape)
    geometry = dataclasses.replace(geometry, stride=stride)
    recurrent = cell.recurrent_kernel
    return (
        Kernel("kernel", cell.kernel, geometry),
        Kernel("recurrent_kernel", recurrent, Geometry.from_shape(recurrent.shape)),
    )


def _cell(layer: keras.layers.Layer) -> tuple[Kernel, ...]:
    check_built(layer)
    return _recurrent(layer)


for _class in (keras.layers.SimpleRNNCell, keras.layers.GRUCell, keras.layers.LSTMCell):
    kernels_of.register(_class, _cell)


def _convolutional_recurrent(layer: keras.layers.Layer) -> tuple[Kernel, ...]:
    check_built(layer)
    rank = len(layer.cell.kernel.shape) - 2
    kernels = _recurrent(layer.cell, product(layer.cell.strides, rank))
    return prefixed("cell", kernels)


for _class in (
    keras.layers.ConvLSTM1D,
    keras.layers.ConvLSTM2D,
    keras.layers.ConvLSTM3D,
):
    kernels_of.register(_class, _convolutional_recurrent)
