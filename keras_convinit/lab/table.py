"""Results as a table for the terminal."""

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table

from keras_convinit.lab.results import Results
from keras_convinit.lab.story import Story
from keras_convinit.lab.summary import MILESTONE, Row, Spread, summarize


def results_table(results: Results) -> Group:
    """Each story with a row for each contender: mean, and lowest to highest seed."""
    return Group(*(_table(story, rows) for story, rows in summarize(results)))


def _table(story: Story, rows: list[Row]) -> Table:
    # No frame: so it fits into 80 columns.
    table = Table(
        title=f"{story.title}, {story.dataset}",
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        padding=0,
    )
    milestone = f"{100 * MILESTONE:.0f} %"
    table.add_column("", min_width=16)
    table.add_column("runs", justify="right", min_width=4)
    table.add_column("held-out\naccuracy, %", justify="right", min_width=21)
    table.add_column(
        f"steps to {milestone}\ntraining accuracy", justify="right", min_width=21
    )
    table.add_column("diverged", justify="right", min_width=10)
    for row in rows:
        table.add_row(
            row.label,
            str(row.runs),
            _spread(row.accuracy, 100, ".1f"),
            _steps(row),
            str(row.diverged) if row.runs else "-",
        )
    return table


def _spread(spread: Spread | None, factor: float, digits: str) -> str:
    if spread is None:
        return "-"
    mean, lowest, highest = (
        format(factor * value, digits)
        for value in (spread.mean, spread.lowest, spread.highest)
    )
    return f"{mean} ({lowest} to {highest})"


def _steps(row: Row) -> str:
    if not row.runs:
        return "-"
    if not row.reached:
        return "not reached"
    steps = _spread(row.steps, 1, ".0f")
    return steps if row.reached == row.runs else f"{steps}\nin {row.reached} runs"
