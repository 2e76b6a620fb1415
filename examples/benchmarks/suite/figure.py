"""Draws all ratios, line by line, on logarithmic axes: one near 1, one wide."""

import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from examples.benchmarks.suite.measurements import BACKENDS, NAMES
from examples.benchmarks.suite.reading import Results
from examples.benchmarks.suite.sections import SECTIONS

# Okabe and Ito's colors, which all readers can tell apart; shapes for those in print.
LOOKS = {"tensorflow": ("#D55E00", "o"), "jax": ("#0072B2", "s")}
LOOKS["torch"] = ("#009E73", "^")
SPREAD = 0.22
FINE = (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.75, 2, 2.5, 3, 4, 5)
COARSE = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 4, 5, 10, 20, 50, 100)


def draw(results: Results, path: pathlib.Path) -> None:
    """Draws medians with their quartiles, and limits as short strokes.

    Args:
        results: What was measured.
        path: Where to.
    """
    panels = [
        [
            (section, lines)
            for section in SECTIONS
            if section.near_one is near
            and (lines := [*filter(results.tried, section.lines)])
        ]
        for near in (True, False)
    ]
    # One more than there are, for a panel of which nothing is known yet.
    counts = [1 + sum(1 + len(lines) for _, lines in panel) for panel in panels]
    figure, places = plt.subplots(
        2,
        figsize=(11, 0.27 * sum(counts) + 1.5),
        height_ratios=counts,
        constrained_layout=True,
    )
    for axes, sections in zip(places, panels, strict=True):
        _panel(axes, results, sections)
    places[1].set_xlabel(
        "time / time of what it is compared with (medians and quartiles of pairs)"
    )
    figure.legend(
        handles=_handles(results), loc="outside upper center", ncols=5, frameon=False
    )
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _panel(axes, results, sections):
    axes.axvline(1, color="black", linewidth=1)
    labels = []
    for section, lines in sections:
        labels.append(section.title)
        for line in lines:
            _line(axes, results, line, -len(labels))
            labels.append(f"{line.what} / {line.against}")
    axes.set_yticks(
        -np.arange(len(labels)), [label.replace("`", "") for label in labels]
    )
    titles = {section.title.replace("`", "") for section, _ in sections}
    for label in axes.get_yticklabels():
        label.set_weight("bold" if label.get_text() in titles else "normal")
    axes.set_ylim(-len(labels) + 0.3, 0.7)
    axes.set_xscale("log")
    # Room for something on both sides of 1, whatever was measured.
    low, high = axes.get_xlim()
    low, high = min(low, 0.9), max(high, 1.2)
    axes.set_xlim(low, high)
    ticks = FINE if high < 4 * low else COARSE
    shown = [tick for tick in ticks if low <= tick <= high]
    axes.set_xticks(shown, [f"{tick:g}" for tick in shown])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="x", alpha=0.3)
    axes.tick_params(axis="y", length=0)


def _line(axes, results, line, height):
    if line.limit is not None:
        stroke = {"color": "0.35", "linewidth": 2}
        axes.plot([line.limit] * 2, [height - 0.42, height + 0.42], **stroke)
    for index, backend in enumerate(BACKENDS):
        ratio = results.ratio(line, backend)
        if ratio is None:
            continue
        color, shape = LOOKS[backend]
        axes.errorbar(
            ratio.wall,
            height + SPREAD * (1 - index),
            xerr=[[ratio.wall - ratio.low], [ratio.high - ratio.wall]],
            color=color,
            marker=shape,
            markersize=5,
            markerfacecolor="white" if line.peer else color,
            elinewidth=1.2,
            capsize=2,
        )


def _handles(results):
    """What colors, shapes and strokes mean."""
    backends = [
        Line2D([], [], color=color, marker=shape, label=NAMES[backend])
        for backend, (color, shape) in LOOKS.items()
        if backend in results.backends
    ]
    empty = Line2D([], [], color="0.35", marker="o", linestyle="", label="of others")
    empty.set_markerfacecolor("white")
    limit = Line2D([], [], color="0.35", marker="|", linestyle="", label="limit")
    limit.set_markersize(12)
    limit.set_markeredgewidth(2)
    return [*backends, empty, limit]
