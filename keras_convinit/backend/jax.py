"""JAX implementations of the backend functions that Keras lacks."""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from keras_convinit._types import (
    KerasLayer,
    KerasModel,
    Tensor,
    TensorFunction,
    Variable,
)
from keras_convinit.backend import Body, Derivative, Function


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


def evaluate(function: Function, points: np.ndarray) -> np.ndarray:
    """See `keras_convinit.backend`."""
    with _now():
        values = np.asarray(function(jnp.asarray(_padded(points))))
        return values[: len(points)]


def differentiate(function: Function) -> Derivative:
    """See `keras_convinit.backend`."""

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
    """Pads to one of a few lengths: JAX compiles anew for each of them."""
    if points.ndim != 1:
        return points
    length = max(2048, 1 << (len(points) - 1).bit_length())
    return np.pad(points, (0, length - len(points)), mode="edge")


def to_numpy(variable: Variable) -> np.ndarray:
    """See `keras_convinit.backend`."""
    return np.asarray(keras.ops.convert_to_numpy(variable))


def map_rows(function: Function, rows: Sequence[Tensor]) -> list[np.ndarray]:
    """See `keras_convinit.backend`."""
    mapped = jax.lax.map(function, tuple(map(jnp.asarray, rows)))
    return [np.asarray(value) for value in mapped]


# On a CPU, XLA computes gradients of convolutions in a loop twenty times more slowly
# than outside of one. To compile so many rounds one after the other takes less time
# than a few steps of a training lose in the loop.
FEW = 200


def scan(
    body: Body,
    carry: tuple[Tensor, ...],
    rows: Sequence[Tensor],
    length: int,
    remat: bool = False,
) -> tuple[Tensor, ...]:
    """See `keras_convinit.backend`."""
    unroll = length <= FEW and jax.default_backend() == "cpu"

    def run(
        carried: tuple[Tensor, ...], rows: list[Tensor], length: int
    ) -> tuple[Tensor, ...]:
        return jax.lax.scan(
            lambda carried, row: (body(carried, row), None),
            carried,
            rows,
            length,
            unroll=unroll,
        )[0]

    rows = [jnp.asarray(row) for row in rows]
    if not remat:
        return run(carry, rows, length)
    # What is carried is kept once a segment, and within the one segment that is being
    # recomputed: the root of the length twice, instead of the length.
    segment = math.isqrt(length - 1) + 1
    count, remainder = divmod(length, segment)
    last = length - remainder
    whole = [row[:last].reshape(count, segment, *row.shape[1:]) for row in rows]
    run = jax.checkpoint(run, static_argnums=2)
    carry = jax.lax.scan(
        lambda carried, rows: (run(carried, rows, segment), None),
        carry,
        whole,
        count,
        unroll=unroll,
    )[0]
    return run(carry, [row[last:] for row in rows], remainder) if remainder else carry


def compile_function(
    function: Callable[..., Any],
    variables: Callable[[], Sequence[Variable]],
    lazily: bool = False,
) -> Callable[..., Any]:
    """See `keras_convinit.backend`."""
    program = jax.jit(function)
    calls = itertools.count(0 if lazily else 1)

    def run(*arguments: Any) -> Any:
        values = [variable.value for variable in variables()]
        return (program if next(calls) else function)(values, *arguments)

    return run


def value_and_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """See `keras_convinit.backend`."""

    def compute(points: list[Tensor], *arguments: Any) -> Any:
        (value, rest), gradients = jax.value_and_grad(function, has_aux=True)(
            points, *arguments
        )
        return value, rest, gradients

    return compute


def hessian_vector_product(function: Callable[..., Any]) -> Callable[..., Any]:
    """See `keras_convinit.backend`."""

    def product(points: list[Tensor], directions: list[Tensor], *arguments: Any) -> Any:
        def slope(points: list[Tensor]) -> Any:
            return jax.value_and_grad(function)(points, *arguments)

        # Forwards over backwards: on a CPU, backwards twice takes five times as long
        # for convolutions. But it refuses functions with a gradient of their own.
        try:
            (value, _), (_, products) = jax.jvp(slope, (points,), (directions,))
        except TypeError as error:
            if "forward-mode" not in str(error):
                raise
            (value, _), pull_back = jax.vjp(slope, points)
            (products,) = pull_back((jnp.zeros_like(value), directions))
        return value, products

    return product


def curvature_gradient(
    function: Callable[..., Any], statistic: Callable[..., Any]
) -> Callable[..., Any]:
    """See `keras_convinit.backend`."""

    def run(points: list[Tensor], *arguments: Any) -> Any:
        def slope(points: list[Tensor]) -> Any:
            return jax.value_and_grad(function)(points, *arguments)

        def backwards(points: list[Tensor]) -> Any:
            (value, gradients), pull_back = jax.vjp(slope, points)
            (products,) = pull_back((jnp.zeros_like(value), gradients))
            return statistic(gradients, products), value

        # As for a product with the Hessian: forwards wherever that is possible.
        try:
            return _forwards(slope, statistic, points)
        except TypeError as error:
            if "forward-mode" not in str(error):
                raise
        (found, value), slopes = jax.value_and_grad(backwards, has_aux=True)(points)
        return value, found, slopes

    return run


def _forwards(slope: Any, statistic: Callable[..., Any], points: Any) -> Any:
    """Computes the gradient of s(g, H g): H u + D(H g)[w], with u, w those of s."""

    def gradients(points: list[Tensor]) -> list[Tensor]:
        return slope(points)[1]

    def product(points: list[Tensor], directions: list[Tensor]) -> list[Tensor]:
        return jax.jvp(gradients, (points,), (directions,))[1]

    (value, g), derivative = jax.linearize(slope, points)
    _, h = derivative(g)
    found, (u, w) = jax.value_and_grad(statistic, argnums=(0, 1))(g, h)
    _, of_w = derivative(w)
    # D(H g)[w] is D(H)[w] g + H H w, and H u is added to its last part.
    directions = jax.tree.map(jnp.add, of_w, u)
    _, slopes = jax.jvp(product, (points, g), (w, directions))
    return value, found, slopes


def norm(x: Tensor, wide: bool = True) -> Tensor:
    """See `keras_convinit.backend`."""
    x = x.astype("float32")
    if not wide:
        return jnp.sqrt(jnp.sum(jnp.square(x)))
    largest = jnp.max(jnp.abs(x))
    # What is infinite divided by itself would be no number.
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1.0)
    return scale * jnp.sqrt(jnp.sum(jnp.square(x / scale)))


def gradient_probe(x: Tensor, probe: Tensor, statistic: TensorFunction) -> Tensor:
    """See `keras_convinit.backend`."""

    @jax.custom_vjp
    def identity(x: Tensor, _: Tensor) -> Tensor:
        return x

    identity.defvjp(
        lambda x, _: (x, None), lambda _, upstream: (upstream, statistic(upstream))
    )
    return identity(x, probe)


def abstract_trace(function: Callable[..., Any], *arguments: Any) -> None:
    """See `keras_convinit.backend`."""
    jax.eval_shape(function, *arguments)


def get_accelerator() -> str | None:
    """See `keras_convinit.backend`."""
    device = next(iter(keras.ops.ones(()).devices()))
    return None if device.platform == "cpu" else device.device_kind


def remember_values(
    layer: KerasLayer, parts: Sequence[KerasLayer]
) -> contextlib.AbstractContextManager[None]:
    """See `keras_convinit.backend`."""
    # What is computed again is a part of a program, which has its values.
    return contextlib.nullcontext()


@contextlib.contextmanager
def preserve_state(_: KerasModel) -> Iterator[None]:
    """See `keras_convinit.backend`. JAX has no state."""
    yield


def seed_generators(_: int) -> None:
    """See `keras_convinit.backend`."""
