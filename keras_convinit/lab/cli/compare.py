"""`compare`: which initialization suits a model."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from keras_convinit.lab.call_text import split_calls
from keras_convinit.lab.cli._app import (
    IMPORT_HELP,
    INTERRUPTED,
    MODEL_HELP,
    RESUME,
    WRONG_OPTION,
    app,
    failure,
    friendly,
)
from keras_convinit.lab.comparison.compare import compare as run_compare
from keras_convinit.lab.comparison.plan import AUGMENTATIONS, SCHEDULES, Plan
from keras_convinit.lab.comparison.ranking import THRESHOLD
from keras_convinit.lab.data import DATASETS
from keras_convinit.lab.over_seeds import WINDOW


@app.command()
def compare(
    model: Annotated[
        str,
        typer.Option(help=f"{MODEL_HELP} It gives logits, or ends in a softmax."),
    ],
    dataset: Annotated[
        str,
        typer.Option(
            help=f"One of {', '.join(DATASETS)}, of which a tenth of the training "
            "images validates; or package.module:function, which is imported and "
            "called (that runs its code) and gives a pair of "
            "tf.data sets, to train on and to validate on, of batches of (images, "
            "labels): images as the model takes them, labels whole numbers or one-hot."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(help="Folder for report.html, compare.png and runs.jsonl."),
    ],
    schemes: Annotated[
        str,
        typer.Option(
            help="Schemes of keras_convinit.initialize and Keras initializers, with "
            "arguments behind a colon: auto,zhang_backward:gamma=0.4,he_normal."
        ),
    ] = "auto,he_normal,glorot_uniform",
    learning_rates: Annotated[
        str, typer.Option(help="Each scheme is trained with each of them.")
    ] = "0.1,0.01",
    seeds: Annotated[int, typer.Option(help="Runs of each pair of these.")] = 3,
    epochs: Annotated[
        int, typer.Option(help="Times that every training image is seen.")
    ] = 2,
    subset: Annotated[
        int | None, typer.Option(help="Training images at most; all without.")
    ] = None,
    batch_size: Annotated[
        int, typer.Option(help="Images in a step; a function of DATA has its own.")
    ] = 128,
    momentum: Annotated[float, typer.Option(help="Of SGD.")] = 0.9,
    weight_decay: Annotated[
        float, typer.Option(help="In the gradient, as in PyTorch.")
    ] = 0.0,
    clip_norm: Annotated[
        float | None, typer.Option(help="Largest norm of the whole gradient.")
    ] = None,
    schedule: Annotated[
        str, typer.Option(help=f"One of {', '.join(SCHEDULES)}.")
    ] = SCHEDULES[0],
    augment: Annotated[
        str,
        typer.Option(help=f"Several of {', '.join(AUGMENTATIONS)}, in this order."),
    ] = "",
    threshold: Annotated[
        float,
        typer.Option(
            help="Training accuracy, between 0 and 1, to which steps are counted, in "
            f"the mean over {WINDOW} steps."
        ),
    ] = THRESHOLD,
    imports: Annotated[
        list[str] | None,
        typer.Option("--import", help=IMPORT_HELP),
    ] = None,
    resume: Annotated[bool, RESUME] = False,
) -> None:
    """Compares initializations of a model: tables, a figure and a page.

    Every scheme is trained with every learning rate and seed. Started again with the
    same options, it goes on where it ended; further schemes, learning rates and seeds
    are added to what is there. KERAS_BACKEND chooses the backend.
    """
    del resume
    try:
        if not 0 < threshold <= 1:
            raise ValueError(
                "`threshold` must be above 0 and at most 1. "
                f"Received: threshold={threshold}"
            )
        plan = Plan(
            model=model,
            dataset=dataset,
            schemes=tuple(split_calls(schemes)),
            learning_rates=_numbers("learning_rates", learning_rates),
            seeds=seeds,
            epochs=epochs,
            subset=subset,
            batch_size=batch_size,
            momentum=momentum,
            weight_decay=weight_decay,
            clip_norm=clip_norm,
            schedule=schedule,
            augment=tuple(split_calls(augment)),
            imports=tuple(imports or ()),
        )
    except ValueError as error:
        raise failure(error, WRONG_OPTION) from error
    command = shlex.join(["python", "-m", "keras_convinit", *sys.argv[1:]])
    with friendly():
        found = run_compare(
            plan, output, Console(), threshold=threshold, command=command
        )
    if found is None:
        raise typer.Exit(INTERRUPTED)


def _numbers(name: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ValueError(
            f"`{name}` must be numbers with commas between them. "
            f"Received: {name}={text!r}"
        ) from error
