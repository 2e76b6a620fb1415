"""The reparameterisation g * v / ||v||, the only place where it is computed."""

import itertools
import math
from typing import Any

from keras import ops

# Squared norms below count as zero. The norm itself is 1e-12 there, which no filter
# that does anything comes near, so there is no bias as an added epsilon has.
ZERO = 1e-24


def effective_kernel(direction: Any, gain: Any, output_axes: tuple[int, ...]) -> Any:
    """The kernel that a weight-normalised layer multiplies its inputs by.

    A filter of zeros stays one, with the gradient of a filter of norm 1, instead of
    becoming not a number.

    Args:
        direction: v, of the shape of the kernel.
        gain: g, of the shape of the kernel's `output_axes`, in the precision in which
            all is computed.
        output_axes: Axes of the kernel that tell output channels apart.

    Returns:
        A tensor of the shape of `direction` and the dtype of `gain`.
    """
    flat, inputs = _flat(ops.cast(direction, gain.dtype), output_axes)
    squares = ops.sum(ops.square(flat), axis=inputs, keepdims=True)
    norms_or_one = ops.where(squares < ZERO, ops.ones_like(squares), squares)
    # The factor is a number for each filter: the kernel itself is gone over once.
    factor = ops.reshape(gain, squares.shape) * ops.rsqrt(norms_or_one)
    return ops.reshape(flat * factor, direction.shape)


def norms(direction: Any, output_axes: tuple[int, ...], dtype: Any) -> Any:
    """||v|| for each output channel.

    Args:
        direction: v, of the shape of the kernel.
        output_axes: Axes of the kernel that tell output channels apart.
        dtype: The precision to compute in.

    Returns:
        A tensor of the shape of the kernel's `output_axes`.
    """
    flat, inputs = _flat(ops.cast(direction, dtype), output_axes)
    lengths = ops.sqrt(ops.sum(ops.square(flat), axis=inputs))
    return ops.reshape(lengths, gain_shape(direction.shape, output_axes))


def gain_shape(shape: Any, output_axes: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes of the output axes, in the order of the kernel's axes."""
    rank = len(shape)
    return tuple(shape[axis] for axis in sorted(axis % rank for axis in output_axes))


def _flat(kernel: Any, output_axes: tuple[int, ...]) -> tuple[Any, list[int]]:
    """Merges neighbouring axes of one kind, and says which axes are of inputs.

    PyTorch, whose convolutions have the axes in another order, takes half the time for
    the gradient when there are but two.
    """
    rank = len(kernel.shape)
    outputs = {axis % rank for axis in output_axes}
    runs = [
        (is_output, math.prod(kernel.shape[axis] for axis in axes))
        for is_output, axes in itertools.groupby(range(rank), outputs.__contains__)
    ]
    inputs = [index for index, (is_output, _) in enumerate(runs) if not is_output]
    return ops.reshape(kernel, [size for _, size in runs]), inputs
