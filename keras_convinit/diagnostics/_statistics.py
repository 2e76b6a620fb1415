"""What is kept of a tensor: a few numbers, in float32 whatever it computes in."""

import math
from typing import Any

import keras
from keras import ops

# What `of_signal` gives, in this order.
NORM, VARYING, DEAD = range(3)


def euclidean_norm(x: Any) -> Any:
    """The root of the sum of squares of all entries; NaN where one is not finite."""
    scaled, largest = _scaled(x)
    return largest * ops.sqrt(ops.sum(ops.square(scaled)))


def of_signal(x: Any, axis: int) -> Any:
    """What is kept of the output of a layer, as a vector.

    The norm: the root of the mean, over batch and positions, of the sum of squares
    over channels. The share of its square that is left when the mean of each channel
    is taken off. The share of channels that are zero everywhere.

    Args:
        x: A tensor; its first axis is the batch.
        axis: The axis of the channels.

    Returns:
        A vector of three.
    """
    if len(x.shape) < 2:
        x = ops.reshape(x, (-1, 1))
    scaled, largest = _scaled(x)
    axes = [i for i in range(len(x.shape)) if i != axis % len(x.shape)]
    squares = ops.mean(ops.square(scaled), axis=axes)
    total = ops.sum(squares)
    means = ops.sum(ops.square(ops.mean(scaled, axis=axes)))
    return ops.stack(
        [
            largest * ops.sqrt(total),
            1 - means / ops.where(total > 0, total, 1.0),
            ops.mean(ops.cast(squares == 0, "float32")),
        ]
    )


def _scaled(x: Any) -> tuple[Any, Any]:
    # Squares would overflow, or vanish, long before the numbers themselves do.
    x = ops.cast(x, "float32")
    largest = ops.max(ops.abs(x))
    return x / ops.where(largest > 0, largest, 1.0), largest


def channels_of(shape: Any, axis: int) -> int:
    """How many channels a tensor of a shape has."""
    return int(shape[axis]) if len(shape) > 1 else 1


def positions_of(shape: Any, axis: int) -> int:
    """How many positions a sample of a shape has."""
    return math.prod(int(d) for d in shape[1:]) // channels_of(shape, axis)


def is_floating(x: Any) -> bool:
    """Whether a tensor holds real numbers, so that it has a gradient."""
    return keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype))
