"""`train`: carries out a recipe."""

from pathlib import Path
from typing import Annotated

import keras
import typer
from rich.console import Console

from keras_convinit.lab import recipes
from keras_convinit.lab.cli._app import RESUME, WRONG_OPTION, app, failure, friendly
from keras_convinit.lab.data import DATASETS
from keras_convinit.lab.progress import TrainingProgress
from keras_convinit.lab.say import say
from keras_convinit.lab.training import Result
from keras_convinit.lab.training.distribution import STRATEGIES
from keras_convinit.lab.training.precision import PRECISIONS
from keras_convinit.lab.training.settings import Settings
from keras_convinit.lab.training.train import carried_out


@app.command()
def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="As `recipes` lists them.")
    ],
    output: Annotated[
        Path, typer.Option(help="Folder for checkpoint, logs and result.json.")
    ],
    seed: Annotated[int, typer.Option(help="Decides all that is random.")] = 0,
    subset: Annotated[
        int | None,
        typer.Option(help="Training images, and held-out images, at most."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="In place of the recipe's, like the next four.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images of a step, over all devices.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="The peak of the schedule.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(DATASETS)}.")
    ] = None,
    scheme: Annotated[
        str | None,
        typer.Option(
            help="Of `keras_convinit.initialize`, such as zhang_backward:gamma=0.4, "
            "or a Keras initializer."
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(help=f"One of {', '.join(PRECISIONS)}.")
    ] = PRECISIONS[0],
    xla: Annotated[
        bool | None,
        typer.Option("--xla/--no-xla", help="Compile by XLA; else Keras chooses."),
    ] = None,
    resume: Annotated[bool, RESUME] = False,
    distribute: Annotated[
        str | None,
        typer.Option(
            help=f"One of {', '.join(STRATEGIES)}: the devices of one host on "
            "TensorFlow; those of one host or of many on JAX, where "
            "KERAS_DISTRIBUTION_JOB_ADDRESSES, ..._NUM_PROCESSES and ..._PROCESS_ID "
            "say who they are. Keras 3 cannot fit with MultiWorkerMirroredStrategy."
        ),
    ] = None,
) -> None:
    """Trains a recipe; started again, it goes on where it ended.

    A run whose loss is NaN or infinite ends there with accuracy 0: a result like
    others. KERAS_BACKEND chooses the backend.
    """
    del resume
    console = Console()
    with friendly():
        found = recipes.get(recipe)
        try:
            settings = Settings.of(
                found,
                epochs=epochs,
                batch_size=batch_size,
                learning_rate=learning_rate,
                dataset=dataset,
                scheme=scheme,
                seed=seed,
                subset=subset,
                precision=precision,
                xla=xla,
                distribute=distribute,
            )
        except ValueError as error:
            raise failure(error, WRONG_OPTION) from error
        chosen = settings.recipe
        say(
            console,
            f"{chosen.name}: {chosen.network} on {chosen.dataset}, "
            f"{chosen.epochs} epochs, by {chosen.initialization.scheme}, on "
            f"{keras.backend.backend()}. Interrupted, the same command goes on.",
        )
        with TrainingProgress(console, chosen.batch_size) as progress:
            result = carried_out(settings, output, callbacks=[progress])
    say(console, *summary(result, output))


def summary(result: Result, output: Path) -> tuple[str, str]:
    """What a training ended with, for people, in two lines."""
    epochs = len(result.record.epochs)
    end = (
        f"diverged in epoch {epochs}: accuracy 0"
        if result.diverged
        else f"{100 * result.test_accuracy:.2f} % of the test images, epochs: {epochs}"
    )
    told = f"{result.recipe}: {end} ({result.record.seconds:.0f} s)"
    return told, f"Result: {output}"
