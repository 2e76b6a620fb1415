"""The only place that names TensorFlow, JAX or PyTorch: one file for each.

What is said here holds for all of them. The file of the backend that Keras runs on is
imported when one of these functions is called for the first time.
"""

import contextlib
import importlib
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

SUPPORTED = ("tensorflow", "jax", "torch")

Function = Callable[[Any], Any]
Derivative = Callable[[np.ndarray], np.ndarray | None]
Body = Callable[[tuple[Any, ...], list[Any]], tuple[Any, ...]]


def _load_backend() -> Any:
    backend = keras.backend.backend()
    if backend not in SUPPORTED:
        raise NotImplementedError(
            f"This needs automatic differentiation, from one of {', '.join(SUPPORTED)}."
            f" Received: keras.backend.backend()={backend!r}"
        )
    return importlib.import_module(f"{__name__}.{backend}")


def evaluate(function: Function, points: np.ndarray) -> np.ndarray:
    """The function at the points, computed now, also while a program is traced."""
    return _load_backend().evaluate(function, points)


def differentiate(function: Function) -> Derivative:
    """The derivative of an elementwise function, computed at once like `evaluate`.

    It gives None where the framework cannot derive the function.
    """
    return _load_backend().differentiate(function)


def to_numpy(variable: Any) -> np.ndarray:
    """The value of a variable, also while a program is traced."""
    return _load_backend().to_numpy(variable)


def map_rows(function: Function, rows: Sequence[Any]) -> list[np.ndarray]:
    """What a pure function gives for each row of some arrays, stacked."""
    return _load_backend().map_rows(function, rows)


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
    return _load_backend().scan(body, carry, rows, length, remat)


def compile_function(
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
    return _load_backend().compile_function(function, variables, lazily)


def value_and_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that gives value, by-products and gradient of another one.

    Args:
        function: `function(points, *arguments) -> (value, rest)`, where the points are
            a list of tensors and the value is a scalar.

    Returns:
        A function of the same arguments to `(value, rest, gradients)`, a gradient for
        each of the points; zero where the value does not depend on a point.
    """
    return _load_backend().value_and_gradient(function)


def hessian_vector_product(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that gives value and Hessian-vector product of another one.

    Args:
        function: `function(points, *arguments) -> value`, where the points are a list
            of tensors and the value is a scalar.

    Returns:
        A function `(points, directions, *arguments) -> (value, products)`, a product
        for each of the points.
    """
    return _load_backend().hessian_vector_product(function)


def curvature_gradient(
    function: Callable[..., Any], statistic: Callable[..., Any]
) -> Callable[..., Any]:
    """A function that gives a statistic of gradient and curvature, and its gradient.

    Args:
        function: `function(points, *arguments) -> value`, where the points are a list
            of tensors and the value is a scalar.
        statistic: `statistic(gradients, products) -> value`, a scalar of the gradients
            g and of the Hessian times g, both lists like the points.

    Returns:
        A function of the same arguments to `(value of the function, statistic,
        gradient of the statistic)`, which takes third derivatives of the function. For
        use in `compiled`.
    """
    return _load_backend().curvature_gradient(function, statistic)


def norm(x: Any, wide: bool = True) -> Any:
    """The root of the sum of squares, in float32.

    Args:
        x: A tensor.
        wide: Whether its squares may be too large, or too small, for float32.

    Returns:
        A scalar.
    """
    return _load_backend().norm(x, wide)


def gradient_probe(x: Any, handle: Any, statistic: Callable[[Any], Any]) -> Any:
    """The tensor itself, with a handle for what is known of its gradient.

    Args:
        x: A tensor.
        handle: Another one, which does nothing: its gradient is `statistic(g)`, where g
            is the gradient of what is derived with respect to `x`.
        statistic: From a tensor like `x` to one like the handle.

    Returns:
        A tensor equal to `x`.
    """
    return _load_backend().gradient_probe(x, handle, statistic)


def abstract_trace(function: Callable[..., Any], *arguments: Any) -> None:
    """Runs a function for what its Python code notes down, computing no more than must.

    Args:
        function: From nests of tensors to nests of tensors, without other effects.
        *arguments: The arguments.
    """
    return _load_backend().abstract_trace(function, *arguments)


def get_accelerator() -> str | None:
    """The name of the device that computes, or None if that is a processor."""
    return _load_backend().get_accelerator()


def remember_values(
    layer: keras.layers.Layer, parts: Sequence[Any]
) -> contextlib.AbstractContextManager[None]:
    """While it lasts, what a layer computes is computed again with the same values.

    Inside a `keras.RematScope` layers are made that are computed again on the way back,
    when a scope without state has been left. PyTorch then runs their Python code.

    Args:
        layer: A layer that is about to be called in a scope without state.
        parts: The layers that it holds, at any depth, itself among them.
    """
    return _load_backend().remember_values(layer, parts)


@contextlib.contextmanager
def preserve_state(model: keras.Model) -> Iterator[None]:
    """Leaves what is not the values of a model's variables as it was before.

    That is the state of the generators of random numbers that belong to nobody: of
    Python, numpy and the framework. With PyTorch it is also whether the modules of the
    model are in training mode, and their buffers.
    """
    of_python, of_numpy = random.getstate(), np.random.get_state()
    with _load_backend().preserve_state(model):
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)


def seed_generators(seed: int) -> None:
    """Has those generators begin at a seed."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    _load_backend().seed_generators(seed)
