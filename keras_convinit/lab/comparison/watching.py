"""How large signals are in a network before it is trained, for a figure."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_convinit import SignalReport, signal_report
from keras_convinit.diagnostics import SignalRow

Curve = tuple[float | None, ...]


def initial_signals(
    model: keras.Model, images: np.ndarray, labels: Any, loss: Any, watched: str
) -> tuple[Curve, Curve]:
    """The signal and the error signal at some layers, from a signal report.

    Args:
        model: The model.
        images: A batch for it.
        labels: Their labels.
        loss: The loss.
        watched: Prefix of the names of the layers, or of blocks of layers, of which
            the last counts.

    Returns:
        Two numbers for each of them, in the order of the model, None where they are
        not finite. The root mean square of its output, as a multiple of that of the
        images: it is what a variance rule promises to preserve, while the norm of a
        position grows with the number of channels too. And the norm of the error
        signal there, as a multiple of that at the last of them.

    Raises:
        ValueError: No layer has a name of that kind.
    """
    report = signal_report(model, images, labels, loss)
    rows = _watched(report, watched)
    if not rows:
        raise ValueError(
            "`watched` must be a prefix of the names of some layers. "
            f"Received: watched={watched!r}, for the model {model.name}"
        )
    size = report.inputs[0] / math.sqrt(images.shape[-1])
    forward = [row.forward_norm / math.sqrt(row.channels) for row in rows]
    backward = [row.error_norm for row in rows]
    return _ratios(forward, size), _ratios(backward, backward[-1])


def _watched(report: SignalReport, prefix: str) -> list[SignalRow]:
    last: dict[str, SignalRow] = {}
    for row in report.rows:
        name = row.path.partition("/")[0]
        if name.startswith(prefix):
            last[name] = row
    return list(last.values())


def _ratios(sizes: Sequence[float], unit: float) -> Curve:
    ratios = [size / unit if unit else math.inf for size in sizes]
    # Six digits: they go into a file for people, too.
    return tuple(float(f"{r:.6g}") if math.isfinite(r) else None for r in ratios)
