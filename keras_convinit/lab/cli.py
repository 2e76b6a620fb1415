"""The command line: options in, a status out, no traceback for what can be mended."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from keras_convinit.lab.data import DATASETS
from keras_convinit.lab.errors import LabError
from keras_convinit.lab.quickstart import Options
from keras_convinit.lab.quickstart import quickstart as run_quickstart
from keras_convinit.lab.report import report as run_report

# Exit statuses.
MISSING = 1
WRONG_OPTION = 2
INTERRUPTED = 130

DEFAULT = Options()

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def commands() -> None:
    """Initialisation that makes deep convolutional networks trainable."""
    # With a callback, a single command keeps its name.


@app.command()
def quickstart(
    dataset: Annotated[
        str, typer.Option(help=f"One of {', '.join(DATASETS)}.")
    ] = DEFAULT.dataset,
    seeds: Annotated[int, typer.Option(help="Runs of each.")] = DEFAULT.seeds,
    epochs: Annotated[
        int, typer.Option(help="Times that every training image is seen.")
    ] = DEFAULT.epochs,
    depth: Annotated[
        int, typer.Option(help="Layers with weights, the classifier included.")
    ] = DEFAULT.depth,
    width: Annotated[
        int, typer.Option(help="Channels of every convolution.")
    ] = DEFAULT.width,
    blocks: Annotated[
        int, typer.Option(help="Blocks of the residual network.")
    ] = DEFAULT.blocks,
    residual_epochs: Annotated[
        int, typer.Option(help="Epochs of the residual network.")
    ] = DEFAULT.residual_epochs,
    learning_rate: Annotated[
        float, typer.Option(help="Of SGD with momentum 0.9, the same for all.")
    ] = DEFAULT.learning_rate,
    limit: Annotated[
        int, typer.Option(help="Training images, and held-out images, at most.")
    ] = DEFAULT.limit,
    output: Annotated[
        Path, typer.Option(help="Folder for quickstart.png and quickstart.json.")
    ] = DEFAULT.output,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Keep the finished runs of the output folder."),
    ] = False,
) -> None:
    """Trains deep networks from several initialisations: a table and a figure.

    Three to four minutes on two CPU cores. KERAS_BACKEND chooses the backend.
    """
    try:
        options = Options(
            dataset=dataset,
            seeds=seeds,
            epochs=epochs,
            depth=depth,
            width=width,
            blocks=blocks,
            residual_epochs=residual_epochs,
            learning_rate=learning_rate,
            limit=limit,
            output=output,
        )
    except ValueError as error:
        raise _failure(error, WRONG_OPTION) from error
    with _friendly():
        if not run_quickstart(options, resume, Console()):
            raise typer.Exit(INTERRUPTED)


@app.command()
def report(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A .keras file, or package.module:function."
        ),
    ],
    dataset: Annotated[
        str | None,
        typer.Option(help=f"One of {', '.join(DATASETS)}; without, normal noise."),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Samples to send through.")] = 64,
    imports: Annotated[
        list[str] | None,
        typer.Option("--import", help="A module with classes that the file needs."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="File of the figure, such as signal.png.")
    ] = None,
) -> None:
    """Shows what happens to signals in a model: a table and a figure."""
    if dataset is not None and dataset not in DATASETS:
        message = f"`dataset` must be one of {', '.join(DATASETS)}. "
        raise _failure(f"{message}Received: dataset={dataset!r}", WRONG_OPTION)
    with _friendly():
        run_report(
            model,
            Console(),
            dataset=dataset,
            batch=batch,
            imports=imports or (),
            output=output,
        )


@contextlib.contextmanager
def _friendly() -> Iterator[None]:
    """Says in one line what the person at the keyboard can mend."""
    try:
        yield
    except LabError as error:
        raise _failure(error, MISSING) from error
    except KeyboardInterrupt as error:
        raise _failure("Interrupted.", INTERRUPTED) from error


def _failure(message: object, status: int) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(status)
