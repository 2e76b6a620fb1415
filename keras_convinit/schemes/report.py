"""The report of an initialization: plain data and a table."""

import dataclasses
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from keras import ops

from keras_convinit._printable import escape_unprintable
from keras_convinit._types import Tensor

WIDTH = 100

# The rule of what has the value that a new layer of its kind would have.
AS_ITS_LAYER = "as its layer starts"
# Of a kernel about which nothing else is known.
UNKNOWN_KERNEL = "as its unknown layer starts"


def std_of(value: Tensor) -> float:
    """Returns the standard deviation of all entries of a tensor, in float32."""
    return float(ops.convert_to_numpy(ops.std(ops.cast(value, "float32"))))


@dataclasses.dataclass(frozen=True)
class Row:
    """The new value of one variable.

    Args:
        path: The path of the variable.
        layer: The name of the class of its layer.
        fan_in: Number of weights that meet in an output unit; None for a variable that
            is no kernel.
        fan_out: Number of weights that leave an input unit; None for a variable that is
            no kernel.
        rule: The name of the rule.
        target_std: The standard deviation that the rule aims at, for a gain that of the
            effective kernel; None if the rule states none.
        measured_std: The standard deviation of the new value, also of a dry run.
        num_rescalings: Number of times that data rescaled it; None without data.
        output_std_before: Standard deviation of the outputs of its layer, before the
            activation, with the kernel as drawn.
        output_std_after: The same with the new value.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> row = keras_convinit.initialize(model, "he_normal").rows[0]
        >>> row.fan_in, row.target_std
        (8, 0.5)
    """

    path: str
    layer: str
    fan_in: float | None
    fan_out: float | None
    rule: str
    target_std: float | None
    measured_std: float | None
    num_rescalings: int | None = None
    output_std_before: float | None = None
    output_std_after: float | None = None


@dataclasses.dataclass(frozen=True)
class Skipped:
    """A variable that kept its value.

    Args:
        path: Its path.
        reason: The reason.

    Example:
        >>> dense = keras.layers.Dense(4, trainable=False)
        >>> model = keras.Sequential([keras.Input((8,)), dense, keras.layers.Dense(2)])
        >>> keras_convinit.initialize(model, "he_normal").skipped[0].reason
        'its layer is frozen'
    """

    path: str
    reason: str


@dataclasses.dataclass(frozen=True)
class InitializationReport:
    """The report of an initialization; `str` of it is a table.

    Args:
        scheme: The name of the scheme; of several, joined by " + ".
        rows: A row for each variable that was set, or would have been in a dry run.
        skipped: The variables that kept their values, with the reason.
        notes: Doubts, such as a shared layer whose calls ask for different rules.
        dry_run: Whether nothing was assigned.
        history: Measurements of each iteration of a search, by name.
        interrupted: Whether a search was ended from the keyboard.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> report = keras_convinit.initialize(model, "he_normal", dry_run=True)
        >>> report.scheme, report.dry_run
        ('HeNormal', True)
    """

    scheme: str
    rows: tuple[Row, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    dry_run: bool = False
    history: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    interrupted: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as dictionaries and lists, which `json.dumps` takes."""
        values = dataclasses.asdict(self)
        return {
            **values,
            **{name: list(values[name]) for name in ("rows", "skipped", "notes")},
            "history": {name: list(found) for name, found in self.history.items()},
        }

    def __add__(self, other: "InitializationReport") -> "InitializationReport":
        """Joins the reports of two initializations in a row: the later rows count."""
        later = {_variable(row) for row in other.rows}
        rows = tuple(row for row in self.rows if _variable(row) not in later)
        touched = later | {_variable(row) for row in rows}
        left = {one.path: one for one in (*self.skipped, *other.skipped)}
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
        """Returns a table of 100 columns, or more for a long rule."""
        title = f"Initialization by {self.scheme}"
        if self.dry_run:
            title += " (dry run: nothing was changed)"
        named = (row for row in self.rows if row.rule != AS_ITS_LAYER)
        table = [escape_unprintable(title), *_table(named)]
        lines = []
        others = [row.path for row in self.rows if row.rule == AS_ITS_LAYER]
        if others:
            lines.append(f"{len(others)} more variables start as their layers say.")
        if self.skipped:
            lines.append("Left alone:")
            lines += [f"  {one.path}: {one.reason}" for one in self.skipped]
        if self.notes:
            lines.append("Notes:")
            lines += [f"  {note}" for note in self.notes]
        for line in lines:
            table += textwrap.wrap(
                escape_unprintable(line), WIDTH, subsequent_indent="    "
            )
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
    ("variable", 25, "end", "path"),
    ("layer", 12, "end", "layer"),
    ("rule", 26, "beginning", "rule"),
    ("target", 6, "number", "target_std"),
    ("std", 6, "number", "measured_std"),
    ("tries", 5, "number", "num_rescalings"),
    ("before", 6, "number", "output_std_before"),
    ("after", 6, "number", "output_std_after"),
)


def _variable(row: Row) -> str:
    """Returns the path of the variable, of which a row may be about one block."""
    return row.path.partition("[")[0]


def _table(rows: Iterable[Row]) -> list[str]:
    rows = list(rows)
    measured = any(row.output_std_before is not None for row in rows)
    columns: tuple[tuple[str, int, str, str], ...]
    columns = WITH_OUTPUTS if measured else COLUMNS
    # What a rule says of an activation may stand at its end.
    longest = max((len(_cell(row.rule)) for row in rows), default=0)
    columns = tuple(
        (name, max(width, longest) if field == "rule" else width, kind, field)
        for name, width, kind, field in columns
    )
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
    return escape_unprintable(value) if isinstance(value, str) else _number(value)


def _number(value: float | None) -> str:
    return (
        "" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    )
