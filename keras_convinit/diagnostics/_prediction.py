"""What the theory says of a layer, from its inputs and its weights.

By the same functions as the initializers: `Geometry.fans`, `forward_scale` and
`backward_scale`. Edges of images, where windows reach over the border, are ignored as
in the papers.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_convinit.diagnostics import _weights
from keras_convinit.diagnostics._walk import Step
from keras_convinit.graph import ScaledSum, canonical_activation, fused_activation
from keras_convinit.kernels import Kernel
from keras_convinit.scales import backward_scale, forward_scale


@dataclasses.dataclass(frozen=True)
class Signal:
    """What is known of a tensor.

    Args:
        norm: The norm of a position.
        varying: The share of its square that is no mean of a channel.
        channels: Its channels.
        positions: Its positions.
    """

    norm: float
    varying: float
    channels: int
    positions: int


@dataclasses.dataclass(frozen=True)
class Passage:
    """What becomes of signals in a layer.

    Args:
        forward: The norm of a position of the output.
        backward: For each input the norm of the error signal there, for one of norm 1
            at the output; None where it is not predicted.
    """

    forward: float | None
    backward: Sequence[float | None]


Rule = Callable[[Step, Sequence[Signal], np.ndarray], Passage | None]


def passage(step: Step, inputs: Sequence[Signal], weights: np.ndarray) -> Passage:
    """What the theory says of a step.

    Args:
        step: The step.
        inputs: What enters it.
        weights: The norms of its weights.

    Returns:
        The passage, with None for what the theory does not know.
    """
    nothing = Passage(None, [None] * len(inputs))
    if not inputs or not all(0 < signal.norm < math.inf for signal in inputs):
        return nothing
    rule = _rule(step.layer)
    return (rule and rule(step, inputs, weights)) or nothing


def _rule(layer: Any) -> Rule | None:
    for classes, rule in _RULES:
        if isinstance(layer, classes):
            return rule
    # Operations that were written as functions have classes without a public name.
    named = _BY_NAME.get(type(layer).__name__)
    if named is not None:
        return named
    if is_activation(layer):
        return _activation
    return _linear if 0 < len(_weights.kernels(layer)) < 3 else None


def is_activation(layer: Any) -> bool:
    """Whether a layer is nothing but an activation."""
    return isinstance(layer, ACTIVATIONS) or canonical_activation(layer) is not layer


def is_normalization(layer: Any) -> bool:
    """Whether the size of what a layer gives does not depend on that of its input."""
    return isinstance(layer, NORMALIZATIONS)


def is_sum(layer: Any) -> bool:
    """Whether a layer adds up."""
    return isinstance(layer, ScaledSum) or type(layer).__name__ in ("Add", "Average")


def _linear(
    step: Step, inputs: Sequence[Signal], weights: np.ndarray
) -> Passage | None:
    kernels = _weights.kernels(step.layer)
    separable = keras.layers.SeparableConv1D, keras.layers.SeparableConv2D
    if len(inputs) > 1 or (len(kernels) == 2 and not isinstance(step.layer, separable)):
        return None
    square, backward = inputs[0].norm ** 2, 1.0
    norms = weights[[_weights.FIRST, _weights.SECOND][: len(kernels)]]
    for kernel, norm in zip(kernels, norms, strict=True):
        forward, back = _gains(kernel, norm)
        square, backward = square * forward, backward * back
    square += weights[_weights.BIAS] ** 2
    activation = fused_activation(step.layer)
    if activation is None:
        return Passage(math.sqrt(square), [math.sqrt(backward)])
    return _through(activation, square, backward, step.channels)


def _gains(kernel: Kernel, norm: float) -> tuple[float, float]:
    """What a kernel multiplies the squares of a signal and an error signal by."""
    mean_square = norm**2 * kernel.copies / math.prod(kernel.variable.shape)
    geometry = kernel.geometry
    _, fan_out = geometry.fans()
    # Of an error signal all positions are counted.
    fan_in, _ = geometry.fans(stride_aware=True)
    if geometry.transposed:
        fan_out /= geometry.stride
    return fan_out * mean_square, fan_in * mean_square


def _through(
    activation: Any, square: float, backward: float, channels: int
) -> Passage | None:
    variance = square / channels
    try:
        forward = channels * variance / forward_scale(activation, variance)
        backward = backward / backward_scale(activation, variance)
    except ValueError:
        return None
    return Passage(math.sqrt(forward), [math.sqrt(backward)])


def _activation(
    step: Step, inputs: Sequence[Signal], weights: np.ndarray
) -> Passage | None:
    activation = canonical_activation(step.layer)
    square = inputs[0].norm ** 2
    if activation is None:
        return Passage(math.sqrt(square), [1.0])
    return _through(activation, square, 1.0, step.channels)


def _dropout(step: Step, inputs: Sequence[Signal], weights: np.ndarray) -> Passage:
    gain = 1 / math.sqrt(1 - step.layer.rate) if step.layer.rate < 1 else 0.0
    return Passage(gain * inputs[0].norm, [gain])


def _normalization(
    step: Step, inputs: Sequence[Signal], weights: np.ndarray
) -> Passage | None:
    layer, signal = step.layer, inputs[0]
    gamma, beta = getattr(layer, "gamma", None), getattr(layer, "beta", None)
    scale = 1.0 if gamma is None else weights[_weights.GAMMA] ** 2 / _size(gamma)
    shift = 0.0 if beta is None else weights[_weights.BETA] ** 2 / _size(beta)
    backward = None
    if isinstance(layer, keras.layers.BatchNormalization):
        if not layer.trainable:
            # It then takes its moving averages.
            return None
        variance = signal.norm**2 * signal.varying / signal.channels
        if variance <= 0:
            return None
        shrink = 1 / (variance + layer.epsilon)
        backward = math.sqrt(scale * shrink)
        scale *= variance * shrink
    return Passage(math.sqrt(step.channels * (scale + shift)), [backward])


def _size(variable: Any) -> int:
    return math.prod(variable.shape)


def _sum(step: Step, inputs: Sequence[Signal], weights: np.ndarray) -> Passage | None:
    if any(
        (signal.channels, signal.positions) != (step.channels, step.positions)
        for signal in inputs
    ):
        return None
    factors = [1.0] * len(inputs)
    if isinstance(step.layer, ScaledSum):
        factors = [1.0, step.layer.factor]
    elif type(step.layer).__name__ == "Average":
        factors = [1 / len(inputs)] * len(inputs)
    parts = [f * signal.norm for f, signal in zip(factors, inputs, strict=True)]
    return Passage(math.hypot(*parts), factors)


def _concatenation(
    step: Step, inputs: Sequence[Signal], weights: np.ndarray
) -> Passage | None:
    if sum(signal.channels for signal in inputs) != step.channels:
        return None
    shares = [math.sqrt(signal.channels / step.channels) for signal in inputs]
    return Passage(math.hypot(*(signal.norm for signal in inputs)), shares)


def _rearranged(step: Step, inputs: Sequence[Signal], weights: np.ndarray) -> Passage:
    share = inputs[0].positions / step.positions
    return Passage(inputs[0].norm * math.sqrt(share), [1.0])


ACTIVATIONS = (
    keras.layers.Activation,
    keras.layers.ELU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ReLU,
    keras.layers.Softmax,
)
NORMALIZATIONS = (
    keras.layers.BatchNormalization,
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    keras.layers.RMSNormalization,
)
_RULES: Sequence[tuple[Any, Rule]] = (
    (ACTIVATIONS, _activation),
    (NORMALIZATIONS, _normalization),
    (
        (
            keras.layers.Dropout,
            keras.layers.GaussianDropout,
            keras.layers.SpatialDropout1D,
            keras.layers.SpatialDropout2D,
            keras.layers.SpatialDropout3D,
        ),
        _dropout,
    ),
    (ScaledSum, _sum),
    (
        (
            keras.layers.Flatten,
            keras.layers.Identity,
            keras.layers.Permute,
            keras.layers.Reshape,
            keras.layers.ZeroPadding1D,
            keras.layers.ZeroPadding2D,
            keras.layers.ZeroPadding3D,
        ),
        _rearranged,
    ),
)
_BY_NAME: dict[str, Rule] = {
    "Add": _sum,
    "Average": _sum,
    "Concatenate": _concatenation,
    "Subtract": _sum,
}
