"""Layers whose outputs are linear in their kernels, up to a bias and an activation."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from keras_convinit.kernels import Kernel
from keras_convinit.layers import WeightNorm

_CHANNELS_LAST = (keras.layers.Dense,)
_CONVOLUTIONS = tuple(
    getattr(keras.layers, f"{kind}{rank}D{suffix}")
    for kind, ranks, suffix in (
        ("Conv", (1, 2, 3), ""),
        ("Conv", (1, 2, 3), "Transpose"),
        ("DepthwiseConv", (1, 2), ""),
        ("SeparableConv", (1, 2), ""),
    )
    for rank in ranks
)
_LINEAR = (*_CHANNELS_LAST, keras.layers.EinsumDense, *_CONVOLUTIONS)
_CALLS = {cls.call for cls in _LINEAR}


def unwrapped(layer: Any) -> Any:
    """The layer that multiplies, without what repeats or reparameterises it."""
    while isinstance(layer, WeightNorm | keras.layers.TimeDistributed):
        layer = layer.layer
    return layer


def is_linear(layer: Any) -> bool:
    """Whether the outputs are linear in each kernel, up to a bias and an activation."""
    inner = unwrapped(layer)
    # A subclass with a `call` of its own may do anything.
    return isinstance(inner, _LINEAR) and type(inner).call in _CALLS


@contextlib.contextmanager
def without_activation(layer: Any) -> Iterator[Any]:
    """Takes the activation off a layer for a while, and gives it.

    Nothing else shows what the kernel gives without a second product.
    """
    inner = layer
    while isinstance(inner, keras.layers.Wrapper) and not hasattr(inner, "activation"):
        inner = inner.layer
    activation = getattr(inner, "activation", None)
    if not callable(activation):
        yield None
        return
    # PyTorch takes no function in place of a module.
    is_layer = isinstance(activation, keras.layers.Layer)
    inner.activation = None if is_layer else keras.activations.linear
    try:
        yield activation
    finally:
        inner.activation = activation


def bias_of(layer: Any) -> Any:
    """The variable of the bias, None where there is none."""
    inner = unwrapped(layer)
    # Convolutions have no attribute of that name without one.
    return getattr(inner, "bias", None) if getattr(inner, "use_bias", True) else None


def broadcast(bias: Any, layer: Any) -> Any:
    """A bias in a shape that can be added to the outputs."""
    inner = unwrapped(layer)
    if getattr(inner, "data_format", None) != "channels_first":
        return bias
    return ops.reshape(bias, (-1, *[1] * _positions(inner)))


def channel_axes(layer: Any, kernel: Kernel, rank: int) -> tuple[int, ...]:
    """The axes of the outputs that are those of a gain, in the gain's order.

    Args:
        layer: A layer that `is_linear`.
        kernel: Its kernel.
        rank: The rank of its outputs.

    Returns:
        Axes from 0. Of a depthwise convolution one, which holds both of the kernel's.
    """
    inner = unwrapped(layer)
    if isinstance(inner, keras.layers.EinsumDense):
        return _of_equation(inner.equation, kernel, rank)
    if getattr(inner, "data_format", None) == "channels_first":
        return (rank - 1 - _positions(inner),)
    return (rank - 1,)


def _positions(convolution: Any) -> int:
    return len(convolution.kernel_size)


def _of_equation(equation: str, kernel: Kernel, rank: int) -> tuple[int, ...]:
    left, output = equation.replace(" ", "").split("->")
    names = left.split(",")[1]
    before, _, after = output.partition("...")
    place = {name: axis for axis, name in enumerate(before)}
    if "..." in output:
        first = rank - len(after)
        place.update({name: first + axis for axis, name in enumerate(after)})
    axes = sorted(axis % len(names) for axis in kernel.geometry.output_axes)
    return tuple(place[names[axis]] for axis in axes)
