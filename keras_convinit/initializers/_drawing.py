"""Base classes of the initializers that draw random numbers."""

import abc
import math
import random
from collections.abc import Sequence

import keras
from keras import ops

from keras_convinit._checks import check_kernel_shape
from keras_convinit._precision import promote_to_float32
from keras_convinit._types import Config, DTypeLike, Seed, Tensor
from keras_convinit.geometry import Geometry


class SeededInitializer(keras.initializers.Initializer):
    """An initializer that draws random numbers.

    Seeds work as in Keras' own initializers: an integer, or one object without a seed,
    draws the same values at every call; a `SeedGenerator` moves on.

    Args:
        seed: None, an integer, or a `keras.random.SeedGenerator`.

    Raises:
        ValueError: `seed` is none of these.
    """

    def __init__(self, seed: Seed = None) -> None:
        if isinstance(seed, dict):
            seed = keras.saving.deserialize_keras_object(seed)
        is_integer = isinstance(seed, int) and not isinstance(seed, bool)
        if not (
            seed is None or is_integer or isinstance(seed, keras.random.SeedGenerator)
        ):
            raise ValueError(
                "`seed` must be None, an integer, or a `keras.random.SeedGenerator`. "
                f"Received: seed={seed!r}"
            )
        self._given_seed = seed
        # `keras.utils.set_random_seed` seeds this generator.
        self.seed = random.randint(1, 10**9) if seed is None else seed

    def get_config(self) -> Config:
        """Returns the constructor arguments as a serializable dict."""
        return {"seed": keras.saving.serialize_keras_object(self._given_seed)}

    def _draw_normal(
        self, shape: tuple[int, ...], dtype: str, std: float = 1.0, seed: Seed = None
    ) -> Tensor:
        """Draws normal numbers, not truncated, in `dtype` or float32 if wider."""
        return keras.random.normal(
            shape,
            stddev=std,
            dtype=promote_to_float32(dtype),
            seed=self.seed if seed is None else seed,
        )


class FanInitializer(SeededInitializer, abc.ABC):
    """Normal weights, not truncated, whose variance follows from the layer's geometry.

    A subclass has `kernel_variance(geometry)` and nothing more. Keras calls it with a
    shape, which is taken for that of an ordinary Dense or Conv layer;
    `keras_convinit.initialize` calls `draw` with the true geometry of each layer, so
    that the fans of grouped, depthwise and transposed layers are right.

    Args:
        seed: None, an integer, or a `keras.random.SeedGenerator`.

    Raises:
        ValueError: `seed` is none of these.

    Example:
        >>> class FanOut(keras_convinit.initializers.FanInitializer):
        ...     def kernel_variance(self, geometry, stride_aware=False):
        ...         _, fan_out = geometry.fans(stride_aware)
        ...         return 1 / fan_out
        >>> layer = keras.layers.Conv2D(64, 3, kernel_initializer=FanOut(seed=1))
        >>> layer.build((None, 8, 8, 3))
        >>> std = keras.ops.convert_to_numpy(layer.kernel).std()
        >>> bool(abs(std * 576**0.5 - 1) < 0.1)
        True
    """

    @abc.abstractmethod
    def kernel_variance(self, geometry: Geometry, stride_aware: bool = False) -> float:
        """Computes the variance of the weights of a kernel.

        Args:
            geometry: How the layer connects its units.
            stride_aware: Whether the fans count only what a strided window visits.

        Returns:
            Var(w), a positive number.
        """

    def __call__(self, shape: Sequence[int], dtype: DTypeLike = None) -> Tensor:
        """Draws the kernel of an ordinary Dense or Conv layer.

        Args:
            shape: `(..., inputs, outputs)`.
            dtype: A floating dtype; the default is `keras.config.floatx()`.

        Returns:
            A tensor of that shape and dtype.

        Raises:
            ValueError: `shape` has fewer than two dimensions or one that is not a
                positive integer, or `dtype` is not a floating dtype.
        """
        return self.draw(shape, Geometry.from_shape(shape), dtype)

    def draw(
        self,
        shape: Sequence[int],
        geometry: Geometry,
        dtype: DTypeLike = None,
        stride_aware: bool = False,
        seed: Seed = None,
    ) -> Tensor:
        """Draws a kernel whose geometry is known.

        Args:
            shape: Shape of the kernel.
            geometry: How the layer connects its units.
            dtype: A floating dtype; the default is `keras.config.floatx()`.
            stride_aware: Whether the fans count only what a strided window visits.
            seed: Used in place of the initializer's own seed, if it is not None.

        Returns:
            A tensor of that shape and dtype.

        Raises:
            ValueError: `shape` has fewer than two dimensions or one that is not a
                positive integer, or `dtype` is not a floating dtype.
        """
        std = math.sqrt(self.kernel_variance(geometry, stride_aware))
        dtype = check_floating(dtype)
        values = self._draw_normal(check_kernel_shape(shape), dtype, std, seed)
        return ops.cast(values, dtype)


def check_floating(dtype: DTypeLike) -> str:
    """Returns the name of a floating dtype, Keras' default for None.

    Raises:
        ValueError: `dtype` is not a floating dtype.
    """
    name = keras.backend.standardize_dtype(dtype)
    if not keras.backend.is_float_dtype(name):
        raise ValueError(
            f"`dtype` must be a floating-point type. Received: dtype={dtype!r}"
        )
    return name
