"""Closed forms of Keras' activations and their derivatives, in float64.

The backend could differentiate them on TensorFlow and PyTorch; JAX compiles half a
second for each, and some round to float32 there.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

Function = Callable[[np.ndarray], np.ndarray]

_erf = np.vectorize(math.erf, otypes=[float])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -x))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, x)


def _normal_cdf(x: np.ndarray) -> np.ndarray:
    return (1 + _erf(x / math.sqrt(2))) / 2


def _normal_density(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.square(x) / 2) / math.sqrt(2 * math.pi)


def _elu(alpha: float, scale: float = 1.0) -> tuple[Function, Function]:
    return (
        lambda x: scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
        lambda x: scale * np.where(x > 0, 1, alpha * np.exp(np.minimum(x, 0))),
    )


def leaky_relu(slope: float) -> tuple[Function, Function]:
    """Returns ReLU with a slope below zero, and its derivative."""
    return (
        lambda x: np.where(x > 0, x, slope * x),
        lambda x: np.where(x > 0, 1.0, slope),
    )


def _relu(
    slope: float, threshold: float, maximum: float | None
) -> tuple[Function, Function]:
    top = math.inf if maximum is None else maximum
    return (
        lambda x: np.where(x >= threshold, np.minimum(x, top), slope * (x - threshold)),
        lambda x: np.where(x >= threshold, np.where(x < top, 1.0, 0.0), slope),
    )


# Name in `keras.activations` -> the function and its derivative.
CLOSED_FORMS: dict[str, tuple[Function, Function]] = {
    "linear": (lambda x: x, np.ones_like),
    "relu": leaky_relu(0.0),
    "leaky_relu": leaky_relu(0.2),
    "relu6": (
        lambda x: np.clip(x, 0, 6),
        lambda x: np.where((x > 0) & (x < 6), 1.0, 0.0),
    ),
    "elu": _elu(1.0),
    "celu": _elu(1.0),
    "selu": _elu(1.6732632423543772, 1.0507009873554805),
    "exponential": (np.exp, np.exp),
    "tanh": (np.tanh, lambda x: 1 - np.square(np.tanh(x))),
    "tanh_shrink": (lambda x: x - np.tanh(x), lambda x: np.square(np.tanh(x))),
    "hard_tanh": (
        lambda x: np.clip(x, -1, 1),
        lambda x: np.where(np.abs(x) < 1, 1.0, 0.0),
    ),
    "sigmoid": (_sigmoid, lambda x: _sigmoid(x) * _sigmoid(-x)),
    "log_sigmoid": (lambda x: -_softplus(-x), lambda x: _sigmoid(-x)),
    "hard_sigmoid": (
        lambda x: np.clip(x / 6 + 0.5, 0, 1),
        lambda x: np.where(np.abs(x) < 3, 1 / 6, 0.0),
    ),
    "sparse_sigmoid": (
        lambda x: np.clip((x + 1) / 2, 0, 1),
        lambda x: np.where(np.abs(x) < 1, 0.5, 0.0),
    ),
    "softplus": (_softplus, _sigmoid),
    "sparse_plus": (
        lambda x: np.where(x < 1, np.square(np.maximum(x + 1, 0)) / 4, x),
        lambda x: np.clip((x + 1) / 2, 0, 1),
    ),
    "squareplus": (
        lambda x: (x + np.sqrt(np.square(x) + 4)) / 2,
        lambda x: (1 + x / np.sqrt(np.square(x) + 4)) / 2,
    ),
    "softsign": (
        lambda x: x / (1 + np.abs(x)),
        lambda x: 1 / np.square(1 + np.abs(x)),
    ),
    "silu": (
        lambda x: x * _sigmoid(x),
        lambda x: _sigmoid(x) * (1 + x * _sigmoid(-x)),
    ),
    "hard_silu": (
        lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
        lambda x: np.where(np.abs(x) < 3, x / 3 + 0.5, np.where(x > 0, 1.0, 0.0)),
    ),
    "gelu": (
        lambda x: x * _normal_cdf(x),
        lambda x: _normal_cdf(x) + x * _normal_density(x),
    ),
    "mish": (
        lambda x: x * np.tanh(_softplus(x)),
        lambda x: (
            np.tanh(_softplus(x))
            + x * _sigmoid(x) * (1 - np.square(np.tanh(_softplus(x))))
        ),
    ),
    "hard_shrink": (
        lambda x: np.where(np.abs(x) > 0.5, x, 0.0),
        lambda x: np.where(np.abs(x) > 0.5, 1.0, 0.0),
    ),
    "soft_shrink": (
        lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
        lambda x: np.where(np.abs(x) > 0.5, 1.0, 0.0),
    ),
}

# Activation layer -> the same, with the arguments of the layer.
CLOSED_FORMS_OF_LAYERS: dict[type, Callable[[Any], tuple[Function, Function]]] = {
    keras.layers.LeakyReLU: lambda layer: leaky_relu(float(layer.negative_slope)),
    keras.layers.ELU: lambda layer: _elu(float(layer.alpha)),
    keras.layers.ReLU: lambda layer: _relu(
        float(layer.negative_slope), float(layer.threshold), layer.max_value
    ),
}
