"""What we need of TensorFlow and Keras does not offer."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

Function = Callable[[Any], Any]
Derivative = Callable[[np.ndarray], np.ndarray | None]


def evaluate(function: Function, points: np.ndarray) -> np.ndarray:
    """The function at the points, computed now, also while a graph is being traced."""
    with tf.init_scope(), tf.device("cpu"):
        return np.asarray(function(tf.constant(points)))


def derivative_of(function: Function) -> Derivative:
    """The derivative of an elementwise function, computed at once like `evaluate`.

    It gives None where TensorFlow cannot derive the function.
    """

    # Inside `init_scope` no tape records, so the graph is asked.
    @tf.function(autograph=False, reduce_retracing=True)
    def slope(x: tf.Tensor) -> list[tf.Tensor | None]:
        y = function(x)
        return tf.gradients(y, x) if tf.is_tensor(y) else [None]

    def derivative(points: np.ndarray) -> np.ndarray | None:
        with tf.init_scope(), tf.device("cpu"):
            try:
                (value,) = slope(tf.constant(points))
            except NotImplementedError:
                # numpy was asked to read a symbolic tensor.
                return None
            return None if value is None else np.asarray(value)

    return derivative


def to_numpy(variable: Any) -> np.ndarray:
    """The value of a variable, also while a graph is being traced."""
    with tf.init_scope():
        return np.asarray(tf.convert_to_tensor(variable))


def map_rows(function: Function, rows: Sequence[Any]) -> list[np.ndarray]:
    """What a pure function gives for each row of some arrays, stacked."""
    # A graph: for each row Python takes longer than the function itself.
    mapped = tf.function(lambda *rows: keras.ops.map(function, rows), autograph=False)
    return [np.asarray(value) for value in mapped(*map(tf.constant, rows))]


# Up to here one loop is as fast as two, and compiled sooner.
FEW = 256

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
    if length <= FEW and not remat:
        return _loop(body, carry, rows, length)
    # What comes back from reading one row is a list as long as there are rows, and to
    # add up so many of them takes the longer the more there are. In a loop over
    # segments of rows, lists are as long as a segment. Segments are also what `remat`
    # keeps.
    segment = math.isqrt(length - 1) + 1
    count = -(-length // segment)
    segments = [_segments(row, count, segment) for row in rows]

    def run(start: Any, carried: tuple[Any, ...], rows: list[Any]) -> tuple[Any, ...]:
        return _loop(body, carried, rows, segment, tf.minimum(segment, length - start))

    def step(carried: tuple[Any, ...], rows: list[Any]) -> tuple[Any, ...]:
        start, *rest = carried
        if not remat:
            return start + segment, *run(start, tuple(rest), rows)

        def recomputed(*values: Any) -> tuple[Any, ...]:
            return run(start, values[: len(rest)], list(values[len(rest) :]))

        return start + segment, *tf.recompute_grad(recomputed)(*rest, *rows)

    return _loop(step, (tf.constant(0), *carry), segments, count)[1:]


def _segments(row: Any, count: int, segment: int) -> Any:
    row = tf.convert_to_tensor(row)
    surplus = count * segment - row.shape[0]
    if surplus:
        row = tf.pad(row, [(0, surplus)] + [(0, 0)] * (len(row.shape) - 1))
    return tf.reshape(row, (count, segment, *row.shape[1:]))


def _loop(
    body: Body,
    carry: tuple[Any, ...],
    rows: Sequence[Any],
    bound: int,
    length: Any = None,
) -> tuple[Any, ...]:
    """A loop that XLA can compile and derive, as `bound` is known beforehand."""
    # Of the ways to read a row this is the one whose gradient is a row and not an array
    # full of zeros.
    arrays = []
    for row in rows:
        row = tf.convert_to_tensor(row)
        array = tf.TensorArray(row.dtype, size=bound, element_shape=row.shape[1:])
        arrays.append(array.unstack(row))

    def step(index: Any, *carried: Any) -> tuple[Any, ...]:
        values = body(carried, [array.read(index) for array in arrays])
        for value, before in zip(values, carried, strict=True):
            value.set_shape(before.shape)
        return index + 1, *values

    return tf.while_loop(
        lambda index, *_: index < (bound if length is None else length),
        step,
        (tf.constant(0), *carry),
        maximum_iterations=bound,
    )[1:]


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

    # The variables are read inside: hundreds of arguments take longer than a network.
    def read_and_run(*arguments: Any) -> Any:
        return function([tf.convert_to_tensor(v) for v in variables()], *arguments)

    program = tf.function(read_and_run, autograph=False)
    calls = itertools.count(0 if lazily else 1)

    def run(*arguments: Any) -> Any:
        return (program if next(calls) else read_and_run)(*arguments)

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
        # Not the tensors themselves: the function may use them elsewhere, too.
        points = [tf.identity(point) for point in points]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(points)
            value, rest = function(points, *arguments)
        return value, rest, tape.gradient(value, points, unconnected_gradients="zero")

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

    # Twice backwards: forward mode does not pass the loop of a stack.
    def product(points: list[Any], directions: list[Any], *arguments: Any) -> Any:
        def slope(points: list[Any]) -> Any:
            value, _, gradients = gradient(lambda p: (function(p, *arguments), None))(
                points
            )
            pairs = zip(gradients, directions, strict=True)
            return tf.add_n([tf.reduce_sum(g * d) for g, d in pairs]), value

        _, value, products = gradient(slope)(points)
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
    wider = tf.cast(x, "float64" if wide else "float32")
    return tf.cast(tf.sqrt(2 * tf.nn.l2_loss(wider)), "float32")


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

    @tf.custom_gradient
    def identity(x: Any, _: Any) -> Any:
        def gradients(upstream: Any) -> Any:
            return upstream, statistic(tf.convert_to_tensor(upstream))

        return tf.identity(x), gradients

    return identity(x, handle)


def outline(function: Callable[..., Any], *arguments: Any) -> None:
    """Runs a function for what its Python code notes down, computing no more than must.

    Args:
        function: From nests of tensors to nests of tensors, without other effects.
        *arguments: The arguments.
    """
    function(*arguments)
