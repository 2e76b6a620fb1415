"""How the kernels of one layer follow each other inside it."""

import dataclasses
import functools
from typing import Any

import keras

from keras_convinit.graph._activation import fused
from keras_convinit.kernels import Kernel


@dataclasses.dataclass(frozen=True)
class Within:
    """One kernel, as it stands in its layer.

    Args:
        kernel: The kernel.
        begins: Whether it reads what comes into the layer.
        preceding: Otherwise, the activation of what it reads, None for the linear one.
        ends: Whether what it gives leaves the layer.
        following: The activation that the layer applies to what it gives.
    """

    kernel: Kernel
    begins: bool
    preceding: Any
    ends: bool
    following: Any


@functools.singledispatch
def within(layer: Any, kernels: tuple[Kernel, ...]) -> tuple[Within, ...]:
    """How the kernels of a layer follow each other; side by side unless known.

    Args:
        layer: The layer.
        kernels: Its kernels.

    Returns:
        One entry for each of them.
    """
    return tuple(Within(k, True, None, True, fused(layer)) for k in kernels)


def _separable(layer: Any, kernels: tuple[Kernel, ...]) -> tuple[Within, ...]:
    depthwise, pointwise = kernels
    return (
        Within(depthwise, True, None, False, None),
        Within(pointwise, False, None, True, fused(layer)),
    )


def _attention(layer: Any, kernels: tuple[Kernel, ...]) -> tuple[Within, ...]:
    *readers, output = kernels
    return (
        *(Within(kernel, True, None, False, None) for kernel in readers),
        Within(output, False, None, True, None),
    )


def _recurrent(layer: Any, kernels: tuple[Kernel, ...]) -> tuple[Within, ...]:
    cells = getattr(layer.cell, "cells", [layer.cell])
    number = len(kernels) // len(cells)
    found: list[Within] = []
    before, begins = None, True
    for index, cell in enumerate(cells):
        state, ends = fused(cell), cell is cells[-1]
        for kernel in kernels[index * number : (index + 1) * number]:
            if kernel.name.endswith("recurrent_kernel"):
                found.append(Within(kernel, False, state, ends, state))
            else:
                found.append(Within(kernel, begins, before, ends, state))
        before, begins = state, False
    return tuple(found)


def _bidirectional(layer: Any, kernels: tuple[Kernel, ...]) -> tuple[Within, ...]:
    half = len(kernels) // 2
    return (
        *within(layer.forward_layer, kernels[:half]),
        *within(layer.backward_layer, kernels[half:]),
    )


within.register(keras.layers.SeparableConv1D, _separable)
within.register(keras.layers.SeparableConv2D, _separable)
within.register(keras.layers.MultiHeadAttention, _attention)
within.register(keras.layers.GroupQueryAttention, _attention)
within.register(keras.layers.RNN, _recurrent)
within.register(keras.layers.Bidirectional, _bidirectional)
