"""What we need of JAX and Keras does not offer."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np


@contextlib.contextmanager
def _now() -> Iterator[None]:
    """Computes at once, in float64, on this process' own CPU, also inside a trace."""
    cpu = jax.local_devices(backend="cpu")[0]
    with (
        jax.ensure_compile_time_eval(),
        jax.enable_x64(True),
        jax.default_device(cpu),
    ):
        yield


Function = Callable[[Any], Any]
Derivative = Callable[[np.ndarray], np.ndarray | None]


def evaluate(function: Function, points: np.ndarray) -> np.ndarray:
    """The function at the points, computed now, also while a program is traced."""
    with _now():
        values = np.asarray(function(jnp.asarray(_padded(points))))
        return values[: len(points)]


def derivative_of(function: Function) -> Derivative:
    """The derivative of an elementwise function, computed at once like `evaluate`.

    It gives None where JAX cannot derive the function.
    """

    def derivative(points: np.ndarray) -> np.ndarray | None:
        with _now():
            try:
                y, pull_back = jax.vjp(function, jnp.asarray(_padded(points)))
            except jax.errors.TracerArrayConversionError:
                return None
            (slope,) = pull_back(jnp.ones_like(y))
            return np.asarray(slope)[: len(points)]

    return derivative


def _padded(points: np.ndarray) -> np.ndarray:
    """JAX compiles anew for every length, so there are but a few of them."""
    if points.ndim != 1:
        return points
    length = max(2048, 1 << (len(points) - 1).bit_length())
    return np.pad(points, (0, length - len(points)), mode="edge")


def to_numpy(variable: Any) -> np.ndarray:
    """The value of a variable, also while a program is traced."""
    return np.asarray(keras.ops.convert_to_numpy(variable))
