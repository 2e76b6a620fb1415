"""Norms by depth: activations and gradients, dense and residual networks."""

from collections.abc import Callable, Sequence

import numpy as np
from charts import legend
from experiment import Row
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from runs import of

from keras_convinit.lab.curves import furnish

PANELS = {
    ("dense", "forward"): "Dense layers, activations",
    ("dense", "backward"): "Dense layers, gradients",
    ("residual", "forward"): "Residual blocks, activations",
    ("residual", "backward"): "Residual blocks, gradients",
}
# Of Okabe and Ito's colors, which all readers can tell apart.
COLORS = ("#D55E00", "#0072B2", "#009E73")
DASHES = ("-", "--")


def norm_panels(
    rows: Sequence[Row], predicted: Callable[[str, str], np.ndarray]
) -> Figure:
    """Draws four panels.

    Args:
        rows: What was measured, of one or two widths and up to three starts. Lines are
            means over seeds, bands reach from the lowest to the highest.
        predicted: Maps a network and a direction to the ratios that theory expects.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(10, 7.5), layout="constrained")
    axes = figure.subplots(2, 2)
    for panel, ((network, direction), title) in zip(
        axes.flat, PANELS.items(), strict=True
    ):
        _curves(panel, of(rows, network=network), direction)
        expected = predicted(network, direction)
        depth = np.arange(1, 1 + len(expected))
        panel.plot(depth, expected, ":", color="black", linewidth=2, label="predicted")
        panel.set_yscale("log")
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("layer" if network == "dense" else "block")
        end = "of the input" if direction == "forward" else "at the output"
        panel.set_ylabel(f"norm / norm {end}")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        furnish(panel)
    legend(figure, axes[0, 0], columns=3)
    return figure


def _curves(panel: Axes, rows: Sequence[Row], direction: str) -> None:
    starts = list(dict.fromkeys(row["case"]["start"] for row in rows))
    widths = list(dict.fromkeys(row["case"]["width"] for row in rows))
    for start, width in dict.fromkeys(
        (row["case"]["start"], row["case"]["width"]) for row in rows
    ):
        some = of(rows, start=start, width=width)
        ratios = np.array([row[direction]["mean"] for row in some])
        depth = np.arange(1, 1 + ratios.shape[1])
        color = COLORS[starts.index(start)]
        style = DASHES[widths.index(width) % len(DASHES)]
        label = f"{start}, width about {width}"
        panel.plot(depth, ratios.mean(axis=0), style, color=color, label=label)
        low, high = ratios.min(axis=0), ratios.max(axis=0)
        panel.fill_between(depth, low, high, color=color, alpha=0.12, lw=0)
