"""Results as a figure: how contenders learn, and what they begin with."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from keras_convinit.lab.curves import draw, furnish_learning, furnish_signal, style
from keras_convinit.lab.over_seeds import WINDOW, running_mean
from keras_convinit.lab.stories.results import Results, Run


def results_figure(results: Results) -> Figure:
    """One row of three panels for each story.

    Left the running training accuracy, then the size of the signal at initialization,
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
            look = style(number, _label(contender.label, runs))
            accuracies = [100 * running_mean(run.accuracies) for run in runs]
            draw(learning, WINDOW, accuracies, look)
            # At layer 0 stand the images, to which everything is relative.
            draw(signal, 0, [np.array([1.0, *r.signal], float) for r in runs], look)
            draw(error, 1, [np.array(r.error, float) for r in runs], look)
        unit = "layer" if story.watched == "activation" else story.watched
        furnish_learning(
            learning, f"Learning: {story.dataset}, mean and range over seeds"
        )
        furnish_signal(
            signal,
            "Before the first step: size of the signal",
            "RMS of activations,\nrelative to the images",
            unit,
        )
        furnish_signal(
            error,
            "... and of the error on its way back",
            "norm of the error signal,\nrelative to the last",
            unit,
        )
        handles, labels = learning.get_legend_handles_labels()
        row.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _label(label: str, runs: Sequence[Run]) -> str:
    diverged = sum(run.diverged for run in runs)
    if not runs:
        return f"{label} (no run yet)"
    return f"{label} ({diverged} of {len(runs)} diverged)" if diverged else label
