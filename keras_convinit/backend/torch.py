"""What we need of PyTorch and Keras does not offer."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import torch
import torch.utils.checkpoint

Function = Callable[[Any], Any]
Derivative = Callable[[np.ndarray], np.ndarray | None]


def evaluate(function: Function, points: np.ndarray) -> np.ndarray:
    """The function at the points."""
    with torch.no_grad(), keras.device("cpu"):
        return _to_array(function(torch.tensor(points)))


def derivative_of(function: Function) -> Derivative:
    """The derivative of an elementwise function; it gives None where there is none."""

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


def to_numpy(variable: Any) -> np.ndarray:
    """The value of a variable."""
    return np.asarray(keras.ops.convert_to_numpy(variable))


def map_rows(function: Function, rows: Sequence[Any]) -> list[np.ndarray]:
    """What a pure function gives for each row of some arrays, stacked."""
    with torch.no_grad(), keras.device("cpu"):
        values = [function(row) for row in zip(*map(torch.tensor, rows), strict=True)]
    rows = [[keras.ops.convert_to_numpy(value) for value in row] for row in values]
    return [np.stack(each) for each in zip(*rows, strict=True)]


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

    def run(carried: tuple[Any, ...], count: int, *rows: Any) -> tuple[Any, ...]:
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


def _to_array(value: Any) -> np.ndarray:
    return (
        value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    )
