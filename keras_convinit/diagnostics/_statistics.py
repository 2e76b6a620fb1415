"""What is kept of the output of a layer: a few numbers."""

import math
from typing import Any

import keras
from keras import ops


def dead_channels(x: Any, axis: int) -> Any:
    """The number of channels that are zero all over the batch."""
    zero = ops.all(ops.equal(x, 0), axis=_but(x, axis))
    return ops.sum(ops.cast(zero, "float32"))


def varying_share(x: Any, axis: int) -> Any:
    """The share of the sum of squares that is left without the mean of each channel."""
    x = ops.cast(x, "float32")
    # The squares of what is far from 1 would leave the range of numbers.
    largest = ops.max(ops.abs(x))
    x = x / ops.where(largest > 0, largest, 1.0)
    squares = ops.sum(ops.mean(ops.square(x), axis=_but(x, axis)))
    means = ops.sum(ops.square(ops.mean(x, axis=_but(x, axis))))
    return 1 - means / ops.where(squares > 0, squares, 1.0)


def _but(x: Any, axis: int) -> list[int]:
    rank = len(x.shape)
    return [i for i in range(rank) if rank == 1 or i != axis % rank]


def channels_of(shape: Any, axis: int) -> int:
    """How many channels a tensor of a shape has."""
    return int(shape[axis]) if len(shape) > 1 else 1


def positions_of(shape: Any, axis: int) -> int:
    """How many positions a sample of a shape has."""
    return math.prod(int(d) for d in shape[1:]) // channels_of(shape, axis)


def is_floating(x: Any) -> bool:
    """Whether a tensor holds real numbers, so that it has a gradient."""
    return keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype))
