"""PyTorch implementations of the backend functions that Keras lacks."""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import torch
import torch.utils.checkpoint

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
    with torch.no_grad(), keras.device("cpu"):
        return _to_array(function(torch.tensor(points)))


def differentiate(function: Function) -> Derivative:
    """See `keras_convinit.backend`."""

    def derivative(points: np.ndarray) -> np.ndarray | None:
        with torch.enable_grad(), keras.device("cpu"):
            x = torch.tensor(points).requires_grad_()
            try:
                y = function(x)
            except RuntimeError as error:
                if "requires grad" in str(error):
                    # numpy was asked to read a tensor that records.
                    return None
                raise
            if not isinstance(y, torch.Tensor) or not y.requires_grad:
                return None
            (slope,) = torch.autograd.grad(y.sum(), x)
            return _to_array(slope)

    return derivative


def to_numpy(variable: Variable) -> np.ndarray:
    """See `keras_convinit.backend`."""
    return np.asarray(keras.ops.convert_to_numpy(variable))


def map_rows(function: Function, rows: Sequence[Tensor]) -> list[np.ndarray]:
    """See `keras_convinit.backend`."""
    with torch.no_grad(), keras.device("cpu"):
        values = [function(row) for row in zip(*map(torch.tensor, rows), strict=True)]
    rows = [[keras.ops.convert_to_numpy(value) for value in row] for row in values]
    return [np.stack(each) for each in zip(*rows, strict=True)]


def scan(
    body: Body,
    carry: tuple[Tensor, ...],
    rows: Sequence[Tensor],
    length: int,
    remat: bool = False,
) -> tuple[Tensor, ...]:
    """See `keras_convinit.backend`."""

    def run(
        carried: tuple[Tensor, ...], count: int, *rows: Tensor
    ) -> tuple[Tensor, ...]:
        # The gradient of indexing is as large as the array; that of `unbind` is not.
        unbound = [torch.unbind(row) for row in rows]
        for index in range(count):
            carried = body(carried, [row[index] for row in unbound])
        return carried

    rows = [keras.ops.convert_to_tensor(row) for row in rows]
    if not remat:
        return run(carry, length, *rows)
    # What is carried is kept once a segment, and within the one segment that is being
    # recomputed: the root of the length twice, instead of the length.
    segment = math.isqrt(length - 1) + 1
    for start in range(0, length, segment):
        carry = torch.utils.checkpoint.checkpoint(
            run,
            carry,
            min(segment, length - start),
            *(row[start : start + segment] for row in rows),
            use_reentrant=False,
        )
    return carry


def _to_array(value: Tensor) -> np.ndarray:
    return (
        value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    )


def compile_function(
    function: Callable[..., Any],
    variables: Callable[[], Sequence[Variable]],
    lazily: bool = False,
) -> Callable[..., Any]:
    """See `keras_convinit.backend`."""

    def run(*arguments: Any) -> Any:
        values = [keras.ops.convert_to_tensor(variable) for variable in variables()]
        outputs = function(values, *arguments)
        # Nothing of the graph is kept with what comes out.
        return keras.tree.map_structure(lambda output: output.detach(), outputs)

    return run


def value_and_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """See `keras_convinit.backend`."""

    def compute(points: list[Tensor], *arguments: Any) -> Any:
        with torch.enable_grad():
            points = [point.detach().requires_grad_() for point in points]
            value, rest = function(points, *arguments)
            return value, rest, _differentiate(value, points)

    return compute


def hessian_vector_product(function: Callable[..., Any]) -> Callable[..., Any]:
    """See `keras_convinit.backend`."""

    def product(points: list[Tensor], directions: list[Tensor], *arguments: Any) -> Any:
        def slope(points: list[Tensor]) -> Any:
            value = function(points, *arguments)
            gradients = _differentiate(value, points, create_graph=True)
            pairs = zip(gradients, directions, strict=True)
            return sum((g * d).sum() for g, d in pairs), value

        _, value, products = value_and_gradient(slope)(points)
        return value, products

    return product


def curvature_gradient(
    function: Callable[..., Any], statistic: Callable[..., Any]
) -> Callable[..., Any]:
    """See `keras_convinit.backend`."""

    def both(points: list[Tensor], *arguments: Any) -> Any:
        value = function(points, *arguments)
        slopes = _differentiate(value, points, create_graph=True)
        half = sum((slope * slope).sum() for slope in slopes) / 2
        return statistic(slopes, _differentiate(half, points, create_graph=True)), value

    def run(points: list[Tensor], *arguments: Any) -> Any:
        found, value, slopes = value_and_gradient(both)(points, *arguments)
        return value, found, slopes

    return run


def _differentiate(
    value: Tensor, points: list[Tensor], create_graph: bool = False
) -> list[Tensor]:
    if not value.requires_grad:
        return [torch.zeros_like(point) for point in points]
    return torch.autograd.grad(
        value, points, create_graph=create_graph, materialize_grads=True
    )


def norm(x: Tensor, wide: bool = True) -> Tensor:
    """See `keras_convinit.backend`."""
    # It narrows nothing by itself.
    dtype = torch.float64 if wide or x.dtype == torch.float64 else torch.float32
    return torch.linalg.vector_norm(x, dtype=dtype).to(torch.float32)


def gradient_probe(x: Tensor, probe: Tensor, statistic: TensorFunction) -> Tensor:
    """See `keras_convinit.backend`."""
    return _GradientProbe.apply(x, probe, statistic)


class _GradientProbe(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, probe: Tensor, statistic: TensorFunction) -> Any:
        ctx.statistic = statistic
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        return upstream[0], ctx.statistic(upstream[0]), None


def abstract_trace(function: Callable[..., Any], *arguments: Any) -> None:
    """See `keras_convinit.backend`."""
    with torch.no_grad():
        function(*arguments)


def get_accelerator() -> str | None:
    """See `keras_convinit.backend`."""
    device = keras.ops.ones(()).device
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return None if device.type == "cpu" else device.type


@contextlib.contextmanager
def remember_values(layer: KerasLayer, parts: Sequence[KerasLayer]) -> Iterator[None]:
    """See `keras_convinit.backend`."""
    # A stack or a wrapper of ours sees to it itself.
    parts = [part for part in parts if "rematerialized_call" not in vars(part)]
    values = [(variable, variable.value) for variable in layer.variables]
    running = True

    def remembering(part: Any) -> Callable[..., Any]:
        decide = part.rematerialized_call

        def rematerialized_call(call: Any, *args: Any, **kwargs: Any) -> Any:
            @functools.wraps(call)
            def again(*args: Any, **kwargs: Any) -> Any:
                if running:
                    return call(*args, **kwargs)
                scope = keras.StatelessScope(values, initialize_variables=False)
                # What is inside may have to be computed again in its turn.
                with scope, remember_values(layer, parts):
                    return call(*args, **kwargs)

            decided = decide(again, *args, **kwargs)
            return call if decided is again else decided

        return rematerialized_call

    # Not through Keras, which would look at what is set.
    for part in parts:
        object.__setattr__(part, "rematerialized_call", remembering(part))
    try:
        yield
    finally:
        running = False
        for part in parts:
            object.__delattr__(part, "rematerialized_call")


@contextlib.contextmanager
def preserve_state(model: KerasModel) -> Iterator[None]:
    """See `keras_convinit.backend`."""
    devices = list(_devices_with_generators())
    states = [device.get_rng_state() for device in devices]
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        for device, state in zip(devices, states, strict=True):
            device.set_rng_state(state)
        torch.cuda.set_rng_state_all(cuda)
        for module, mode in modes:
            module.training = mode
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


def _devices_with_generators() -> Iterator[Any]:
    yield torch
    if torch.backends.mps.is_available():
        yield torch.mps
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        yield torch.xpu


def seed_generators(seed: int) -> None:
    """See `keras_convinit.backend`."""
    torch.manual_seed(seed)
