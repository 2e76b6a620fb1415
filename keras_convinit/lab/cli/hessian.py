"""`hessian`: how sharply the loss of a recipe curves before the first step."""

from typing import Annotated

import typer
from rich.console import Console

from keras_convinit.lab import recipes
from keras_convinit.lab.cli._app import WRONG_OPTION, app, failure, friendly
from keras_convinit.lab.data import DATASETS
from keras_convinit.lab.training.curvature import curvature
from keras_convinit.lab.training.settings import Settings


@app.command()
def hessian(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="As `recipes` lists them.")
    ],
    seed: Annotated[int, typer.Option(help="Decides all that is random.")] = 0,
    subset: Annotated[
        int | None,
        typer.Option(help="Training images that the loss is the mean of; or a tenth."),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images at a time, in place of the recipe's.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(DATASETS)}.")
    ] = None,
    scheme: Annotated[
        str | None,
        typer.Option(help="Of `keras_convinit.initialize`, in place of the recipe's."),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="Of the eigenvalue, relative.")
    ] = 1e-3,
) -> None:
    """The spectral norm of the Hessian, before the first step.

    It is what the recipes of table 2 of Arpit et al. report, as a decimal logarithm.
    A step of the search takes as long as two training steps for each batch of images.
    KERAS_BACKEND chooses the backend.
    """
    with friendly():
        found = recipes.get(recipe)
        try:
            settings = Settings.of(
                found,
                batch_size=batch_size,
                dataset=dataset,
                scheme=scheme,
                seed=seed,
                subset=subset,
            )
        except ValueError as error:
            raise failure(error, WRONG_OPTION) from error
        norm, images = curvature(settings, tolerance)
    sure = "" if norm.converged else ", not converged"
    Console().print(
        f"{recipe}: log10 of the spectral norm of the Hessian {norm.log10:.3f} "
        f"(eigenvalue {norm.eigenvalue:.4g}, residual {norm.residual:.2g}{sure}; "
        f"{images} images)",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
