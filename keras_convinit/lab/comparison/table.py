"""Results as a table for the terminal."""

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from keras_convinit.lab.comparison.results import Results
from keras_convinit.lab.comparison.summary import MILESTONE, Row, Spread, summarize


def results_table(results: Results) -> Table:
    """A row for each contender under its story: mean, and lowest to highest seed."""
    # No frame: so it fits into 80 columns.
    table = Table(box=SIMPLE_HEAD, padding=0)
    milestone = f"{100 * MILESTONE:.0f} %"
    table.add_column("", width=24)
    table.add_column("runs", justify="right", min_width=4)
    table.add_column("held-out\naccuracy, %", justify="right", min_width=20)
    table.add_column(
        f"steps to {milestone}\ntraining accuracy", justify="right", min_width=18
    )
    table.add_column("diverged", justify="right", min_width=9)
    for story, rows in summarize(results):
        table.add_row(f"[bold]{escape(f'{story.title}, {story.dataset}')}[/bold]")
        for row in rows:
            table.add_row(
                f"  {escape(row.label)}",
                str(row.runs),
                _spread(row.accuracy, 100, ".1f"),
                _steps(row),
                str(row.diverged) if row.runs else "-",
            )
        table.add_section()
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
