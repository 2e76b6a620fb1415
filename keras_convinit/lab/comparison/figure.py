"""Results as a figure: how contenders learn, and what they begin with."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from keras_convinit.lab.comparison.results import Results, Run
from keras_convinit.lab.comparison.story import Story
from keras_convinit.lab.comparison.summary import WINDOW, running_mean

# Okabe and Ito 2008: told apart with every kind of colour vision. Lines differ in
# their dashes too, and the later ones leave the earlier ones visible under them.
COLOURS = ("#D55E00", "#E69F00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#000000")
DASHES = ("-", "-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)), "-", "-")
WIDTHS = (2.0, 3.6, 2.0, 2.0, 2.0, 2.0, 2.0)


def results_figure(results: Results) -> Figure:
    """One row of three panels for each story.

    Left the running training accuracy, then the size of the signal at initialisation,
    and that of the error signal; lines are means over seeds, bands reach from the
    lowest to the highest.

    Args:
        results: What to draw.

    Returns:
        A figure of matplotlib, 12 inches wide.
    """
    # Without pyplot: no window system is asked for, no state is left behind.
    figure = Figure(figsize=(12.0, 4.2 * len(results.stories)), layout="constrained")
    rows = figure.subfigures(len(results.stories), squeeze=False)[:, 0]
    for row, story in zip(rows, results.stories, strict=True):
        row.suptitle(story.title, fontweight="bold")
        learning, signal, error = row.subplots(1, 3)
        for number, contender in enumerate(story.contenders):
            runs = results.of(story.name, contender.label)
            style: dict[str, Any] = {
                "color": COLOURS[number % len(COLOURS)],
                "linestyle": DASHES[number % len(DASHES)],
                "linewidth": WIDTHS[number % len(WIDTHS)],
                "label": _label(contender.label, runs),
            }
            _draw(
                learning,
                WINDOW,
                [100 * running_mean(r.accuracies) for r in runs],
                style,
            )
            # At layer 0 stand the images, to which everything is relative.
            _draw(signal, 0, [np.array([1.0, *r.signal], float) for r in runs], style)
            _draw(error, 1, [np.array(r.error, float) for r in runs], style)
        _furnish_learning(learning, story)
        _furnish_signal(signal, story)
        signal.set_title("Before the first step: size of the signal", fontsize=10)
        signal.set_ylabel("RMS of activations,\nrelative to the images")
        _furnish_signal(error, story)
        error.set_title("... and of the error on its way back", fontsize=10)
        error.set_ylabel("norm of the error signal,\nrelative to the last")
        handles, labels = learning.get_legend_handles_labels()
        row.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _label(label: str, runs: Sequence[Run]) -> str:
    diverged = sum(run.diverged for run in runs)
    if not runs:
        return f"{label} (no run yet)"
    return f"{label} ({diverged} of {len(runs)} diverged)" if diverged else label


def _draw(
    axes: Axes, first: int, curves: list[np.ndarray], style: dict[str, Any]
) -> None:
    mean, lowest, highest = _over_seeds(curves)
    at = np.arange(first, first + len(mean))
    axes.plot(at, mean, **style)
    axes.fill_between(at, lowest, highest, color=style["color"], alpha=0.15, lw=0)


def _over_seeds(
    curves: list[np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, lowest and highest at each point, over the curves that get as far."""
    length = max((len(curve) for curve in curves), default=0)
    if not length:
        return np.empty(0), np.empty(0), np.empty(0)
    table = np.ma.masked_invalid(
        [np.pad(c, (0, length - len(c)), constant_values=np.nan) for c in curves]
    )
    mean, lowest, highest = table.mean(axis=0), table.min(axis=0), table.max(axis=0)
    return mean.filled(np.nan), lowest.filled(np.nan), highest.filled(np.nan)


def _furnish_learning(axes: Axes, story: Story) -> None:
    axes.set_title(f"Learning: {story.dataset}, mean and range over seeds", fontsize=10)
    axes.set_xlabel("optimisation step")
    axes.set_ylabel(f"training accuracy, %\n(mean over {WINDOW} steps)")
    axes.set_xlim(left=0)
    axes.set_ylim(0, 100)
    _furnish(axes)


def _furnish_signal(axes: Axes, story: Story) -> None:
    axes.set_xlabel("layer" if story.watched == "activation" else story.watched)
    axes.set_yscale("log")
    axes.axhline(1, color="0.6", linewidth=0.8, zorder=0)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _furnish(axes)


def _furnish(axes: Axes) -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
