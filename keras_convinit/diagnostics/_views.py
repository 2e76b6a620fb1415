"""A signal report as text, as HTML and as a figure."""

import html
import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_convinit._printable import escape_unprintable
from keras_convinit.analysis import NORMALIZATIONS
from keras_convinit.diagnostics.signal_issues import SignalIssue
from keras_convinit.diagnostics.signal_row import SignalRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 100
TYPE_WIDTH = 13

# Heading, width, and how to write a number of the row.
COLUMNS = (
    ("forward", 8, lambda row: _write_norm(row.forward_norm)),
    ("alpha", 5, lambda row: _write_ratio(row.alpha)),
    ("theory", 6, lambda row: _write_ratio(row.predicted_alpha)),
    ("error", 8, lambda row: _write_norm(row.error_norm)),
    ("beta", 5, lambda row: _write_ratio(row.beta)),
    ("theory", 6, lambda row: _write_ratio(row.predicted_beta)),
    ("weights", 7, lambda row: _write_short(row.weight_norm)),
    ("gradient", 8, lambda row: _write_norm(row.gradient_norm)),
    ("dead", 4, lambda row: _write_percent(row.dead_fraction)),
)

# Okabe and Ito 2008: told apart with every kind of color vision.
MEASURED, PREDICTED, ISSUE = "#0072B2", "#000000", "#D55E00"


def render_text(rows: Sequence[SignalRow], verdict: str) -> str:
    """Writes the verdict and a line for each row, at most 100 characters wide."""
    numbers = sum(width + 1 for _, width, _ in COLUMNS)
    paths = [escape_unprintable(row.path) for row in rows]
    longest = max(map(len, paths), default=0)
    wide = min(max(longest, 5), WIDTH - TYPE_WIDTH - 1 - numbers)
    lines = [
        f"{'layer':{wide}} {'type':{TYPE_WIDTH}}"
        + "".join(f" {heading:>{width}}" for heading, width, _ in COLUMNS)
    ]
    lines.append("-" * len(lines[0]))
    for path, row in zip(paths, rows, strict=True):
        # The end of a path tells more than where it begins.
        shown = path if len(path) <= wide else f"~{path[1 - wide :]}"
        lines.append(
            f"{shown:{wide}} {escape_unprintable(row.type)[:TYPE_WIDTH]:{TYPE_WIDTH}}"
            + "".join(f" {write(row):>{width}}" for _, width, write in COLUMNS)
        )
    return "\n".join([*_wrap(verdict), "", *lines])


def render_html(
    rows: Sequence[SignalRow], verdict: str, issues: Iterable[SignalIssue]
) -> str:
    """Writes the verdict and a table, with names in full and issues in color."""
    marked = {issue.row for issue in issues}
    headings = "layer", "type", *(heading for heading, *_ in COLUMNS)
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    lines = []
    for index, row in enumerate(rows):
        style = f' style="color:{ISSUE}"' if index in marked else ""
        names = escape_unprintable(row.path), escape_unprintable(row.type)
        cells = "".join(
            f"<td>{html.escape(cell)}</td>"
            for cell in (*names, *(write(row) for *_, write in COLUMNS))
        )
        lines.append(f"<tr{style}>{cells}</tr>")
    return (
        f"<p><b>{html.escape(verdict)}</b></p><table><thead><tr>{head}</tr>"
        f"</thead><tbody>{''.join(lines)}</tbody></table>"
    )


def _wrap(verdict: str) -> list[str]:
    lines = [""]
    for part in verdict.split("; "):
        if lines[-1] and len(lines[-1]) + len(part) + 2 > WIDTH:
            lines.append("")
        lines[-1] += f"; {part}" if lines[-1] else part
    return lines


def _write_norm(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2e}" if math.isfinite(value) and value else f"{value:g}"


def _write_short(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if len(f"{value:.3g}") < 8 else f"{value:.1e}"


def _write_ratio(value: float | None) -> str:
    if value is None:
        return "-"
    digits = f"{value:.2f}"
    return digits if len(digits) < 6 and (value >= 0.1 or not value) else f"{value:.0e}"


def _write_percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f}%"


def draw_figure(
    rows: Sequence[SignalRow],
    inputs: Sequence[float],
    verdict: str,
    issues: Sequence[SignalIssue],
) -> "Figure":
    """Draws two panels: norms of the signal above, of the error signal below.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "`plot` needs matplotlib: pip install matplotlib"
        ) from error
    count = len(rows)
    width = min(7.0 + count / 100, 11.0)
    # Without pyplot: no window system is asked for, no state is left behind.
    figure = Figure(figsize=(width, 6.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    title = "\n".join(textwrap.wrap(verdict, 78, max_lines=3, placeholder=" ..."))
    # A dollar sign in a name is no formula.
    figure.suptitle(title, fontsize=10, fontweight="bold", parse_math=False)
    _draw(above, [r.forward_norm for r in rows], predict_forward_norms(rows, inputs))
    _draw(below, [r.error_norm for r in rows], predict_error_norms(rows))
    above.set_ylabel("norm of the output\nat a position")
    below.set_ylabel("norm of the error signal\nof a sample")
    below.set_xlabel("layer, in order of execution")
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes, direction in ((above, "forward"), (below, "backward")):
        _mark(axes, [i for i in issues if i.direction == direction], count)
    above.legend(loc="best", frameon=False, fontsize=9)
    return figure


def predict_forward_norms(
    rows: Sequence[SignalRow], inputs: Sequence[float]
) -> list[float | None]:
    """Multiplies the predicted ratios, from the inputs of the model on.

    Where there is no prediction the measured ratio is taken. The outputs of a
    normalization depend on its weights alone, so the line starts anew there.
    """
    line: list[float | None] = []
    for row in rows:
        ratio = row.alpha if row.predicted_alpha is None else row.predicted_alpha
        norms = [r.forward_norm for r in rows] if _is_normalization(row) else line
        before = [norms[i] if i >= 0 else inputs[-1 - i] for i in row.inputs]
        if row.factors is not None and None not in before:
            # The predicted ratio is for inputs as they were measured; for those that
            # are predicted it is another.
            parts = zip(row.factors, before, strict=True)
            line.append(math.hypot(*(f * b for f, b in parts if b is not None)))
            continue
        line.append(_multiply(ratio, before, row.forward_norm))
    return line


def predict_error_norms(rows: Sequence[SignalRow]) -> list[float | None]:
    """Multiplies the predicted ratios, from the outputs of the model back."""
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
        line[index] = _multiply(ratio, behind, row.error_norm)
    return line


def _is_normalization(row: SignalRow) -> bool:
    # A row has no layer; classes of somebody's own are named after Keras'.
    return row.type.endswith(tuple(layer.__name__ for layer in NORMALIZATIONS))


def _multiply(
    ratio: float | None, parts: Sequence[float | None], measured: float
) -> float | None:
    if ratio is None or not parts:
        return measured if math.isfinite(measured) else None
    if any(part is None for part in parts):
        return None
    return ratio * math.hypot(*(part for part in parts if part is not None))


def _draw(axes: "Axes", norms: list[float], line: list[float | None]) -> None:
    at = np.arange(1, len(norms) + 1)
    size = 6.0 if len(norms) <= 40 else 3.0 if len(norms) <= 300 else 1.8
    points: dict[str, Any] = {"ms": size, "mew": 0, "color": MEASURED}
    axes.plot(at, _mask_nonpositive(norms), "o", label="measured", **points)
    axes.plot(at, _mask_nonpositive(line), color=PREDICTED, lw=1.0, label="predicted")
    axes.set_yscale("log")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _mask_nonpositive(values: Sequence[float | None]) -> np.ndarray:
    array = np.array([np.nan if v is None else v for v in values], float)
    return np.where(np.isfinite(array) & (array > 0), array, np.nan)


def _mark(axes: "Axes", issues: Sequence[SignalIssue], count: int) -> None:
    for issue in issues:
        axes.axvline(issue.row + 1, color=ISSUE, lw=1.2, zorder=0)
        if issue.kind == "dead":
            continue
        left = issue.row < count / 2
        axes.annotate(
            f"{issue.kind}: {escape_unprintable(issue.path)}",
            (issue.row + 1, 0.97),
            xycoords=("data", "axes fraction"),
            xytext=(4 if left else -4, 0),
            textcoords="offset points",
            ha="left" if left else "right",
            va="top",
            fontsize=8,
            color=ISSUE,
            parse_math=False,
        )
