"""A ranking as a table, for the terminal and for a page."""

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from keras_convinit._printable import escape_unprintable
from keras_convinit.lab.comparison.ranking import Ranking, Row


def headings(threshold: float) -> tuple[str, ...]:
    """The columns, each a word or two on two lines."""
    return (
        "",
        "scheme",
        "rate",
        "validation\naccuracy, %",
        f"steps to\n{100 * threshold:g} %",
        "diverged",
        "init,\ns",
        "train,\ns",
    )


def cells(row: Row, place: int | None = None) -> tuple[str, ...]:
    """A row as text, one for each column.

    Args:
        row: The row.
        place: Of its scheme, from 1; None for none.
    """
    first = "" if place is None or row.accuracy is None else str(place)
    name = first, row.scheme, f"{row.learning_rate:g}"
    if row.accuracy is None:
        return (*name, "no run yet", "", "", "", "")
    if row.refused == row.runs:
        return ("", row.scheme, "", "refused", "", "", "", "")
    steps = "never"
    if row.steps is not None:
        steps = f"{row.steps.mean:.0f}"
        if row.reached < row.runs:
            steps += f" ({row.reached} of {row.runs})"
    failed = f"{row.diverged} of {row.runs}"
    if row.refused:
        failed += f", {row.refused} refused"
    return (
        *name,
        row.accuracy.text(100, ".1f"),
        steps,
        failed,
        f"{row.initialization:.1f}",
        f"{row.training:.1f}",
    )


def rows_of(ranking: Ranking) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """The texts of both tables: the best row of each scheme, and the others."""
    best = [cells(row, place) for place, row in enumerate(ranking.best, 1)]
    others = [cells(row) for row in ranking.others if not _all_refused(row)]
    return best, others


def refusals(ranking: Ranking) -> list[tuple[str, str]]:
    """Each scheme that refused the model, and why."""
    return [
        (row.scheme, row.refusal) for row in ranking.best if row.refusal is not None
    ]


def ranking_table(ranking: Ranking, threshold: float) -> Group:
    """Both tables for a terminal of 80 columns or more, and why schemes refused."""
    best, others = rows_of(ranking)
    shown = [_table("Each scheme at its best learning rate", best, threshold)]
    if others:
        shown.append(_table("The other learning rates", others, threshold))
    reasons = [f"{scheme} refused: {reason}" for scheme, reason in refusals(ranking)]
    return Group(*shown, *(Text(escape_unprintable(reason)) for reason in reasons))


def _table(title: str, rows: list[tuple[str, ...]], threshold: float) -> Table:
    # No frame, and little between columns: so it fits into 80.
    table = Table(
        box=SIMPLE_HEAD,
        padding=0,
        show_edge=False,
        title=f"\n{title}",
        title_justify="left",
        title_style="bold",
    )
    for name in headings(threshold):
        if name == "scheme":
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        # Texts, not words: rich reads markup and names of emoji in those.
        table.add_row(*(Text(escape_unprintable(cell)) for cell in row))
    return table


def _all_refused(row: Row) -> bool:
    return 0 < row.runs == row.refused
