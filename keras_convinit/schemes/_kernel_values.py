"""Draws a kernel by any initializer, for the geometry that the layer really has."""

import math
from typing import Any

import keras
from keras import ops

from keras_convinit.initializers import DeltaOrthogonal
from keras_convinit.initializers._fan import AbstractFan
from keras_convinit.kernels import Kernel

# The standard deviation of a standard normal law that is truncated at 2.
TRUNCATED = 0.87962566103423978


def seeded(initializer: Any, seed: int) -> Any:
    """A copy of the initializer with that seed, if it is one that has a seed."""
    config = initializer.get_config()
    if "seed" not in config:
        return initializer
    return type(initializer).from_config({**config, "seed": seed})


def kernel_values(
    initializer: Any, kernel: Kernel, seeds: list[int], stride_aware: bool = False
) -> list[Any]:
    """New values for the copies of a kernel.

    Args:
        initializer: Any Keras initializer.
        kernel: The kernel.
        seeds: A seed for each copy.
        stride_aware: Whether fans count only what a strided window visits.

    Returns:
        A tensor for each copy, in float32 or the wider dtype of the variable.
    """
    dtype = keras.backend.result_type(kernel.variable.dtype, "float32")
    shape = tuple(kernel.variable.shape)
    if kernel.stacked:
        shape = shape[1:]
    return [
        _draw(seeded(initializer, seed), shape, kernel, dtype, stride_aware)
        for seed in seeds
    ]


def _draw(
    initializer: Any, shape: Any, kernel: Kernel, dtype: str, stride_aware: bool
) -> Any:
    geometry = kernel.geometry
    if isinstance(initializer, AbstractFan):
        return initializer.draw(shape, geometry, dtype, stride_aware)
    if isinstance(initializer, keras.initializers.VarianceScaling):
        return _variance_scaling(initializer, shape, kernel, dtype, stride_aware)
    rank = len(shape)
    outputs = sorted(axis % rank for axis in geometry.output_axes)
    inputs = [axis for axis in range(rank) if axis not in outputs]
    if geometry.groups > 1 and rank > 2:
        return _by_groups(initializer, shape, geometry, dtype)
    # Keras takes the last axis for that of the outputs.
    if outputs == [rank - 1]:
        return ops.cast(initializer(shape, dtype=dtype), dtype)
    order = inputs + outputs
    drawn = initializer(tuple(shape[axis] for axis in order), dtype=dtype)
    back = [order.index(axis) for axis in range(rank)]
    return ops.cast(ops.transpose(drawn, back), dtype)


def _variance_scaling(
    initializer: Any, shape: Any, kernel: Kernel, dtype: str, stride_aware: bool
) -> Any:
    deviation = variance_scaling_std(initializer, kernel, stride_aware)
    if initializer.distribution == "uniform":
        limit = math.sqrt(3) * deviation
        return keras.random.uniform(
            shape, -limit, limit, dtype=dtype, seed=initializer.seed
        )
    if initializer.distribution == "truncated_normal":
        draw, deviation = keras.random.truncated_normal, deviation / TRUNCATED
    else:
        draw = keras.random.normal
    return draw(shape, stddev=deviation, dtype=dtype, seed=initializer.seed)


def _by_groups(initializer: Any, shape: Any, geometry: Any, dtype: str) -> Any:
    """Each group of a convolution as the ordinary kernel that it is."""
    *positions, inputs, _ = shape
    depthwise = len(geometry.output_axes) == 2
    part = (*positions, geometry.in_channels, geometry.out_channels)
    first = initializer.get_config().get("seed")
    groups = []
    for group in range(geometry.groups):
        own = initializer if first is None else seeded(initializer, first + group)
        groups.append(own(part, dtype=dtype))
    kernel = ops.concatenate(groups, axis=-2 if depthwise else -1)
    return ops.cast(ops.reshape(kernel, (*positions, inputs, shape[-1])), dtype)


def variance_scaling_std(
    initializer: Any, kernel: Kernel, stride_aware: bool = False
) -> float:
    """The standard deviation of `VarianceScaling` with the true fans."""
    fan_in, fan_out = kernel.geometry.fans(stride_aware)
    fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
    return math.sqrt(initializer.scale / max(1.0, fan[initializer.mode]))


def target_std(
    initializer: Any, kernel: Kernel, stride_aware: bool = False
) -> float | None:
    """The standard deviation that an initializer aims at; None where that is unknown.

    Of matrices with orthonormal rows or columns it is the root mean square.
    """
    geometry = kernel.geometry
    fan_in, fan_out = geometry.fans()
    if isinstance(initializer, AbstractFan):
        return math.sqrt(initializer.kernel_variance(geometry, stride_aware))
    if isinstance(initializer, keras.initializers.VarianceScaling):
        return variance_scaling_std(initializer, kernel, stride_aware)
    if isinstance(initializer, keras.initializers.RandomNormal):
        return initializer.stddev
    if isinstance(initializer, keras.initializers.Orthogonal):
        return initializer.gain / math.sqrt(max(fan_in, geometry.out_channels))
    if isinstance(initializer, DeltaOrthogonal):
        return initializer.gain / math.sqrt(fan_out)
    if isinstance(initializer, keras.initializers.Zeros):
        return 0.0
    return None
