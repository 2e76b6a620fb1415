"""What we need of JAX and Keras does not offer."""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
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


def map_rows(function: Function, rows: Sequence[Any]) -> list[np.ndarray]:
    """What a pure function gives for each row of some arrays, stacked."""
    mapped = jax.lax.map(function, tuple(map(jnp.asarray, rows)))
    return [np.asarray(value) for value in mapped]


Body = Callable[[tuple[Any, ...], list[Any]], tuple[Any, ...]]


def scan(
    body: Body,
    carry: tuple[Any, ...],
    rows: Sequence[Any],
    length: int,
    remat: bool = False,
) -> tuple[Any, ...]:
    """What is carried out of a loop that sees one row of each array at a time.

    `body` takes what is carried and a list of rows, and gives what is carried. It runs
    `length` times. With `remat`, what it has computed is computed again on the way
    back, instead of being kept.
    """

    def run(carried: tuple[Any, ...], rows: list[Any], length: int) -> tuple[Any, ...]:
        return jax.lax.scan(
            lambda carried, row: (body(carried, row), None), carried, rows, length
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
        lambda carried, rows: (run(carried, rows, segment), None), carry, whole, count
    )[0]
    return run(carry, [row[last:] for row in rows], remainder) if remainder else carry


def compiled(
    function: Callable[..., Any],
    variables: Callable[[], Sequence[Any]],
    lazily: bool = False,
) -> Callable[..., Any]:
    """A function of the values of variables, compiled once for each kind of arguments.

    Args:
        function: `function(values, *arguments)`, from nests of tensors to nests of
            tensors, without side effects.
        variables: Gives the variables of Keras; always the same.
        lazily: Whether the first call of all runs as it is. What runs once is done
            long before it would be compiled.

    Returns:
        A function of the other arguments.
    """
    program = jax.jit(function)
    calls = itertools.count(0 if lazily else 1)

    def run(*arguments: Any) -> Any:
        values = [variable.value for variable in variables()]
        return (program if next(calls) else function)(values, *arguments)

    return run


def gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that gives value, by-products and gradient of another one.

    Args:
        function: `function(points, *arguments) -> (value, rest)`, where the points are
            a list of tensors and the value is a scalar.

    Returns:
        A function of the same arguments to `(value, rest, gradients)`, a gradient for
        each of the points; zero where the value does not depend on a point.
    """

    def value_and_gradient(points: list[Any], *arguments: Any) -> Any:
        (value, rest), gradients = jax.value_and_grad(function, has_aux=True)(
            points, *arguments
        )
        return value, rest, gradients

    return value_and_gradient


def hessian_product(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that gives value and Hessian-vector product of another one.

    Args:
        function: `function(points, *arguments) -> value`, where the points are a list
            of tensors and the value is a scalar.

    Returns:
        A function `(points, directions, *arguments) -> (value, products)`, a product
        for each of the points.
    """

    def product(points: list[Any], directions: list[Any], *arguments: Any) -> Any:
        def slope(points: list[Any]) -> Any:
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


def norm(x: Any, wide: bool = True) -> Any:
    """The root of the sum of squares, in float32.

    Args:
        x: A tensor.
        wide: Whether its squares may be too large, or too small, for float32.

    Returns:
        A scalar.
    """
    x = x.astype("float32")
    if not wide:
        return jnp.sqrt(jnp.sum(jnp.square(x)))
    largest = jnp.max(jnp.abs(x))
    scaled = x / jnp.where(largest > 0, largest, 1.0)
    return largest * jnp.sqrt(jnp.sum(jnp.square(scaled)))


def watched(x: Any, handle: Any, statistic: Callable[[Any], Any]) -> Any:
    """The tensor itself, with a handle for what is known of its gradient.

    Args:
        x: A tensor.
        handle: Another one, which does nothing: its gradient is `statistic(g)`, where g
            is the gradient of what is derived with respect to `x`.
        statistic: From a tensor like `x` to one like the handle.

    Returns:
        A tensor equal to `x`.
    """

    @jax.custom_vjp
    def identity(x: Any, _: Any) -> Any:
        return x

    identity.defvjp(
        lambda x, _: (x, None), lambda _, upstream: (upstream, statistic(upstream))
    )
    return identity(x, handle)


def outline(function: Callable[..., Any], *arguments: Any) -> None:
    """Runs a function for what its Python code notes down, computing no more than must.

    Args:
        function: From nests of tensors to nests of tensors, without other effects.
        *arguments: The arguments.
    """
    jax.eval_shape(function, *arguments)
