"""The only place that names TensorFlow, JAX or PyTorch: one file for each.

What is documented here holds for all of them. The file of the backend that Keras runs
on is imported when one of these functions is called for the first time.
"""

import contextlib
import importlib
import random
import weakref
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_convinit._types import KerasLayer, KerasModel, Tensor, Variable

SUPPORTED = ("tensorflow", "jax", "torch")

Function = Callable[[Tensor], Tensor]
Derivative = Callable[[np.ndarray], np.ndarray | None]
Body = Callable[[tuple[Tensor, ...], list[Tensor]], tuple[Tensor, ...]]


def _load_backend() -> Any:
    backend = keras.backend.backend()
    if backend not in SUPPORTED:
        raise NotImplementedError(
            f"This needs automatic differentiation, from one of {', '.join(SUPPORTED)}."
            f" Received: keras.backend.backend()={backend!r}"
        )
    return importlib.import_module(f"{__name__}.{backend}")


def evaluate(function: Function, points: np.ndarray) -> np.ndarray:
    """Evaluates a function at once, also while a program is traced.

    Args:
        function: Function from a tensor to a tensor.
        points: Array, in float64 or float32.

    Returns:
        The values as an array.
    """
    with _Aside():
        return _load_backend().evaluate(function, points)


class _Aside(keras.StatelessScope):
    """A scope that drops what happens in it, such as the steps of random generators.

    Variables have the values that they have around it.
    """

    def get_current_value(self, variable: Variable) -> Any:
        value = super().get_current_value(variable)
        if value is None and self.original_scope is not None:
            return self.original_scope.get_current_value(variable)
        return value


def differentiate(function: Function) -> Derivative:
    """Returns the derivative of an elementwise function, evaluated like `evaluate`.

    Args:
        function: Elementwise function from a tensor to a tensor.

    Returns:
        A function from an array to an array; to None if the backend cannot
        differentiate `function`.
    """
    return _load_backend().differentiate(function)


def to_numpy(variable: Variable) -> np.ndarray:
    """Returns the value of a variable, also while a program is traced."""
    return _load_backend().to_numpy(variable)


def map_rows(function: Function, rows: Sequence[Tensor]) -> list[np.ndarray]:
    """Applies a pure function to each row of some arrays, and stacks the results.

    Args:
        function: Function from a tuple of tensors to a sequence of tensors.
        rows: Arrays with the same number of rows.

    Returns:
        An array for each result.
    """
    return _load_backend().map_rows(function, rows)


def scan(
    body: Body,
    carry: tuple[Tensor, ...],
    rows: Sequence[Tensor],
    length: int,
    remat: bool = False,
) -> tuple[Tensor, ...]:
    """Scans over the leading axis of some arrays.

    Args:
        body: `body(carry, rows) -> carry`, where the rows are a list of tensors.
        carry: The first carry.
        rows: Arrays with `length` rows.
        length: Number of steps.
        remat: Whether to recompute on the way back what a step has computed, instead
            of keeping it.

    Returns:
        The final carry.
    """
    return _load_backend().scan(body, carry, rows, length, remat)


def compile_function(
    function: Callable[..., Any],
    variables: Callable[[], Sequence[Variable]],
    lazily: bool = False,
) -> Callable[..., Any]:
    """Compiles a function of the values of variables, for each kind of arguments.

    Args:
        function: `function(values, *arguments)`, from nests of tensors to nests of
            tensors, without side effects.
        variables: Function that returns the variables of Keras; always the same.
        lazily: Whether the first call of all runs as it is. What runs once is done
            long before it would be compiled.

    Returns:
        A function of the other arguments.
    """
    return _load_backend().compile_function(function, variables, lazily)


_PROGRAMS: weakref.WeakKeyDictionary[KerasModel, dict[str, dict[Any, Any]]]
_PROGRAMS = weakref.WeakKeyDictionary()

# Of one model and kind; more would come from losses that are new objects every time.
CACHE_SIZE = 4


def cached_by_model(
    model: KerasModel,
    kind: str,
    identity: tuple[Hashable, ...],
    make: Callable[[], Any],
) -> Any:
    """Returns what was made for a model before, or makes it.

    It is kept as long as the model lives, or until `CACHE_SIZE` others of its kind were
    made after it.

    Args:
        model: The model.
        kind: Name of what the program does.
        identity: Objects that it depends on; equal ones mean the same program.
        make: Function that makes it. The result must not hold the model.

    Returns:
        The program.
    """
    programs = _PROGRAMS.setdefault(model, {}).setdefault(kind, {})
    # The policy of precision is read when a program is traced.
    key = (keras.config.floatx(), *identity)
    if key not in programs:
        if len(programs) == CACHE_SIZE:
            del programs[next(iter(programs))]
        programs[key] = make()
    return programs[key]


def value_and_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that computes value, by-products and gradient of another.

    Args:
        function: `function(points, *arguments) -> (value, rest)`, where the points are
            a list of tensors and the value is a scalar.

    Returns:
        A function of the same arguments to `(value, rest, gradients)`, a gradient for
        each of the points; zero where the value does not depend on a point.
    """
    return _load_backend().value_and_gradient(function)


def hessian_vector_product(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that computes value and Hessian-vector product of another.

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
    """Returns a function that differentiates a statistic of gradient and curvature.

    Args:
        function: `function(points, *arguments) -> value`, where the points are a list
            of tensors and the value is a scalar.
        statistic: `statistic(gradients, products) -> value`, a scalar of the gradients
            g and of the Hessian times g, both lists like the points.

    Returns:
        A function of the same arguments to `(value of the function, statistic,
        gradient of the statistic)`, which takes third derivatives of the function. For
        use in `compile_function`.
    """
    return _load_backend().curvature_gradient(function, statistic)


def norm(x: Tensor, wide: bool = True) -> Tensor:
    """Computes the root of the sum of squares, in float32.

    Args:
        x: A tensor.
        wide: Whether its squares may be too large, or too small, for float32.

    Returns:
        A scalar.
    """
    return _load_backend().norm(x, wide)


def gradient_probe(
    x: Tensor, probe: Tensor, statistic: Callable[[Tensor], Tensor]
) -> Tensor:
    """Returns a tensor as it is, with a probe of its gradient.

    Args:
        x: A tensor.
        probe: Tensor without effect on the result: the gradient with respect to it is
            `statistic(g)`, where g is the gradient with respect to `x`.
        statistic: Function from a tensor like `x` to one like the probe.

    Returns:
        A tensor equal to `x`.
    """
    return _load_backend().gradient_probe(x, probe, statistic)


def abstract_trace(function: Callable[..., Any], *arguments: Any) -> None:
    """Runs a function for its Python side effects, with as few numbers as possible.

    On JAX it is `jax.eval_shape`; elsewhere it runs without gradients.

    Args:
        function: Function from nests of tensors to nests of tensors.
        *arguments: Its arguments.
    """
    return _load_backend().abstract_trace(function, *arguments)


def get_accelerator() -> str | None:
    """Returns the name of the device that computes; None if that is a CPU."""
    return _load_backend().get_accelerator()


def remember_values(
    layer: KerasLayer, parts: Sequence[KerasLayer]
) -> contextlib.AbstractContextManager[None]:
    """Makes a layer compute with the same values when it is rematerialized.

    Layers that were made inside a `keras.RematScope` are computed again on the way
    back, when a scope without state has been left. PyTorch then runs their Python code.

    Args:
        layer: A layer that is about to be called in a scope without state.
        parts: The layers that it holds, at any depth, itself among them.
    """
    return _load_backend().remember_values(layer, parts)


@contextlib.contextmanager
def preserve_state(model: KerasModel) -> Iterator[None]:
    """Restores on exit what is not the values of a model's variables.

    That is the state of the generators of random numbers that belong to nobody: of
    Python, numpy and the framework. With PyTorch it is also whether the modules of the
    model are in training mode, and their buffers.

    Args:
        model: The model that is run.
    """
    of_python, of_numpy = random.getstate(), np.random.get_state()
    with _load_backend().preserve_state(model):
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)


def seed_generators(seed: int) -> None:
    """Seeds the generators of random numbers of Python, numpy and the framework."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    _load_backend().seed_generators(seed)
