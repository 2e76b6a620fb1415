"""Rows of a signal report: what was measured at a layer, beside what theory predicts.

Predictions are made by the same functions as the initializers: `Geometry.fans`,
`forward_scale` and `backward_scale`. Edges of images, where windows reach over the
border, are ignored as in the papers.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_convinit._types import ActivationLike, Variable
from keras_convinit.analysis import (
    NORMALIZATIONS,
    ScaledSum,
    canonical_activation,
    fused_activation,
    is_activation,
)
from keras_convinit.diagnostics._forward import Step, find_bias
from keras_convinit.diagnostics._probe import Measurement
from keras_convinit.kernels import Kernel
from keras_convinit.scales import backward_scale, forward_scale


@dataclasses.dataclass(frozen=True)
class SignalRow:
    """Signal and error signal at one layer call.

    A number is None where there is no such thing, or the theory does not know it.

    Args:
        path: Name of the layer, with those of the models around it.
        type: Name of its class.
        inputs: Numbers of the rows that its inputs come from; -1, -2 and so on for the
            inputs of the model.
        channels: Channels of its output.
        forward_norm: Norm of its output at a position: the root of the mean, over batch
            and positions, of the sum of squares over channels.
        alpha: Ratio of that to the norm of the input; to the root of the sum of squares
            where there are several.
        predicted_alpha: What the theory predicts for it, from this input and these
            weights.
        factors: Of a sum of inputs what each is multiplied by.
        error_norm: Norm of the error signal at its output: of the derivative of a
            sample's loss, over all positions and channels, as root mean square over
            samples. Strides and pooling spread or gather it, and leave the norm.
        beta: Ratio of that to the norm at the next layer; to the root of the sum of
            squares where the output goes to several.
        predicted_beta: What the theory predicts for it.
        weight_norm: Norm of its kernels, of a weight-normalized layer that of the
            effective one; of all its trainable variables where it has no kernel.
        gradient_norm: Norm of the gradient of the loss, without regularizers, with
            respect to its trainable variables.
        dead_fraction: Fraction of channels that are zero all over the batch, of a layer
            that is or has an activation.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> report = keras_convinit.signal_report(model, np.ones((2, 8)))
        >>> [row.path for row in report.rows if row.dead_fraction == 1]
        []
    """

    path: str
    type: str
    inputs: tuple[int, ...]
    channels: int
    forward_norm: float
    alpha: float | None
    predicted_alpha: float | None
    factors: tuple[float, ...] | None
    error_norm: float
    beta: float | None
    predicted_beta: float | None
    weight_norm: float | None
    gradient_norm: float | None
    dead_fraction: float | None

    def to_dict(self) -> dict[str, Any]:
        """Returns the row as a dictionary."""
        return dataclasses.asdict(self)


def make_rows(measurement: Measurement) -> tuple[SignalRow, ...]:
    """Makes the row of each step of a measurement."""
    steps = measurement.steps
    numbers: list[Numbers] = [{} for _ in steps]
    for (index, name), number in measurement.numbers.items():
        numbers[index][name] = number
    entering = [
        [_get_signal(measurement, source) for source in step.sources] for step in steps
    ]
    predictions = [
        predict_layer(*known) for known in zip(steps, entering, numbers, strict=True)
    ]
    consumers: list[list[tuple[int, int]]] = [[] for _ in steps]
    for index, step in enumerate(steps):
        for place, source in enumerate(step.sources):
            if source >= 0:
                consumers[source].append((index, place))
    rows = []
    for index, step in enumerate(steps):
        dead = numbers[index].get("dead")
        norms = [signal.norm for signal in entering[index]]
        before = math.hypot(*norms) if norms else None
        beta, predicted_beta = None, None
        # What is also an output has a part that comes from the loss itself.
        if consumers[index] and index not in measurement.outputs:
            beta, predicted_beta = _compute_betas(
                measurement, predictions, index, consumers[index]
            )
        weights = [
            n for name, n in numbers[index].items() if name.startswith("weights")
        ]
        gradients = measurement.gradients[list(step.trainable)]
        rows.append(
            SignalRow(
                path=step.path,
                type=type(step.layer).__name__,
                inputs=step.sources,
                channels=step.channels,
                forward_norm=float(measurement.signals[index]),
                alpha=_divide(measurement.signals[index], before),
                predicted_alpha=_divide(predictions[index].forward, before),
                factors=predictions[index].factors,
                error_norm=float(measurement.errors[index]),
                beta=beta,
                predicted_beta=predicted_beta,
                weight_norm=math.hypot(*weights) if weights else None,
                gradient_norm=(
                    float(np.linalg.norm(gradients)) if step.trainable else None
                ),
                dead_fraction=dead / step.channels if dead is not None else None,
            )
        )
    return tuple(rows)


@dataclasses.dataclass(frozen=True)
class Signal:
    """Norm and shape of a tensor.

    Args:
        norm: Norm of a position.
        channels: Number of channels.
        positions: Number of positions of a sample.
    """

    norm: float
    channels: int
    positions: int


def _get_signal(measurement: Measurement, source: int) -> Signal:
    if source < 0:
        number = -1 - source
        return Signal(measurement.inputs[number], *measurement.input_sizes[number])
    step = measurement.steps[source]
    return Signal(float(measurement.signals[source]), step.channels, step.positions)


def _compute_betas(
    measurement: Measurement,
    predictions: Sequence["LayerPrediction"],
    index: int,
    consumers: list[tuple[int, int]],
) -> tuple[float | None, float | None]:
    """Computes the ratio of an error signal to those behind: measured, predicted."""
    errors = {consumer: measurement.errors[consumer] for consumer, _ in consumers}
    behind = math.hypot(*errors.values())
    parts = [
        (predictions[consumer].backward[place], errors[consumer])
        for consumer, place in consumers
    ]
    known = [gain * error for gain, error in parts if gain is not None]
    predicted = math.hypot(*known) if len(known) == len(parts) else None
    return _divide(measurement.errors[index], behind), _divide(predicted, behind)


def _divide(numerator: float | None, denominator: float | None) -> float | None:
    """Divides; None where there is nothing to divide, or the ratio is not finite."""
    if numerator is None or not denominator or not math.isfinite(denominator):
        return None
    ratio = float(numerator) / denominator
    return ratio if math.isfinite(ratio) else None


@dataclasses.dataclass(frozen=True)
class LayerPrediction:
    """Norms behind and before a layer, as the theory predicts them.

    Args:
        forward: Norm of a position of the output; None where it is not predicted.
        backward: For each input the norm of the error signal there, for one of norm 1
            at the output; None where it is not predicted.
        factors: What each of several inputs is multiplied by before squares are added
            up; None for what is no sum of them.
    """

    forward: float | None
    backward: Sequence[float | None]
    factors: tuple[float, ...] | None = None


Numbers = dict[str, float]
Rule = Callable[[Step, Sequence[Signal], Numbers], LayerPrediction | None]


def predict_layer(
    step: Step, inputs: Sequence[Signal], numbers: Numbers
) -> LayerPrediction:
    """Predicts what a layer does to a signal and an error signal.

    Args:
        step: Layer call.
        inputs: Signals that enter it.
        numbers: What else is known of the call, such as the norms of its weights.

    Returns:
        The prediction, with None for what the theory does not know.
    """
    nothing = LayerPrediction(None, [None] * len(inputs))
    if not inputs or not all(0 < signal.norm < math.inf for signal in inputs):
        return nothing
    rule = _find_rule(step)
    return (rule and rule(step, inputs, numbers)) or nothing


def _find_rule(step: Step) -> Rule | None:
    layer = step.layer
    if is_activation(layer):
        return _predict_activation
    for classes, rule in _RULES:
        if isinstance(layer, classes):
            return rule
    # Operations that were written as functions have classes without a public name.
    by_name = _RULES_BY_NAME.get(type(layer).__name__)
    if by_name is not None:
        return by_name
    return _predict_linear if 0 < len(step.kernels) < 3 else None


def _predict_linear(
    step: Step, inputs: Sequence[Signal], numbers: Numbers
) -> LayerPrediction | None:
    kernels = step.kernels
    separable = keras.layers.SeparableConv1D, keras.layers.SeparableConv2D
    if len(inputs) > 1 or (len(kernels) == 2 and not isinstance(step.layer, separable)):
        return None
    if any(f"weights {number}" not in numbers for number in range(len(kernels))):
        # Of the codes of a quantized kernel nothing is known.
        return None
    if _sums_inputs(step.layer):
        # What the sum of correlated numbers is, their norm does not tell.
        return None
    gain = math.prod(
        _compute_gain(kernel, numbers[f"weights {number}"])
        for number, kernel in enumerate(kernels)
    )
    # Signals are measured by position, so that the channels there count, and not those
    # of the kernel, whose outputs may span several axes.
    square = inputs[0].norm ** 2 * gain * step.channels / inputs[0].channels
    bias = find_bias(step.layer)
    if bias is not None and "bias" in numbers:
        square += numbers["bias"] ** 2 * step.channels / _count_values(bias)
    activation = fused_activation(step.layer)
    if activation is None:
        return LayerPrediction(math.sqrt(square), [math.sqrt(gain)])
    return _pass_activation(activation, square, gain, step.channels)


def _compute_gain(kernel: Kernel, norm: float) -> float:
    """Computes the factor on the mean square of a signal, and on an error signal's sum.

    An output adds up fan-in products. The error signal at it reaches fan-in inputs, of
    which all positions are counted.
    """
    mean_square = norm**2 * kernel.copies / math.prod(kernel.variable.shape)
    fan_in, _ = kernel.geometry.fans(stride_aware=True)
    return fan_in * mean_square


def _sums_inputs(layer: Any) -> bool:
    """Returns True for an `EinsumDense` that adds inputs up before it multiplies."""
    while isinstance(layer, keras.layers.Wrapper):
        layer = layer.layer
    if not isinstance(layer, keras.layers.EinsumDense):
        return False
    names, output = layer.equation.split("->")
    source, kernel = names.split(",")
    return not set(source) <= {*kernel, *output, " "}


def _pass_activation(
    activation: ActivationLike, square: float, backward: float, channels: int
) -> LayerPrediction | None:
    # To three digits, so that one that is known may be found again.
    variance = float(f"{square / channels:.2e}")
    try:
        forward = square / _compute_scale(forward_scale, activation, variance)
        backward = backward / _compute_scale(backward_scale, activation, variance)
    except ValueError:
        return None
    return LayerPrediction(math.sqrt(forward), [math.sqrt(backward)])


Scale = Callable[[ActivationLike, float], float]


def _compute_scale(scale: Scale, activation: ActivationLike, variance: float) -> float:
    # The slopes of a layer may be trained.
    if isinstance(activation, keras.layers.Layer):
        return scale(activation, variance)
    return _compute_scale_once(scale, activation, variance)


@functools.lru_cache(4096)
def _compute_scale_once(
    scale: Scale, activation: ActivationLike, variance: float
) -> float:
    return scale(activation, variance)


def _predict_activation(
    step: Step, inputs: Sequence[Signal], numbers: Numbers
) -> LayerPrediction | None:
    activation = canonical_activation(step.layer)
    square = inputs[0].norm ** 2
    if activation is None:
        return LayerPrediction(math.sqrt(square), [1.0])
    return _pass_activation(activation, square, 1.0, step.channels)


def _predict_dropout(
    step: Step, inputs: Sequence[Signal], numbers: Numbers
) -> LayerPrediction:
    gain = 1 / math.sqrt(1 - step.layer.rate) if step.layer.rate < 1 else 0.0
    return LayerPrediction(gain * inputs[0].norm, [gain])


def _predict_normalization(
    step: Step, inputs: Sequence[Signal], numbers: Numbers
) -> LayerPrediction | None:
    layer, signal = step.layer, inputs[0]
    if isinstance(layer, keras.layers.UnitNormalization):
        return None
    gamma, beta = getattr(layer, "gamma", None), getattr(layer, "beta", None)
    scale = 1.0 if gamma is None else numbers["gamma"] ** 2 / _count_values(gamma)
    shift = 0.0 if beta is None else numbers["beta"] ** 2 / _count_values(beta)
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
    return LayerPrediction(math.sqrt(step.channels * (scale + shift)), [backward])


def _count_values(variable: Variable) -> int:
    return math.prod(variable.shape)


def _predict_sum(
    step: Step, inputs: Sequence[Signal], numbers: Numbers
) -> LayerPrediction | None:
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
    return LayerPrediction(math.hypot(*parts), factors, tuple(factors))


def _predict_concatenation(
    step: Step, inputs: Sequence[Signal], numbers: Numbers
) -> LayerPrediction | None:
    if sum(signal.channels for signal in inputs) != step.channels:
        return None
    fractions = [math.sqrt(signal.channels / step.channels) for signal in inputs]
    norms = (signal.norm for signal in inputs)
    return LayerPrediction(math.hypot(*norms), fractions, (1.0,) * len(inputs))


def _predict_reshaping(
    step: Step, inputs: Sequence[Signal], numbers: Numbers
) -> LayerPrediction:
    ratio = inputs[0].positions / step.positions
    return LayerPrediction(inputs[0].norm * math.sqrt(ratio), [1.0])


_RULES: Sequence[tuple[Any, Rule]] = (
    (NORMALIZATIONS, _predict_normalization),
    (
        (
            keras.layers.Dropout,
            keras.layers.GaussianDropout,
            keras.layers.SpatialDropout1D,
            keras.layers.SpatialDropout2D,
            keras.layers.SpatialDropout3D,
        ),
        _predict_dropout,
    ),
    (ScaledSum, _predict_sum),
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
        _predict_reshaping,
    ),
)
_RULES_BY_NAME: dict[str, Rule] = {
    "Add": _predict_sum,
    "Average": _predict_sum,
    "Concatenate": _predict_concatenation,
    "Subtract": _predict_sum,
}
