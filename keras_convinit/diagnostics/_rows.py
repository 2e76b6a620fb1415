"""A report's rows, from the numbers of one pass."""

import math
from collections.abc import Sequence

import numpy as np

from keras_convinit.diagnostics._measurement import Measurement
from keras_convinit.diagnostics._prediction import Passage, Signal, passage
from keras_convinit.diagnostics.signal_row import SignalRow


def rows_of(measurement: Measurement) -> tuple[SignalRow, ...]:
    """One row for each step."""
    steps = measurement.steps
    numbers: list[dict[str, float]] = [{} for _ in steps]
    for (index, name), number in measurement.numbers.items():
        numbers[index][name] = number
    entering = [
        [_norm_of(measurement, source) for source in step.sources] for step in steps
    ]
    passages = [
        passage(step, [_signal(measurement, s) for s in step.sources], known)
        for step, known in zip(steps, numbers, strict=True)
    ]
    consumers: list[list[tuple[int, int]]] = [[] for _ in steps]
    for index, step in enumerate(steps):
        for place, source in enumerate(step.sources):
            if source >= 0:
                consumers[source].append((index, place))
    rows = []
    for index, step in enumerate(steps):
        dead = numbers[index].get("dead")
        before = math.hypot(*entering[index]) if entering[index] else None
        beta, predicted_beta = _betas(
            measurement, passages, index, consumers[index], index in measurement.outputs
        )
        weights = [
            n for name, n in numbers[index].items() if name.startswith("weights")
        ]
        rows.append(
            SignalRow(
                path=step.path,
                type=type(step.layer).__name__,
                inputs=step.sources,
                channels=step.channels,
                forward_norm=float(measurement.signals[index]),
                alpha=_ratio(measurement.signals[index], before),
                predicted_alpha=_ratio(passages[index].forward, before),
                factors=passages[index].factors,
                error_norm=float(measurement.errors[index]),
                beta=beta,
                predicted_beta=predicted_beta,
                weight_norm=math.hypot(*weights) if weights else None,
                gradient_norm=(
                    float(np.linalg.norm(measurement.gradients[list(step.points)]))
                    if step.points
                    else None
                ),
                dead_share=dead / step.channels if dead is not None else None,
            )
        )
    return tuple(rows)


def _norm_of(measurement: Measurement, source: int) -> float:
    if source < 0:
        return measurement.inputs[-1 - source]
    return float(measurement.signals[source])


def _signal(measurement: Measurement, source: int) -> Signal:
    norm = _norm_of(measurement, source)
    if source < 0:
        return Signal(norm, *measurement.input_sizes[-1 - source])
    step = measurement.steps[source]
    return Signal(norm, step.channels, step.positions)


def _betas(
    measurement: Measurement,
    passages: Sequence[Passage],
    index: int,
    consumers: list[tuple[int, int]],
    is_output: bool,
) -> tuple[float | None, float | None]:
    """The ratio of an error signal to those that it is made of: measured, predicted."""
    # What is also an output has a share that comes from the loss itself.
    if not consumers or is_output:
        return None, None
    behind = {consumer: measurement.errors[consumer] for consumer, _ in consumers}
    after = math.hypot(*behind.values())
    parts = [
        (passages[consumer].backward[place], behind[consumer])
        for consumer, place in consumers
    ]
    known = [gain * error for gain, error in parts if gain is not None]
    predicted = math.hypot(*known) if len(known) == len(parts) else None
    return _ratio(measurement.errors[index], after), _ratio(predicted, after)


def _ratio(numerator: float | None, denominator: float | None) -> float | None:
    if numerator is None or not denominator or not math.isfinite(denominator):
        return None
    ratio = float(numerator) / denominator
    return ratio if math.isfinite(ratio) else None
