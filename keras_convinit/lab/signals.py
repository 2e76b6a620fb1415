"""How large signals are by depth, in short, from a signal report."""

import math
from collections.abc import Sequence

from keras_convinit import SignalReport
from keras_convinit.diagnostics import SignalRow

Curve = tuple[float | None, ...]


def signal_curves(
    report: SignalReport, rows: Sequence[SignalRow], channels: int
) -> tuple[Curve, Curve]:
    """The signal and the error signal at some layers.

    Args:
        report: The report.
        rows: Those of its rows that are wanted, at least one.
        channels: Of the model's input.

    Returns:
        Two numbers for each of them, None where they are not finite. The root mean
        square of its output, as a multiple of that of the images: it is what a variance
        rule promises to preserve, while the norm of a position grows with the number of
        channels too. And the norm of the error signal there, as a multiple of that at
        the last of them.
    """
    size = report.inputs[0] / math.sqrt(channels)
    forward = [row.forward_norm / math.sqrt(row.channels) for row in rows]
    backward = [row.error_norm for row in rows]
    return _ratios(forward, size), _ratios(backward, backward[-1])


def _ratios(sizes: Sequence[float], unit: float) -> Curve:
    ratios = [size / unit if unit else math.inf for size in sizes]
    # Six digits: they go into a file for people, too.
    return tuple(float(f"{r:.6g}") if math.isfinite(r) else None for r in ratios)
