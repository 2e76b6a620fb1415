"""Draws kernels by any initializer, with the geometry that their layers really have."""

import contextlib
import copy
import math
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_convinit._precision import promote_to_float32
from keras_convinit._types import Initializer
from keras_convinit.geometry import Geometry
from keras_convinit.initializers import DeltaOrthogonal, FanInitializer
from keras_convinit.kernels import Kernel
from keras_convinit.schemes.base import SeededScope, Seeds, check_value

# The standard deviation of a standard normal law that is truncated at 2.
TRUNCATED = 0.87962566103423978


def with_seed(initializer: Initializer, seed: int) -> Any:
    """Returns the initializer with another seed, itself if it has none.

    Not made again from its configuration, which cannot hold everything: a function of
    the user's own, say, or the slopes of a layer that is trained.

    Args:
        initializer: Any Keras initializer.
        seed: An integer.

    Returns:
        A copy whose attribute `seed`, from which Keras' initializers draw, is the seed.
    """
    if not hasattr(initializer, "seed"):
        return initializer
    twin = copy.copy(initializer)
    try:
        twin.seed = seed
    except AttributeError:
        return initializer
    return twin


@contextlib.contextmanager
def seeded(initializer: Initializer, seed: int) -> Iterator[Any]:
    """Lets all that an initializer draws follow from a seed for a while.

    Args:
        initializer: Any Keras initializer. Those of Keras and ours draw from their own
            seed, those of others perhaps from Keras' generators.
        seed: An integer.

    Yields:
        The initializer with the seed, as `with_seed` returns it.
    """
    known = _is_known(initializer)
    with contextlib.nullcontext() if known else SeededScope(seed):
        yield with_seed(initializer, seed)


def _is_known(initializer: Initializer) -> bool:
    return type(initializer).__module__.partition(".")[0] in ("keras", "keras_convinit")


def describe_unseeded(initializers: Iterable[Any]) -> Iterator[str]:
    """Yields a note for each class of initializers that does not follow a seed.

    Args:
        initializers: Keras initializers.
    """
    by_name = {type(each).__name__: each for each in initializers}
    for name, initializer in by_name.items():
        if _ignores_seed(initializer):
            yield (
                f"{name} draws by itself, whatever the seed: it has no attribute "
                "`seed` from which all that it draws follows"
            )


def _ignores_seed(initializer: Initializer) -> bool:
    """Returns True if two with one seed draw differently, or the seed is hidden.

    Initializers of others are tried, on a matrix.
    """
    if _is_known(initializer):
        return False

    def draw() -> np.ndarray:
        with Seeds(1).decide_defaults(), seeded(initializer, 1) as twin:
            return ops.convert_to_numpy(twin((8, 8), dtype="float32"))

    try:
        hidden = with_seed(initializer, 1) is initializer
        return (hidden and "seed" in initializer.get_config()) or not np.array_equal(
            draw(), draw()
        )
    # Those of others may need another shape, or have no configuration.
    except Exception:
        return False


def draw_copies(
    initializer: Initializer,
    kernel: Kernel,
    seeds: list[int],
    stride_aware: bool = False,
) -> list[Any]:
    """Draws the copies of a kernel.

    Args:
        initializer: Any Keras initializer.
        kernel: The kernel.
        seeds: A seed for each copy.
        stride_aware: Whether fans count only the taps of a strided window that meet an
            input.

    Returns:
        A tensor for each copy, in float32 or the wider dtype of the variable.
    """
    dtype = promote_to_float32(kernel.variable.dtype)
    shape = tuple(kernel.variable.shape)
    if kernel.stacked:
        shape = shape[1:]
    return [
        _draw(initializer, seed, shape, kernel, dtype, stride_aware) for seed in seeds
    ]


def _draw(
    initializer: Initializer,
    seed: int,
    shape: Any,
    kernel: Kernel,
    dtype: str,
    stride_aware: bool,
) -> Any:
    geometry = kernel.geometry
    if isinstance(initializer, FanInitializer):
        return initializer.draw(shape, geometry, dtype, stride_aware, seed)
    if isinstance(initializer, keras.initializers.VarianceScaling):
        return _variance_scaling(initializer, seed, shape, kernel, dtype, stride_aware)
    groups, inputs, outputs = _axes(geometry, len(shape))
    order = groups + inputs + outputs
    sizes = [[shape[axis] for axis in axes] for axes in (groups, inputs, outputs)]
    one = _of_one_group(geometry, sizes[1], math.prod(shape))
    if geometry.groups == 1:
        drawn = _draw_with(initializer, seed, one, dtype)
    else:
        parts = [
            _draw_with(initializer, seed + group, one, dtype)
            for group in range(geometry.groups)
        ]
        # Without axes of their own, groups lie side by side in the outputs.
        drawn = ops.stack(parts) if groups else ops.concatenate(parts, axis=-1)
    drawn = ops.reshape(drawn, [size for part in sizes for size in part])
    back = [order.index(axis) for axis in range(len(shape))]
    return ops.cast(ops.transpose(drawn, back), dtype)


def _axes(geometry: Geometry, rank: int) -> tuple[list[int], list[int], list[int]]:
    """Returns the axes of the groups, of the inputs, and of the outputs."""
    outputs = sorted(axis % rank for axis in geometry.output_axes)
    groups = sorted(axis % rank for axis in geometry.group_axes)
    inputs = [axis for axis in range(rank) if axis not in outputs]
    return groups, inputs, [axis for axis in outputs if axis not in groups]


def _of_one_group(
    geometry: Geometry, inputs: list[int], weights: int
) -> tuple[int, ...]:
    """Returns the shape for an initializer: positions, inputs, outputs."""
    count = 0
    # Those of the window come first.
    while math.prod(inputs[:count]) < geometry.receptive_field and count < len(inputs):
        count += 1
    shape = (*inputs[:count], geometry.in_channels, geometry.out_channels)
    if math.prod(shape) * geometry.groups == weights:
        return shape
    # An einsum may have them elsewhere.
    return (*inputs, weights // (geometry.groups * math.prod(inputs)))


def _draw_with(
    initializer: Initializer, seed: int, shape: tuple[int, ...], dtype: str
) -> Any:
    if isinstance(initializer, DeltaOrthogonal):
        return initializer.draw(shape, dtype, seed)
    with seeded(initializer, seed) as twin:
        drawn = twin(shape, dtype=dtype)
    check_value(f"a kernel by {type(initializer).__name__}", drawn, shape)
    return drawn


def _variance_scaling(
    initializer: Initializer,
    seed: int,
    shape: Any,
    kernel: Kernel,
    dtype: str,
    stride_aware: bool,
) -> Any:
    std = variance_scaling_std(initializer, kernel, stride_aware)
    if initializer.distribution == "uniform":
        limit = math.sqrt(3) * std
        return keras.random.uniform(shape, -limit, limit, dtype=dtype, seed=seed)
    if initializer.distribution == "truncated_normal":
        draw, std = keras.random.truncated_normal, std / TRUNCATED
    else:
        draw = keras.random.normal
    return draw(shape, stddev=std, dtype=dtype, seed=seed)


def variance_scaling_std(
    initializer: Initializer, kernel: Kernel, stride_aware: bool = False
) -> float:
    """Returns the standard deviation of a `VarianceScaling` with the true fans."""
    fan_in, fan_out = kernel.geometry.fans(stride_aware)
    fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
    return math.sqrt(initializer.scale / max(1.0, fan[initializer.mode]))


def target_std(
    initializer: Initializer, kernel: Kernel, stride_aware: bool = False
) -> float | None:
    """Returns the standard deviation that an initializer aims at, None if unknown.

    For orthonormal rows or columns it is the root mean square.
    """
    geometry = kernel.geometry
    fan_in, fan_out = geometry.fans()
    if isinstance(initializer, FanInitializer):
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
