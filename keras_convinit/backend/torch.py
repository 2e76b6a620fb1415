"""What we need of PyTorch and Keras does not offer."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import torch

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


def _to_array(value: Any) -> np.ndarray:
    return (
        value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    )
