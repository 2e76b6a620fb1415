"""A signal report as a figure."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from keras_convinit._printable import printable
from keras_convinit.diagnostics.signal_row import SignalRow

# Okabe and Ito 2008: told apart with every kind of colour vision.
MEASURED, PREDICTED, TROUBLE = "#0072B2", "#000000", "#D55E00"


def figure_of(report: Any) -> Figure:
    """Two panels, one above the other: the norms forward, and those of the error."""
    rows = report.rows
    count = len(rows)
    width = min(7.0 + count / 100, 11.0)
    # Without pyplot: no window system is asked for, no state is left behind.
    figure = Figure(figsize=(width, 6.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    title = "\n".join(
        textwrap.wrap(report.verdict, 78, max_lines=3, placeholder=" ...")
    )
    # A dollar sign in a name is no formula.
    figure.suptitle(title, fontsize=10, fontweight="bold", parse_math=False)
    _draw(above, [r.forward_norm for r in rows], forward_line(rows, report.inputs))
    _draw(below, [r.error_norm for r in rows], backward_line(rows))
    above.set_ylabel("norm of the output\nat a position")
    below.set_ylabel("norm of the error signal\nof a sample")
    below.set_xlabel("layer, in order of execution")
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes, direction in ((above, "forward"), (below, "backward")):
        _mark(axes, [t for t in report.troubles if t.direction == direction], count)
    above.legend(loc="best", frameon=False, fontsize=9)
    return figure


def forward_line(
    rows: Sequence[SignalRow], inputs: Sequence[float]
) -> list[float | None]:
    """The norms that the predicted ratios come to, from the inputs of the model on.

    Where there is no prediction the measured ratio is taken. What a normalisation gives
    depends on its weights alone, so the line starts anew there.
    """
    line: list[float | None] = []
    for row in rows:
        ratio = row.alpha if row.predicted_alpha is None else row.predicted_alpha
        norms = [r.forward_norm for r in rows] if _forgets(row) else line
        before = [norms[i] if i >= 0 else inputs[-1 - i] for i in row.inputs]
        if row.factors is not None and None not in before:
            # The predicted ratio is for inputs as they were measured; for those that
            # are predicted it is another.
            parts = zip(row.factors, before, strict=True)
            line.append(math.hypot(*(f * b for f, b in parts if b is not None)))
            continue
        line.append(_times(ratio, before, row.forward_norm))
    return line


def backward_line(rows: Sequence[SignalRow]) -> list[float | None]:
    """The norms that the predicted ratios come to, from the outputs back."""
    consumers: list[list[int]] = [[] for _ in rows]
    for index, row in enumerate(rows):
        for source in set(row.inputs):
            if source >= 0:
                consumers[source].append(index)
    line: list[float | None] = [None] * len(rows)
    for index in reversed(range(len(rows))):
        row = rows[index]
        ratio = row.beta if row.predicted_beta is None else row.predicted_beta
        behind = [line[consumer] for consumer in consumers[index]]
        line[index] = _times(ratio, behind, row.error_norm)
    return line


def _forgets(row: SignalRow) -> bool:
    return row.type.endswith("Normalization")


def _times(
    ratio: float | None, parts: Sequence[float | None], measured: float
) -> float | None:
    if ratio is None or not parts:
        return measured if math.isfinite(measured) else None
    if any(part is None for part in parts):
        return None
    return ratio * math.hypot(*(part for part in parts if part is not None))


def _draw(axes: Axes, norms: list[float], line: list[float | None]) -> None:
    at = np.arange(1, len(norms) + 1)
    size = 6.0 if len(norms) <= 40 else 3.0 if len(norms) <= 300 else 1.8
    axes.plot(
        at, _positive(norms), "o", ms=size, mew=0, color=MEASURED, label="measured"
    )
    axes.plot(at, _positive(line), color=PREDICTED, lw=1.0, label="predicted")
    axes.set_yscale("log")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _positive(values: Sequence[float | None]) -> np.ndarray:
    array = np.array([np.nan if v is None else v for v in values], float)
    return np.where(np.isfinite(array) & (array > 0), array, np.nan)


def _mark(axes: Axes, troubles: Sequence[Any], count: int) -> None:
    for trouble in troubles:
        axes.axvline(trouble.row + 1, color=TROUBLE, lw=1.2, zorder=0)
        if trouble.kind == "dead":
            continue
        left = trouble.row < count / 2
        axes.annotate(
            f"{trouble.kind}: {printable(trouble.path)}",
            (trouble.row + 1, 0.97),
            xycoords=("data", "axes fraction"),
            xytext=(4 if left else -4, 0),
            textcoords="offset points",
            ha="left" if left else "right",
            va="top",
            fontsize=8,
            color=TROUBLE,
            parse_math=False,
        )
