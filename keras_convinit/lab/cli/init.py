"""`init`: initializes a model and writes it."""

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
from keras_convinit.lab.init import init as run_init


@app.command()
def init(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help=MODEL_HELP),
    ],
    output: Annotated[
        Path, typer.Option(help="The .keras file to write; the report lies beside it.")
    ],
    scheme: Annotated[
        str,
        typer.Option(
            help="A scheme or Keras initializer, with arguments behind a colon: "
            "zhang_backward:gamma=0.4."
        ),
    ] = "auto",
    dataset: Annotated[
        str | None,
        typer.Option(
            help=f"One of {', '.join(DATASETS)}, for schemes that look at data."
        ),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            help="For schemes that look at a loss: the name of one of Keras', such as "
            "mse. Without, that with which the model is compiled, else the "
            "cross-entropy of classes."
        ),
    ] = None,
    subset: Annotated[
        int | None,
        typer.Option("--subset", "--limit", min=2, help="Images at most; all without."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides all that is random.")] = 0,
    imports: Annotated[
        list[str] | None,
        typer.Option("--import", help=IMPORT_HELP),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is there.")
    ] = False,
) -> None:
    """Initializes a model, and writes it with a report of what was done."""
    if dataset is not None and dataset not in DATASETS:
        message = f"`dataset` must be one of {', '.join(DATASETS)}. "
        raise failure(f"{message}Received: dataset={dataset!r}", WRONG_OPTION)
    with friendly():
        run_init(
            model,
            scheme,
            output,
            Console(),
            dataset=dataset,
            loss=loss,
            subset=subset,
            seed=seed,
            imports=imports or (),
            overwrite=overwrite,
        )
