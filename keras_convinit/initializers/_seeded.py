"""The seed of an initializer: what it may be, and its way into a config and back."""

import random
from typing import Any

import keras

from keras_convinit._precision import at_least_float32


class AbstractSeeded(keras.initializers.Initializer):
    """An initializer that draws random numbers.

    The rules are those of Keras' own: an integer, or one object without a seed, draws
    the same values at every call; a `SeedGenerator` moves on.

    Args:
        seed: None, an integer, or a `keras.random.SeedGenerator`.
    """

    def __init__(self, seed: Any = None) -> None:
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

    def get_config(self) -> dict[str, Any]:
        """The arguments with which to make this object again."""
        return {"seed": keras.saving.serialize_keras_object(self._given_seed)}

    def _normal(
        self, shape: tuple[int, ...], dtype: str, deviation: float = 1.0
    ) -> Any:
        """Normal numbers, not truncated, in `dtype` or in float32 if that is wider."""
        return keras.random.normal(
            shape, stddev=deviation, dtype=at_least_float32(dtype), seed=self.seed
        )


def floating(dtype: Any) -> str:
    """The name of a floating dtype, Keras' default for None."""
    name = keras.backend.standardize_dtype(dtype)
    if not keras.backend.is_float_dtype(name):
        raise ValueError(
            f"`dtype` must be a floating-point type. Received: dtype={dtype!r}"
        )
    return name
