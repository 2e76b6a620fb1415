"""Results as a table for the terminal."""

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from keras_convinit.lab.stories.results import Results
from keras_convinit.lab.stories.summary import MILESTONE, Row, summarize


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
                row.accuracy.text(100, ".1f") if row.accuracy else "-",
                _steps(row),
                str(row.diverged) if row.runs else "-",
            )
        table.add_section()
    return table


def _steps(row: Row) -> str:
    if not row.runs:
        return "-"
    if row.steps is None:
        return "not reached"
    steps = row.steps.text(1, ".0f")
    return steps if row.reached == row.runs else f"{steps}\nin {row.reached} runs"
