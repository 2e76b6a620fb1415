"""How large signals are in a network before it is trained, for a figure."""

from typing import Any

import keras
import numpy as np

from keras_convinit import SignalReport, signal_report
from keras_convinit.diagnostics import SignalRow
from keras_convinit.lab.signals import Curve, signal_curves


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
        The sizes at each of them, in the order of the model, as `signal_curves` has
        them.

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
    return signal_curves(report, rows, images.shape[-1])


def _watched(report: SignalReport, prefix: str) -> list[SignalRow]:
    last: dict[str, SignalRow] = {}
    for row in report.rows:
        name = row.path.partition("/")[0]
        if name.startswith(prefix):
            last[name] = row
    return list(last.values())
