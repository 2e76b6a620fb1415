"""A ranking as a figure: how schemes learn, and what they begin with."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from keras_convinit._printable import escape_unprintable
from keras_convinit.lab.comparison.plan import Plan
from keras_convinit.lab.comparison.ranking import Ranking, Row
from keras_convinit.lab.comparison.run import Run
from keras_convinit.lab.curves import (
    draw,
    furnish,
    furnish_learning,
    furnish_signal,
    style,
)
from keras_convinit.lab.over_seeds import WINDOW, running_mean


def comparison_figure(plan: Plan, ranking: Ranking, runs: Sequence[Run]) -> Figure:
    """Four panels: learning, accuracy by learning rate, signal and error by depth.

    Schemes have the colors of their order in the plan, so that figures of one plan can
    be laid side by side, and the legend has them by rank. Lines are means over seeds,
    bands and bars reach from the lowest to the highest.

    Args:
        plan: What was asked.
        ranking: What came out.
        runs: All runs.

    Returns:
        A figure of matplotlib, 11 inches wide.
    """
    # Without pyplot: no window system is asked for, no state is left behind.
    lines = -(-len(ranking.best) // 3)
    figure = Figure(figsize=(11.0, 7.6 + 0.25 * lines), layout="constrained")
    title = escape_unprintable(f"{plan.model} on {plan.dataset}")
    figure.suptitle(title, fontweight="bold", parse_math=False)
    (learning, rates), (signal, error) = figure.subplots(2, 2)
    for row in ranking.best:
        look = style(plan.schemes.index(row.scheme), _label(row))
        own = [run for run in runs if run.case.scheme == row.scheme]
        begun = _first_of_each_seed(own)
        at_best = [run for run in own if run.case.learning_rate == row.learning_rate]
        draw(
            learning, WINDOW, [100 * running_mean(r.accuracies) for r in at_best], look
        )
        # At layer 0 stand the images, to which everything is relative.
        signals = [np.array([1.0, *run.beginning.signal], float) for run in begun]
        draw(signal, 0, signals, look)
        errors = [np.array(run.beginning.error, float) for run in begun]
        draw(error, 1, errors, look)
        own_rows = [one for one in (row, *ranking.others) if _same(one, row)]
        # Side by side: several may be right as often.
        place = plan.schemes.index(row.scheme) - (len(plan.schemes) - 1) / 2
        _draw_rates(rates, own_rows, 1.03**place, look)
    furnish_learning(learning, "Learning, each scheme at its best learning rate")
    if not any(line.get_xdata().size for line in learning.lines):
        text = f"no run has {WINDOW} steps"
        learning.text(0.5, 0.5, text, ha="center", transform=learning.transAxes)
        learning.set_xticks([])
    _furnish_rates(rates, plan)
    furnish_signal(
        signal,
        "Before the first step: size of the signal",
        "RMS of a layer's outputs,\nrelative to the images",
        "layer with weights",
    )
    furnish_signal(
        error,
        "... and of the error on its way back",
        "norm of the error signal,\nrelative to the last layer",
        "layer with weights",
    )
    handles, labels = learning.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _label(row: Row) -> str:
    if not row.runs:
        return f"{row.scheme} (no run yet)"
    if row.refused == row.runs:
        return f"{row.scheme} (refused)"
    failed = f", {row.diverged} of {row.runs} diverged" if row.diverged else ""
    return f"{row.scheme} (rate {row.learning_rate:g}{failed})"


def _same(row: Row, other: Row) -> bool:
    return row.scheme == other.scheme and row.accuracy is not None and not row.refused


def _first_of_each_seed(runs: Sequence[Run]) -> list[Run]:
    """Learning rates begin with the same weights."""
    by_seed = {run.case.seed: run for run in reversed(runs) if run.beginning.signal}
    return list(by_seed.values())


def _draw_rates(
    axes: Axes, rows: list[Row], shift: float, look: dict[str, Any]
) -> None:
    rows = sorted(rows, key=lambda row: row.learning_rate)
    spreads = [row.accuracy for row in rows if row.accuracy is not None]
    mean = np.array([spread.mean for spread in spreads])
    below = mean - [spread.lowest for spread in spreads]
    above = [spread.highest for spread in spreads] - mean
    axes.errorbar(
        [shift * row.learning_rate for row in rows],
        100 * mean,
        yerr=100 * np.array([below, above]).reshape(2, -1),
        marker="o",
        markersize=5,
        capsize=3,
        elinewidth=1.2,
        **look,
    )


def _furnish_rates(axes: Axes, plan: Plan) -> None:
    axes.set_title("After the last epoch, by learning rate", fontsize=10)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("validation accuracy, %\n(diverged: 0)")
    axes.set_xscale("log")
    rates = sorted(plan.learning_rates)
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(rates[0] / 1.6, rates[-1] * 1.6)
    axes.set_ylim(-3, 103)
    furnish(axes)
