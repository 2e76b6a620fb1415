"""`report`: what happens to signals in a model."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from keras_convinit.lab.cli._app import (
    IMPORT_HELP,
    MODEL_HELP,
    WRONG_OPTION,
    app,
    failure,
    friendly,
)
from keras_convinit.lab.data import DATASETS
from keras_convinit.lab.report import report as run_report


@app.command()
def report(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help=MODEL_HELP),
    ],
    dataset: Annotated[
        str | None,
        typer.Option(help=f"One of {', '.join(DATASETS)}; without, normal noise."),
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option("--batch-size", "--batch", min=1, help="Samples to send through."),
    ] = 64,
    imports: Annotated[
        list[str] | None,
        typer.Option("--import", help=IMPORT_HELP),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="File of the figure, such as signal.png or signal.pdf."),
    ] = None,
) -> None:
    """Shows what happens to signals in a model: a table and a figure."""
    if dataset is not None and dataset not in DATASETS:
        message = f"`dataset` must be one of {', '.join(DATASETS)}. "
        raise failure(f"{message}Received: dataset={dataset!r}", WRONG_OPTION)
    with friendly():
        run_report(
            model,
            Console(),
            dataset=dataset,
            batch_size=batch_size,
            imports=imports or (),
            output=output,
        )
