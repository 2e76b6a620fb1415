"""All benchmarks, as one table and one figure: `python -m examples.benchmarks`.

Runs each measurement in a process of its own, on each backend that it is meant for, and
keeps its numbers in a file; what is there from the same command, versions and machine
is not measured again. Ends with RESULTS.md and benchmarks.png beside the files.
"""

import pathlib
import tempfile
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from examples.benchmarks.suite.measurements import BACKENDS, MEASUREMENTS, Measurement
from examples.benchmarks.suite.reading import Results
from examples.benchmarks.suite.running import ROOT, SCRIPTS, run
from examples.benchmarks.suite.table import BEGIN, END, excerpt, page

FIGURE = "benchmarks.png"
INTERRUPTED = 130
NAMES = [measurement.name for measurement in MEASUREMENTS]

Backend = StrEnum("Backend", [(name, name) for name in BACKENDS])
Scale = StrEnum("Scale", [("full", "full"), ("smoke", "smoke")])

app = typer.Typer(add_completion=False, rich_markup_mode=None)
console = Console(highlight=False)


@app.command(help=__doc__)
def main(
    only: Annotated[
        list[str],
        typer.Option(help=f"A measurement; may be repeated. {', '.join(NAMES)}."),
    ] = [],  # noqa: B006
    backend: Annotated[
        list[Backend], typer.Option(help="A backend; may be repeated.")
    ] = [],  # noqa: B006
    scale: Annotated[
        Scale, typer.Option(help="smoke shows that all run, and measures nothing.")
    ] = Scale.full,
    output: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="Folder for results/, RESULTS.md and benchmarks.png. Without it the "
            "one in the repository, where README is brought up to date, too; for "
            "smoke a folder for temporary files."
        ),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Measure what is there, too.")
    ] = False,
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Write the table and the figure only.")
    ] = False,
) -> None:
    """Measures, and writes the table and the figure."""
    unknown = sorted(set(only) - set(NAMES))
    if unknown:
        raise typer.BadParameter(
            f"`--only` must be one of {', '.join(NAMES)}. "
            f"Received: only={', '.join(unknown)}"
        )
    readme = None
    if output is None and scale == Scale.full:
        output, readme = SCRIPTS, ROOT / "README.md"
    elif output is None:
        output = pathlib.Path(tempfile.gettempdir()) / "keras_convinit_benchmarks_smoke"
    plan = [
        (measurement, place)
        for place in BACKENDS
        for measurement in MEASUREMENTS
        if place in measurement.backends
        and (not only or measurement.name in only)
        and (not backend or place in backend)
    ]
    code = 0
    if not report_only:
        code = measure(plan, scale, output / "results", again)
    report(output, readme)
    raise typer.Exit(code)


def measure(
    plan: list[tuple[Measurement, str]], scale: str, folder: pathlib.Path, again: bool
) -> int:
    """Runs a plan, and says what became of it.

    Returns:
        The exit status: 1 after a failure, 130 where the user ended it.
    """
    code = 0
    for index, (measurement, backend) in enumerate(plan, 1):
        console.print(f"{index}/{len(plan)} {measurement.name}, {backend}: ", end="")
        try:
            outcome = run(measurement, backend, scale, folder, again)
        except KeyboardInterrupt:
            console.print("ended. The same command goes on from here.")
            return INTERRUPTED
        if outcome.state == "failed":
            code = 1
            console.print(f"failed: {outcome.error.splitlines()[-1]}", markup=False)
        elif outcome.state == "measured":
            console.print(f"measured in {outcome.seconds:.0f} s")
        else:
            console.print("there already")
    return code


def report(output: pathlib.Path, readme: pathlib.Path | None) -> None:
    """Writes the page, the figure, and README's excerpt from the files of numbers."""
    from examples.benchmarks.suite.figure import draw

    results = Results(output / "results")
    output.mkdir(parents=True, exist_ok=True)
    draw(results, output / FIGURE)
    (output / "RESULTS.md").write_text(page(results, FIGURE))
    if readme is not None:
        # Measurements choose their backends; this process needs none.
        from keras_convinit.lab.files import write_between

        write_between(readme, BEGIN, END, excerpt(results))
    console.print(f"{output / 'RESULTS.md'} is written.")


if __name__ == "__main__":
    app()
