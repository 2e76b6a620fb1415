"""Charts that several experiments draw."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keras_convinit.lab.curves import furnish, style


def panels(
    count: int, width: float = 4.6, height: float = 4.0, rows: int = 1
) -> tuple[Figure, Any]:
    """A figure with panels side by side, in one row or in several."""
    # Without pyplot: no window system is asked for, no state is left behind.
    figure = Figure(figsize=(width * count, height * rows), layout="constrained")
    return figure, figure.subplots(rows, count, squeeze=False).ravel()


def ranges(
    axes: Axes,
    series: Mapping[str, Mapping[float, Sequence[float]]],
    factor: float = 1.0,
    order: Sequence[str] = (),
) -> None:
    """A line through means, and a band from the lowest to the highest.

    Args:
        axes: Where.
        series: Label -> place on the x axis -> values, of one run each.
        factor: What values are multiplied by.
        order: Labels of all panels, for a label to look the same in each of them; those
            of the series where there is nothing else.
    """
    order = order or list(series)
    for label, points in series.items():
        look = style(order.index(label), label)
        at = [x for x, values in points.items() if len(values)]
        values = [factor * np.asarray(points[x], float) for x in at]
        axes.plot(at, [v.mean() for v in values], marker="o", markersize=4, **look)
        low, high = [v.min() for v in values], [v.max() for v in values]
        axes.fill_between(at, low, high, color=look["color"], alpha=0.15, lw=0)


def furnish_accuracy(axes: Axes, title: str, across: str, classes: int = 10) -> None:
    """Axes of an accuracy in percent, with chance as a line."""
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(across)
    axes.set_ylabel("held-out accuracy, %")
    axes.set_ylim(0, max(axes.get_ylim()[1], 150 / classes))
    axes.axhline(100 / classes, color="0.5", linewidth=0.8, linestyle=":")
    axes.annotate(
        "chance",
        (1.0, 100 / classes),
        xycoords=("axes fraction", "data"),
        ha="right",
        va="bottom",
        fontsize=7,
        color="0.4",
    )
    furnish(axes)


def ticks(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic x axis with ticks at what was measured, and no others."""
    axes.set_xscale("log")
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.minorticks_off()


def legend(figure: Figure, axes: Axes, columns: int = 4) -> None:
    """One legend below all panels."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, frameon=False
    )
