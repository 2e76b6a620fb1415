"""The command line that the experiments of this folder share."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiment import AbstractExperiment, Case, Row, Table
from results import Results, whole_seeds
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from keras_convinit._interruption import check_interruption, defer_interruption
from keras_convinit.lab.errors import LabError
from keras_convinit.lab.files import folder_for, write_whole
from keras_convinit.lab.progress import shown_progress

HERE = Path(__file__).parent


def command(
    kind: type[AbstractExperiment], arguments: Sequence[str] | None = None
) -> list[Row]:
    """Runs what is not finished yet, prints the table and writes the picture.

    Args:
        kind: The experiment.
        arguments: Those of the command line; None for those that the program has.

    Returns:
        All finished runs.
    """
    options = _options(kind, arguments)
    console = Console()
    try:
        return _carried_out(kind, options, console)
    except (LabError, ValueError) as error:
        console.print(f"[red]Error:[/red] {escape(str(error))}")
        sys.exit(2)
    except KeyboardInterrupt:
        console.print(
            "Interrupted. The finished runs are kept: the same command goes on."
        )
        sys.exit(130)


def _options(kind: type[AbstractExperiment], arguments: Any) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=f"{kind.source}: {kind.claim}")
    parser.add_argument(
        "--scale",
        choices=list(kind.scales),
        default="cpu",
        help="smoke: a minute; cpu: what the results here come from; paper: for a GPU",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="folder of the results; examples/reproduce/results/SCALE",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        help="only that many of the seeds, for now; the others can be added later",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        help="begin no run after that many; the same command goes on",
    )
    return parser.parse_args(arguments)


@defer_interruption()
def _carried_out(
    kind: type[AbstractExperiment], options: argparse.Namespace, console: Console
) -> list[Row]:
    experiment = kind(kind.scales[options.scale])
    folder = folder_for(options.output or HERE / "results" / options.scale)
    results = Results(folder / f"{kind.name}.json", experiment, options.scale)
    pending = [
        case
        for case in results.pending()
        if options.seeds is None or case["seed"] < options.seeds
    ]
    lengths = [(_named(case), experiment.steps(case)) for case in pending]
    end = time.monotonic() + 60 * (options.minutes or float("inf"))
    with shown_progress(console, lengths) as begin:
        for case in pending:
            check_interruption()
            if time.monotonic() > end:
                break
            after_step, started = begin(), time.perf_counter()
            outcome = experiment.run(case, after_step)
            results.add(case, outcome, time.perf_counter() - started)
    _show(experiment, results, folder / f"{kind.name}.png", console)
    return results.rows


def _show(
    experiment: AbstractExperiment, results: Results, picture: Path, console: Console
) -> None:
    planned = len(experiment.cases())
    count = f"{len(results.rows)} of {planned} runs. {results.path}"
    rows = whole_seeds(experiment, results.rows)
    if not rows:
        console.print(f"{count}. No seed is complete yet.")
        return
    console.print(_for_terminal(experiment.table(rows)))
    finding = experiment.finding(rows)
    console.print(f"{escape(experiment.source)}: {escape(experiment.claim)}")
    console.print(f"[bold]{finding.verdict}[/bold]: {escape(finding.here)}")
    figure = experiment.figure(rows)
    write_whole(picture, lambda file: figure.savefig(file, format="png", dpi=110))
    console.print(f"{count}, {picture}")


def _named(case: Case) -> str:
    return ", ".join(f"{name} {value}" for name, value in case.items())


def _for_terminal(table: Table) -> RichTable:
    found = RichTable(box=SIMPLE_HEAD, padding=(0, 1))
    for number, head in enumerate(table.heads):
        found.add_column(head, justify="right" if number else "left")
    for row in table.rows:
        found.add_row(*map(escape, row))
    return found
