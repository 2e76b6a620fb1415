"""What the theory says of a layer, from its inputs and its weights.

By the same functions as the initializers: `Geometry.fans`, `forward_scale` and
`backward_scale`. Edges of images, where windows reach over the border, are ignored as
in the papers.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_convinit.diagnostics._kinds import (
    ACTIVATIONS,
    NORMALIZATIONS,
    is_activation,
)
from keras_convinit.diagnostics._step import Step
from keras_convinit.graph import ScaledSum, canonical_activation, fused_activation
from keras_convinit.kernels import Kernel
from keras_convinit.scales import backward_scale, forward_scale


@dataclasses.dataclass(frozen=True)
class Signal:
    """What is known of a tensor.

    Args:
        norm: The norm of a position.
        channels: Its channels.
        positions: Its positions.
    """

    norm: float
    channels: int
    positions: int


@dataclasses.dataclass(frozen=True)
class Passage:
    """What becomes of signals in a layer.

    Args:
        forward: The norm of a position of the output.
        backward: For each input the norm of the error signal there, for one of norm 1
            at the output; None where it is not predicted.
        factors: What each of several inputs is multiplied by before squares are added
            up; None for what is no sum of them.
    """

    forward: float | None
    backward: Sequence[float | None]
    factors: tuple[float, ...] | None = None


Numbers = dict[str, float]
Rule = Callable[[Step, Sequence[Signal], Numbers], Passage | None]


def passage(step: Step, inputs: Sequence[Signal], numbers: Numbers) -> Passage:
    """What the theory says of a step.

    Args:
        step: The step.
        inputs: What enters it.
        numbers: What else is known of the step, such as the norms of its weights.

    Returns:
        The passage, with None for what the theory does not know.
    """
    nothing = Passage(None, [None] * len(inputs))
    if not inputs or not all(0 < signal.norm < math.inf for signal in inputs):
        return nothing
    rule = _rule(step)
    return (rule and rule(step, inputs, numbers)) or nothing


def _rule(step: Step) -> Rule | None:
    layer = step.layer
    for classes, rule in _RULES:
        if isinstance(layer, classes):
            return rule
    # Operations that were written as functions have classes without a public name.
    named = _BY_NAME.get(type(layer).__name__)
    if named is not None:
        return named
    if is_activation(layer):
        return _activation
    return _linear if 0 < len(step.kernels) < 3 else None


def _linear(step: Step, inputs: Sequence[Signal], numbers: Numbers) -> Passage | None:
    kernels = step.kernels
    separable = keras.layers.SeparableConv1D, keras.layers.SeparableConv2D
    if len(inputs) > 1 or (len(kernels) == 2 and not isinstance(step.layer, separable)):
        return None
    if any(f"weights {number}" not in numbers for number in range(len(kernels))):
        # Of codes nothing is known.
        return None
    square, backward = inputs[0].norm ** 2, 1.0
    for number, kernel in enumerate(kernels):
        norm = numbers[f"weights {number}"]
        forward, back = _gains(kernel, norm)
        square, backward = square * forward, backward * back
    square += numbers.get("bias", 0.0) ** 2
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
    # To three digits, so that one that is known may be found again.
    variance = float(f"{square / channels:.2e}")
    try:
        forward = square / _scale(forward_scale, activation, variance)
        backward = backward / _scale(backward_scale, activation, variance)
    except ValueError:
        return None
    return Passage(math.sqrt(forward), [math.sqrt(backward)])


def _scale(scale: Any, activation: Any, variance: float) -> float:
    # The slopes of a layer may be trained.
    if isinstance(activation, keras.layers.Layer):
        return scale(activation, variance)
    return _remembered(scale, activation, variance)


@functools.lru_cache(4096)
def _remembered(scale: Any, activation: Any, variance: float) -> float:
    return scale(activation, variance)


def _activation(
    step: Step, inputs: Sequence[Signal], numbers: Numbers
) -> Passage | None:
    activation = canonical_activation(step.layer)
    square = inputs[0].norm ** 2
    if activation is None:
        return Passage(math.sqrt(square), [1.0])
    return _through(activation, square, 1.0, step.channels)


def _dropout(step: Step, inputs: Sequence[Signal], numbers: Numbers) -> Passage:
    gain = 1 / math.sqrt(1 - step.layer.rate) if step.layer.rate < 1 else 0.0
    return Passage(gain * inputs[0].norm, [gain])


def _normalization(
    step: Step, inputs: Sequence[Signal], numbers: Numbers
) -> Passage | None:
    layer, signal = step.layer, inputs[0]
    gamma, beta = getattr(layer, "gamma", None), getattr(layer, "beta", None)
    scale = 1.0 if gamma is None else numbers["gamma"] ** 2 / _size(gamma)
    shift = 0.0 if beta is None else numbers["beta"] ** 2 / _size(beta)
    backward = None
    if isinstance(layer, keras.layers.BatchNormalization):
        if not layer.trainable:
            # It then takes its moving averages.
            return None
        variance = signal.norm**2 * numbers["varying"] / signal.channels
        if variance <= 0:
            return None
        shrink = 1 / (variance + layer.epsilon)
        backward = math.sqrt(scale * shrink)
        scale *= variance * shrink
    return Passage(math.sqrt(step.channels * (scale + shift)), [backward])


def _size(variable: Any) -> int:
    return math.prod(variable.shape)


def _sum(step: Step, inputs: Sequence[Signal], numbers: Numbers) -> Passage | None:
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
    return Passage(math.hypot(*parts), factors, tuple(factors))


def _concatenation(
    step: Step, inputs: Sequence[Signal], numbers: Numbers
) -> Passage | None:
    if sum(signal.channels for signal in inputs) != step.channels:
        return None
    shares = [math.sqrt(signal.channels / step.channels) for signal in inputs]
    norms = (signal.norm for signal in inputs)
    return Passage(math.hypot(*norms), shares, (1.0,) * len(inputs))


def _rearranged(step: Step, inputs: Sequence[Signal], numbers: Numbers) -> Passage:
    share = inputs[0].positions / step.positions
    return Passage(inputs[0].norm * math.sqrt(share), [1.0])


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
