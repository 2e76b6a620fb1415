"""Draws norms by depth: activations and gradients, dense and residual networks."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

PANELS = {
    ("dense", "forward"): "Dense layers, activations",
    ("dense", "backward"): "Dense layers, gradients",
    ("residual", "forward"): "Residual blocks, activations",
    ("residual", "backward"): "Residual blocks, gradients",
}
# Okabe and Ito's colours, which all readers can tell apart.
COLORS = ("#D55E00", "#0072B2", "#009E73")
STYLES = ("-", "--")


def draw(curves, predicted, path):
    """Draws four panels into a file.

    Args:
        curves: What was measured, of one or two widths and up to three starts.
        predicted: Maps a network and a direction to the ratios that theory expects.
        path: Where to.
    """
    figure, panels = plt.subplots(2, 2, figsize=(10, 7), constrained_layout=True)
    for panel, ((network, direction), title) in zip(
        panels.flat, PANELS.items(), strict=True
    ):
        shown = [c for c in curves if (c.network, c.direction) == (network, direction)]
        _curves(panel, shown)
        expected = predicted(network, direction)
        depth = np.arange(1, 1 + len(expected))
        panel.plot(depth, expected, ":", color="black", linewidth=2, label="predicted")
        panel.set_yscale("log")
        panel.set_title(title)
        panel.set_xlabel("layer" if network == "dense" else "block")
        end = "of the input" if direction == "forward" else "at the output"
        panel.set_ylabel(f"norm / norm {end}")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.grid(alpha=0.3)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _curves(panel, curves):
    starts = list(dict.fromkeys(curve.start for curve in curves))
    widths = list(dict.fromkeys(curve.width for curve in curves))
    for curve in curves:
        depth = np.arange(1, 1 + len(curve.mean))
        mean, deviation = np.array(curve.mean), np.array(curve.deviation)
        color = COLORS[starts.index(curve.start)]
        style = STYLES[widths.index(curve.width)]
        label = f"{curve.start}, width about {curve.width}"
        panel.plot(depth, mean, style, color=color, label=label)
        # On a logarithmic axis a band must not reach zero.
        low = np.maximum(mean - deviation, mean / 10)
        band = {"color": color, "alpha": 0.12, "linewidth": 0}
        panel.fill_between(depth, low, mean + deviation, **band)
