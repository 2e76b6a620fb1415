"""TensorFlow implementations of the backend functions that Keras lacks."""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_convinit._types import (
    KerasLayer,
    KerasModel,
    Tensor,
    TensorFunction,
    Variable,
)
from keras_convinit.backend import Body, Derivative, Function


def evaluate(function: Function, points: np.ndarray) -> np.ndarray:
    """See `keras_convinit.backend`."""
    with tf.init_scope(), tf.device("cpu"):
        return np.asarray(function(tf.constant(points)))


def _below_the_root() -> Any:
    """Returns a scope in which names of layers may begin with an underscore.

    At the root of a graph TensorFlow refuses them; Keras calls layers inside of the
    scope of a model.
    """
    return tf.name_scope("keras_convinit")


def differentiate(function: Function) -> Derivative:
    """See `keras_convinit.backend`."""

    # Inside `init_scope` no tape records, so the graph is asked.
    @tf.function(autograph=False, reduce_retracing=True)
    def slope(x: tf.Tensor) -> list[tf.Tensor | None]:
        with _below_the_root():
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


def to_numpy(variable: Variable) -> np.ndarray:
    """See `keras_convinit.backend`."""
    with tf.init_scope():
        return np.asarray(tf.convert_to_tensor(variable))


def map_rows(function: Function, rows: Sequence[Tensor]) -> list[np.ndarray]:
    """See `keras_convinit.backend`."""

    # A graph: for each row Python takes longer than the function itself.
    def run(*rows: Tensor) -> Any:
        with _below_the_root():
            return keras.ops.map(function, rows)

    mapped = tf.function(run, autograph=False)
    return [np.asarray(value) for value in mapped(*map(tf.constant, rows))]


# Up to here one loop is as fast as two, and compiled sooner.
FEW = 256


def scan(
    body: Body,
    carry: tuple[Tensor, ...],
    rows: Sequence[Tensor],
    length: int,
    remat: bool = False,
) -> tuple[Tensor, ...]:
    """See `keras_convinit.backend`."""
    if length <= FEW and not remat:
        return _loop(body, carry, rows, length)
    # What comes back from reading one row is a list as long as there are rows, and to
    # add up so many of them takes the longer the more there are. In a loop over
    # segments of rows, lists are as long as a segment. Segments are also what `remat`
    # keeps.
    segment = math.isqrt(length - 1) + 1
    count = -(-length // segment)
    segments = [_segments(row, count, segment) for row in rows]

    def run(
        start: Tensor, carried: tuple[Tensor, ...], rows: list[Tensor]
    ) -> tuple[Tensor, ...]:
        return _loop(body, carried, rows, segment, tf.minimum(segment, length - start))

    def step(carried: tuple[Tensor, ...], rows: list[Tensor]) -> tuple[Tensor, ...]:
        start, *rest = carried
        if not remat:
            return start + segment, *run(start, tuple(rest), rows)

        def recomputed(*values: Tensor) -> tuple[Tensor, ...]:
            return run(start, values[: len(rest)], list(values[len(rest) :]))

        return start + segment, *tf.recompute_grad(recomputed)(*rest, *rows)

    return _loop(step, (tf.constant(0), *carry), segments, count)[1:]


def _segments(row: Tensor, count: int, segment: int) -> Tensor:
    row = tf.convert_to_tensor(row)
    surplus = count * segment - row.shape[0]
    if surplus:
        row = tf.pad(row, [(0, surplus)] + [(0, 0)] * (len(row.shape) - 1))
    return tf.reshape(row, (count, segment, *row.shape[1:]))


def _loop(
    body: Body,
    carry: tuple[Tensor, ...],
    rows: Sequence[Tensor],
    bound: int,
    length: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Runs a loop that XLA can compile and differentiate, as `bound` is static."""
    # Of the ways to read a row this is the one whose gradient is a row and not an array
    # full of zeros.
    arrays = []
    for row in rows:
        row = tf.convert_to_tensor(row)
        array = tf.TensorArray(row.dtype, size=bound, element_shape=row.shape[1:])
        arrays.append(array.unstack(row))

    def step(index: Tensor, *carried: Tensor) -> tuple[Tensor, ...]:
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


def compile_function(
    function: Callable[..., Any],
    variables: Callable[[], Sequence[Variable]],
    lazily: bool = False,
) -> Callable[..., Any]:
    """See `keras_convinit.backend`."""

    # The variables are read inside: hundreds of arguments take longer than a network.
    def read_and_run(*arguments: Any) -> Any:
        with _below_the_root():
            return function([tf.convert_to_tensor(v) for v in variables()], *arguments)

    program = tf.function(read_and_run, autograph=False)
    calls = itertools.count(0 if lazily else 1)

    def run(*arguments: Any) -> Any:
        return (program if next(calls) else read_and_run)(*arguments)

    return run


def value_and_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """See `keras_convinit.backend`."""

    def compute(points: list[Tensor], *arguments: Any) -> Any:
        # Not the tensors themselves: the function may use them elsewhere, too.
        points = [tf.identity(point) for point in points]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(points)
            value, rest = function(points, *arguments)
        return value, rest, tape.gradient(value, points, unconnected_gradients="zero")

    return compute


def hessian_vector_product(function: Callable[..., Any]) -> Callable[..., Any]:
    """See `keras_convinit.backend`."""

    # Twice backwards: forward mode does not pass the loop of a stack.
    def product(points: list[Tensor], directions: list[Tensor], *arguments: Any) -> Any:
        def slope(points: list[Tensor]) -> Any:
            value, _, gradients = value_and_gradient(
                lambda p: (function(p, *arguments), None)
            )(points)
            pairs = zip(gradients, directions, strict=True)
            return _sum([tf.reduce_sum(g * d) for g, d in pairs]), value

        _, value, products = value_and_gradient(slope)(points)
        return value, products

    return product


def _sum(terms: list[Tensor]) -> Tensor:
    """Adds up scalars in float32, or in float64 if one is."""
    wide = any(term.dtype == tf.float64 for term in terms)
    return tf.add_n([tf.cast(term, "float64" if wide else "float32") for term in terms])


def curvature_gradient(
    function: Callable[..., Any], statistic: Callable[..., Any]
) -> Callable[..., Any]:
    """See `keras_convinit.backend`."""

    # By the graph, since tapes do not know of `gradient_override_map`.
    def run(points: list[Tensor], *arguments: Any) -> Any:
        points = [tf.identity(point) for point in points]
        with points[0].graph.gradient_override_map({"BiasAdd": _PLAIN_BIAS}):
            value = function(points, *arguments)
        slopes = _differentiate(value, points)
        found = statistic(slopes, _differentiate(slopes, points, slopes))
        return value, found, _differentiate(found, points)

    return run


def _differentiate(
    values: Tensor, points: list[Tensor], upstream: Tensor | None = None
) -> list[Tensor]:
    return tf.gradients(values, points, upstream, unconnected_gradients="zero")


# On x86, oneDNN rewrites graphs so that the gradients of a kernel and of a bias are
# computed at once. In third derivatives they need each other.
_PLAIN_BIAS = "KerasConvinitPlainBiasAdd"


@tf.RegisterGradient(_PLAIN_BIAS)
def _gradient_of_bias_add(operation: Any, upstream: Tensor) -> Any:
    axes = list(range(len(upstream.shape)))
    channels_first = operation.get_attr("data_format") == b"NCHW"
    del axes[1 if channels_first else -1]
    return upstream, tf.reduce_sum(upstream, axes)


def norm(x: Tensor, wide: bool = True) -> Tensor:
    """See `keras_convinit.backend`."""
    wider = tf.cast(x, "float64" if wide else "float32")
    return tf.cast(tf.sqrt(2 * tf.nn.l2_loss(wider)), "float32")


def gradient_probe(x: Tensor, probe: Tensor, statistic: TensorFunction) -> Tensor:
    """See `keras_convinit.backend`."""

    @tf.custom_gradient
    def identity(x: Tensor, _: Tensor) -> Any:
        def gradients(upstream: Tensor) -> Any:
            return upstream, statistic(tf.convert_to_tensor(upstream))

        return tf.identity(x), gradients

    return identity(x, probe)


def abstract_trace(function: Callable[..., Any], *arguments: Any) -> None:
    """See `keras_convinit.backend`."""
    function(*arguments)


def get_accelerator() -> str | None:
    """See `keras_convinit.backend`."""
    _, _, device = keras.ops.ones(()).device.rpartition("device:")
    kind, _, number = device.partition(":")
    if kind == "CPU":
        return None
    physical = tf.config.list_physical_devices(kind)[int(number)]
    return tf.config.experimental.get_device_details(physical).get("device_name", kind)


def remember_values(
    layer: KerasLayer, parts: Sequence[KerasLayer]
) -> contextlib.AbstractContextManager[None]:
    """See `keras_convinit.backend`."""
    # What is computed again is a part of a program, which has its values.
    return contextlib.nullcontext()


@contextlib.contextmanager
def preserve_state(_: KerasModel) -> Iterator[None]:
    """See `keras_convinit.backend`."""
    generator = _get_generator()
    state = None if generator is None else generator.state.numpy()
    try:
        yield
    finally:
        if generator is not None:
            generator.state.assign(state)


def seed_generators(seed: int) -> None:
    """See `keras_convinit.backend`."""
    generator = _get_generator()
    if generator is not None:
        generator.reset_from_seed(seed)


def _get_generator() -> Any:
    """Returns the global generator; None where there is none, or one per replica."""
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        return None
    try:
        return tf.random.get_global_generator()
    except RuntimeError:
        # Operations must be deterministic, and nobody has set one.
        return None
