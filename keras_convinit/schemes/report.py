"""What was set, to what, and what was left alone: plain data and a table."""

import dataclasses
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from keras_convinit._printable import printable

WIDTH = 100

# The rule of what has the value that a new layer of its kind would have.
AS_ITS_LAYER = "as its layer starts"


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
        measured_std: The standard deviation that came out, of a dry run that would.
        tries: How often it was scaled by what came out of its layer, of schemes that
            look at data.
        output_std_before: The standard deviation of the layer's outputs, before its
            activation, when the kernel was drawn.
        output_std_after: The same in the end.
    """

    path: str
    layer: str
    fan_in: float | None
    fan_out: float | None
    rule: str
    target_std: float | None
    measured_std: float | None
    tries: int | None = None
    output_std_before: float | None = None
    output_std_after: float | None = None


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
        history: What was measured in each iteration, by name, of schemes that search.
        interrupted: Whether a search was ended from the keyboard.
    """

    scheme: str
    rows: tuple[Row, ...]
    left_alone: tuple[LeftAlone, ...] = ()
    notes: tuple[str, ...] = ()
    dry_run: bool = False
    history: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    interrupted: bool = False

    def to_dict(self) -> dict[str, Any]:
        """All of it in dictionaries and lists, as JSON takes them."""
        values = dataclasses.asdict(self)
        return {
            **values,
            **{name: list(values[name]) for name in ("rows", "left_alone", "notes")},
            "history": {name: list(found) for name, found in self.history.items()},
        }

    def __add__(self, other: "InitializationReport") -> "InitializationReport":
        """The report of one initialisation after the other: the later one counts."""
        later = {_variable(row) for row in other.rows}
        rows = tuple(row for row in self.rows if _variable(row) not in later)
        touched = later | {_variable(row) for row in rows}
        left = {one.path: one for one in (*self.left_alone, *other.left_alone)}
        return InitializationReport(
            f"{self.scheme} + {other.scheme}",
            rows + other.rows,
            tuple(one for path, one in left.items() if path not in touched),
            tuple(dict.fromkeys(self.notes + other.notes)),
            self.dry_run or other.dry_run,
            {**self.history, **other.history},
            self.interrupted or other.interrupted,
        )

    def __str__(self) -> str:
        """A table of at most 100 columns."""
        title = f"Initialisation by {self.scheme}"
        if self.dry_run:
            title += " (dry run: nothing was changed)"
        named = (row for row in self.rows if row.rule != AS_ITS_LAYER)
        table = [printable(title), *_table(named)]
        lines = []
        others = [row.path for row in self.rows if row.rule == AS_ITS_LAYER]
        if others:
            lines.append(f"{len(others)} more variables start as their layers say.")
        if self.left_alone:
            lines.append("Left alone:")
            lines += [f"  {one.path}: {one.reason}" for one in self.left_alone]
        if self.notes:
            lines.append("Notes:")
            lines += [f"  {note}" for note in self.notes]
        for line in lines:
            table += textwrap.wrap(printable(line), WIDTH, subsequent_indent="    ")
        return "\n".join(table)


# Of a path the end tells what it is, of a rule the beginning.
COLUMNS = (
    ("variable", 27, "end", "path"),
    ("layer", 12, "end", "layer"),
    ("rule", 30, "beginning", "rule"),
    ("fan in", 6, "number", "fan_in"),
    ("fan out", 7, "number", "fan_out"),
    ("target", 6, "number", "target_std"),
    ("std", 6, "number", "measured_std"),
)
# Where outputs were measured: their standard deviation before and after.
WITH_OUTPUTS = (
    ("variable", 27, "end", "path"),
    ("layer", 12, "end", "layer"),
    ("rule", 24, "beginning", "rule"),
    ("target", 6, "number", "target_std"),
    ("std", 6, "number", "measured_std"),
    ("tries", 5, "number", "tries"),
    ("before", 6, "number", "output_std_before"),
    ("after", 6, "number", "output_std_after"),
)


def _variable(row: Row) -> str:
    """The path of the variable, of which a row may be about one block."""
    return row.path.partition("[")[0]


def _table(rows: Iterable[Row]) -> list[str]:
    rows = list(rows)
    measured = any(row.output_std_before is not None for row in rows)
    columns = WITH_OUTPUTS if measured else COLUMNS
    lines = [[(name, kind, width) for name, width, kind, _ in columns]]
    for row in rows:
        lines.append(
            [(getattr(row, field), kind, width) for _, width, kind, field in columns]
        )
    return [
        " ".join(
            _fitted(_cell(value), width, kind) for value, kind, width in line
        ).rstrip()
        for line in lines
    ]


def _fitted(text: str, width: int, kind: str) -> str:
    if kind == "number":
        return text.rjust(width)
    if len(text) <= width:
        return text.ljust(width)
    return "…" + text[1 - width :] if kind == "end" else text[: width - 1] + "…"


def _cell(value: str | float | None) -> str:
    return printable(value) if isinstance(value, str) else _number(value)


def _number(value: float | None) -> str:
    return (
        "" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    )
