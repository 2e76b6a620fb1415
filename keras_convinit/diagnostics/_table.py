"""A signal report as text."""

import math
from collections.abc import Sequence

from keras_convinit._printable import printable
from keras_convinit.diagnostics.signal_row import SignalRow

WIDTH = 100
TYPE = 13

# Heading, width, and how to write a number of the row.
COLUMNS = (
    ("forward", 8, lambda row: _norm(row.forward_norm)),
    ("alpha", 5, lambda row: _ratio(row.alpha)),
    ("theory", 6, lambda row: _ratio(row.predicted_alpha)),
    ("error", 8, lambda row: _norm(row.error_norm)),
    ("beta", 5, lambda row: _ratio(row.beta)),
    ("theory", 6, lambda row: _ratio(row.predicted_beta)),
    ("weights", 7, lambda row: _short(row.weight_norm)),
    ("gradient", 8, lambda row: _norm(row.gradient_norm)),
    ("dead", 4, lambda row: _percent(row.dead_share)),
)


def text(rows: Sequence[SignalRow], verdict: str) -> str:
    """The verdict and a line for each row, at most 100 characters wide."""
    numbers = sum(width + 1 for _, width, _ in COLUMNS)
    paths = [printable(row.path) for row in rows]
    longest = max(map(len, paths), default=0)
    wide = min(max(longest, 5), WIDTH - TYPE - 1 - numbers)
    lines = [
        f"{'layer':{wide}} {'type':{TYPE}}"
        + "".join(f" {heading:>{width}}" for heading, width, _ in COLUMNS)
    ]
    lines.append("-" * len(lines[0]))
    for path, row in zip(paths, rows, strict=True):
        # The end of a path tells more than where it begins.
        shown = path if len(path) <= wide else f"~{path[1 - wide :]}"
        lines.append(
            f"{shown:{wide}} {printable(row.type)[:TYPE]:{TYPE}}"
            + "".join(f" {write(row):>{width}}" for _, width, write in COLUMNS)
        )
    return "\n".join([*_wrapped(verdict), "", *lines])


def cells(row: SignalRow) -> list[str]:
    """The row, without shortening names."""
    names = printable(row.path), printable(row.type)
    return [*names, *(write(row) for *_, write in COLUMNS)]


def headings() -> list[str]:
    """What the columns are called."""
    return ["layer", "type", *(heading for heading, *_ in COLUMNS)]


def _wrapped(verdict: str) -> list[str]:
    lines = [""]
    for part in verdict.split("; "):
        if lines[-1] and len(lines[-1]) + len(part) + 2 > WIDTH:
            lines.append("")
        lines[-1] += f"; {part}" if lines[-1] else part
    return lines


def _norm(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2e}" if math.isfinite(value) and value else f"{value:g}"


def _short(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if len(f"{value:.3g}") < 8 else f"{value:.1e}"


def _ratio(value: float | None) -> str:
    if value is None:
        return "-"
    digits = f"{value:.2f}"
    return digits if len(digits) < 6 and (value >= 0.1 or not value) else f"{value:.0e}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f}%"
