"""How curves of the lab are drawn: means over seeds with a band, for every eye."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from keras_convinit.lab.over_seeds import WINDOW, spread_of_curves

# Okabe and Ito 2008: told apart with every kind of color vision. Lines differ in
# their dashes too, and the later ones leave the earlier ones visible under them.
COLORS = ("#D55E00", "#E69F00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#000000")
DASHES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
# Which of the dashes each color has first; the next ones when it comes again.
FIRST_DASHES = (0, 0, 1, 2, 3, 0, 0)
WIDTHS = (2.0, 3.6, 2.0, 2.0, 2.0, 2.0, 2.0)


def style(number: int, label: str) -> dict[str, Any]:
    """Color, dashes and width of the curves of one contender.

    Args:
        number: Which of the contenders it is, from 0. Beyond seven, colors come again
            with other dashes.
        label: What the legend calls it.

    Returns:
        Arguments of `Axes.plot`.
    """
    rounds, kind = divmod(number, len(COLORS))
    return {
        "color": COLORS[kind],
        "linestyle": DASHES[(FIRST_DASHES[kind] + rounds) % len(DASHES)],
        "linewidth": WIDTHS[kind],
        "label": label,
    }


def draw(
    axes: Axes, first: int, curves: Sequence[np.ndarray], style: dict[str, Any]
) -> None:
    """The mean as a line, and a band from the lowest to the highest.

    Args:
        axes: Where.
        first: Where on the x axis the curves begin.
        curves: One for each seed.
        style: Of the line, see `style`.
    """
    mean, lowest, highest = spread_of_curves(curves)
    at = np.arange(first, first + len(mean))
    axes.plot(at, mean, **style)
    axes.fill_between(at, lowest, highest, color=style["color"], alpha=0.15, lw=0)


def furnish_learning(axes: Axes, title: str) -> None:
    """Axes of the running training accuracy, in percent, by step."""
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("optimization step")
    axes.set_ylabel(f"training accuracy, %\n(mean over {WINDOW} steps)")
    axes.set_xlim(left=0)
    axes.set_ylim(0, 100)
    furnish(axes)


def furnish_signal(axes: Axes, title: str, what: str, unit: str) -> None:
    """Axes of the size of something by depth, on a logarithmic scale.

    Args:
        axes: Which.
        title: Of them.
        what: What the size is that of.
        unit: What depth is counted in.
    """
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(unit)
    axes.set_ylabel(what)
    axes.set_yscale("log")
    axes.axhline(1, color="0.6", linewidth=0.8, zorder=0)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    furnish(axes)


def furnish(axes: Axes) -> None:
    """A grid, and no more frame than is needed."""
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
