"""The reparameterisation g * v / ||v||, the only place where it is computed."""

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


def norms(direction: Any, output_axes: tuple[int, ...], dtype: Any) -> Any:
    """||v|| for each output channel.

    Args:
        direction: v, of the shape of the kernel.
        output_axes: Axes of the kernel that tell output channels apart.
        dtype: The precision to compute in.

    Returns:
        A tensor of the shape of the kernel's `output_axes`.
    """
    direction = ops.cast(direction, dtype)
    inputs = _input_axes(direction, output_axes)
    return ops.sqrt(ops.sum(ops.square(direction), axis=inputs))


def gain_shape(shape: Any, output_axes: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes of the output axes, in the order of the kernel's axes."""
    rank = len(shape)
    return tuple(shape[axis] for axis in sorted(axis % rank for axis in output_axes))


def _input_axes(kernel: Any, output_axes: tuple[int, ...]) -> list[int]:
    """Axes of what a norm is taken over, in ascending order."""
    rank = len(kernel.shape)
    outputs = {axis % rank for axis in output_axes}
    return [axis for axis in range(rank) if axis not in outputs]
