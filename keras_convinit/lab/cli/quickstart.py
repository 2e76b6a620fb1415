"""`quickstart`: the main job."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from keras_convinit.lab.cli._app import (
    INTERRUPTED,
    WRONG_OPTION,
    app,
    failure,
    friendly,
)
from keras_convinit.lab.data import DATASETS
from keras_convinit.lab.quickstart import Options
from keras_convinit.lab.quickstart import quickstart as run_quickstart

DEFAULT = Options()


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
        int,
        typer.Option(
            "--subset",
            "--limit",
            help="Training images, and held-out images, at most.",
        ),
    ] = DEFAULT.limit,
    output: Annotated[
        Path, typer.Option(help="Folder for quickstart.png and quickstart.json.")
    ] = DEFAULT.output,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Keep the finished runs of the output folder."),
    ] = False,
) -> None:
    """Trains deep networks from several initializations: a table and a figure.

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
        raise failure(error, WRONG_OPTION) from error
    with friendly():
        if not run_quickstart(options, resume, Console()):
            raise typer.Exit(INTERRUPTED)
