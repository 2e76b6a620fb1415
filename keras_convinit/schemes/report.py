"""What was set, to what, and what was left alone: plain data and a table."""

import dataclasses
import textwrap
from collections.abc import Iterable
from typing import Any

WIDTH = 100


@dataclasses.dataclass(frozen=True)
class Row:
    """What happened to one variable.

    Args:
        path: The variable's path.
        layer: The class of its layer.
        fan_in: Weights that meet in an output unit; None for what is no kernel.
        fan_out: Weights that leave an input unit; None for what is no kernel.
        rule: The rule that gave it its value.
        target_std: The standard deviation that the rule aims at, for a gain that of the
            effective kernel's weights; None where the rule states none.
        measured_std: The standard deviation that came out.
    """

    path: str
    layer: str
    fan_in: float | None
    fan_out: float | None
    rule: str
    target_std: float | None
    measured_std: float | None


@dataclasses.dataclass(frozen=True)
class LeftAlone:
    """A variable or layer that kept its values.

    Args:
        path: Its path.
        reason: Why.
    """

    path: str
    reason: str


@dataclasses.dataclass(frozen=True)
class InitializationReport:
    """What an initialisation did.

    Args:
        scheme: Name of the scheme, of several joined by " + ".
        rows: One for each variable that was set, or would have been.
        left_alone: What was not, and why.
        notes: What was in doubt, such as a shared layer whose calls ask for different
            rules.
        dry_run: Whether the model was left as it is.
    """

    scheme: str
    rows: tuple[Row, ...]
    left_alone: tuple[LeftAlone, ...] = ()
    notes: tuple[str, ...] = ()
    dry_run: bool = False

    def to_dict(self) -> dict[str, Any]:
        """All of it in dictionaries and lists, as JSON takes them."""
        values = dataclasses.asdict(self)
        return {
            **values,
            **{name: list(values[name]) for name in ("rows", "left_alone", "notes")},
        }

    def __add__(self, other: "InitializationReport") -> "InitializationReport":
        """The report of one initialisation after the other: the later one counts."""
        later = {row.path for row in other.rows}
        rows = tuple(row for row in self.rows if row.path not in later)
        touched = later | {row.path for row in rows}
        left = {one.path: one for one in (*self.left_alone, *other.left_alone)}
        return InitializationReport(
            f"{self.scheme} + {other.scheme}",
            rows + other.rows,
            tuple(one for path, one in left.items() if path not in touched),
            tuple(dict.fromkeys(self.notes + other.notes)),
            self.dry_run or other.dry_run,
        )

    def __str__(self) -> str:
        """A table of at most 100 columns."""
        title = f"Initialisation by {self.scheme}"
        if self.dry_run:
            title += " (dry run: nothing was changed)"
        kernels = [row for row in self.rows if row.fan_in is not None]
        table = [title, *_table(kernels)]
        lines = []
        others = [row.path for row in self.rows if row.fan_in is None]
        if others:
            lines.append(f"{len(others)} more variables start as their layers say.")
        if self.left_alone:
            lines.append("Left alone:")
            lines += [f"  {one.path}: {one.reason}" for one in self.left_alone]
        if self.notes:
            lines.append("Notes:")
            lines += [f"  {note}" for note in self.notes]
        for line in lines:
            table += textwrap.wrap(line, WIDTH, subsequent_indent="    ")
        return "\n".join(table)


# Of a path the end tells what it is, of a rule the beginning.
COLUMNS = (
    ("variable", 27, "end"),
    ("layer", 12, "end"),
    ("rule", 30, "beginning"),
    ("fan in", 6, "number"),
    ("fan out", 7, "number"),
    ("target", 6, "number"),
    ("std", 6, "number"),
)


def _table(rows: Iterable[Row]) -> list[str]:
    header = [name for name, _, _ in COLUMNS]
    cells = [
        [
            row.path,
            row.layer,
            row.rule,
            _number(row.fan_in),
            _number(row.fan_out),
            _number(row.target_std),
            _number(row.measured_std),
        ]
        for row in rows
    ]
    return [
        " ".join(
            _fitted(text, width, kind)
            for text, (_, width, kind) in zip(line, COLUMNS, strict=True)
        ).rstrip()
        for line in [header, *cells]
    ]


def _fitted(text: str, width: int, kind: str) -> str:
    if kind == "number":
        return text.rjust(width)
    if len(text) <= width:
        return text.ljust(width)
    return "…" + text[1 - width :] if kind == "end" else text[: width - 1] + "…"


def _number(value: float | None) -> str:
    return (
        "" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    )
