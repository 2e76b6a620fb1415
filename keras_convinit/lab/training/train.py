"""Trains a recipe, from the data's name to the accuracy on its test images."""

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_convinit._interruption import check_interruption, defer_interruption
from keras_convinit.lab import data
from keras_convinit.lab.data import ImageDataset
from keras_convinit.lab.errors import LabError
from keras_convinit.lab.files import folder_for
from keras_convinit.lab.ownership import owned
from keras_convinit.lab.recipes import Recipe
from keras_convinit.lab.training.distribution import Workers, workers
from keras_convinit.lab.training.evaluation import evaluated, whole_batches
from keras_convinit.lab.training.fit import fit_recorded
from keras_convinit.lab.training.keeping import CHECKPOINT
from keras_convinit.lab.training.network import (
    augmentations_of,
    built,
    initialize_as_told,
)
from keras_convinit.lab.training.precision import computing_in
from keras_convinit.lab.training.result import RESULT, Result
from keras_convinit.lab.training.settings import Settings, claim
from keras_convinit.lab.versions import machine, versions


def train(
    recipe: Recipe,
    *,
    output: Path | None = None,
    verbose: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **settings: Any,
) -> Result:
    """Trains a recipe, or goes on where an earlier start in the same folder ended.

    The random state of Python, numpy and the Keras backend is set by it.

    Args:
        recipe: The recipe.
        output: Folder for `settings.json`, `checkpoint.npz`, `log.csv`, `events` and
            `result.json`; None for none. Of several processes the first one writes, and
            all of them read, so that it must be the same for all.
        verbose: Of `fit`: 0 for nothing, 1 for a bar, 2 for a line each epoch.
        callbacks: More callbacks for `fit`.
        **settings: Those of `Settings` (`seed`, `subset`, `precision`, `xla`,
            `distribute`), and what is to be in place of something in the recipe:
            `epochs`, `batch_size`, `learning_rate`, `dataset`, `scheme`.

    Returns:
        What it brought.

    Raises:
        ValueError: A setting is not what is said there.
        LabError: The data cannot be had, the recipe cannot be carried out here, or the
            folder cannot be used.
        KeyboardInterrupt: By Ctrl-C or SIGTERM, after the step at hand, or at once by
            the second one. Finished epochs are kept; no result is written.

    Example:
        >>> from keras_convinit.lab import recipes
        >>> from keras_convinit.lab.training import train
        >>> recipe = recipes.get("arpit2019/figure2/mlp2/proposed")
        >>> result = train(
        ...     recipe, dataset="digits", subset=200, batch_size=32, epochs=1
        ... )
        >>> 0 <= result.test_accuracy <= 1
        True
    """
    return carried_out(Settings.of(recipe, **settings), output, verbose, callbacks)


@defer_interruption()
def carried_out(
    settings: Settings,
    output: Path | None = None,
    verbose: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Result:
    """The same with settings that are checked already.

    Args:
        settings: What to do.
        output: As of `train`.
        verbose: As of `train`.
        callbacks: As of `train`.

    Returns:
        What it brought.

    Raises:
        LabError: As of `train`.
    """
    if settings.recipe.epochs == 0:
        raise LabError(
            f"{settings.recipe.name} looks at a network before its first step: "
            f"python -m keras_convinit hessian {settings.recipe.name}. To train it all "
            "the same: --epochs N"
        )
    if settings.distribute == "mirrored" and settings.recipe.optimizer.clip_norm:
        raise LabError(
            "`distribute` mirrored is for recipes that clip no gradient: Keras would "
            "clip that of each device by itself. With clipping: --distribute "
            f"data_parallel, on JAX. Received: {settings.recipe.name}, which clips to "
            f"{settings.recipe.optimizer.clip_norm:g}"
        )
    # Nothing may be computed before processes have found each other.
    with contextlib.ExitStack() as stack:
        team = stack.enter_context(workers(settings.distribute))
        stack.enter_context(computing_in(settings.precision))
        about = settings.as_data(versions())
        if output is not None:
            if team.writes:
                stack.enter_context(owned(output))
            else:
                folder_for(output)
            claim(output, about, team.writes)
            if (output / RESULT).exists():
                return Result.load(output)
        result = _trained(settings, about, team, output, verbose, callbacks)
        if output is not None and team.writes:
            result.save(output)
        return result


def _trained(
    settings: Settings,
    about: dict[str, Any],
    team: Workers,
    output: Path | None,
    verbose: int,
    callbacks: Sequence[keras.callbacks.Callback],
) -> Result:
    recipe = settings.recipe
    team.check_batch(recipe.batch_size)
    images = data.load(recipe.dataset, settings.subset)
    watched = "validation" if recipe.validation_fraction else "test"
    if recipe.validation_fraction:
        images = _divided(images, recipe.validation_fraction)
    if recipe.batch_size > len(images.train_images):
        raise LabError(
            f"`batch_size` must be at most the {len(images.train_images)} training "
            f"images. Received: batch_size={recipe.batch_size}"
        )
    steps = data.steps_per_epoch(images, recipe.batch_size)

    keras.utils.set_random_seed(settings.seed)
    model = built(recipe, images)
    if output is None or not (output / CHECKPOINT).exists():
        initialize_as_told(model, recipe, images, settings.seed)

    def train_batches(first_epoch: int) -> Any:
        return data.batches(
            images,
            "train",
            batch_size=recipe.batch_size,
            augmentations=augmentations_of(recipe),
            seed=settings.seed,
            first_epoch=first_epoch,
            epochs=recipe.epochs - first_epoch,
            shard=team.shard,
        )

    def held_out(part: str) -> Any:
        size = recipe.batch_size
        return whole_batches(
            data.batches(images, part, batch_size=size), size, team.shard
        )

    record = fit_recorded(
        model,
        train_batches,
        held_out(watched),
        optimizer=recipe.optimizer,
        schedule=recipe.schedule,
        epochs=recipe.epochs,
        steps_per_epoch=steps,
        folder=output,
        writes=team.writes,
        settings=about,
        xla="auto" if settings.xla is None else settings.xla,
        callbacks=callbacks,
        verbose=verbose,
    )
    check_interruption()
    found = None if record.diverged else evaluated(model, held_out("test"))
    validation = images.validation_images
    return Result(
        recipe=recipe.name,
        overrides=settings.overrides,
        settings=about,
        budget={
            "epochs": recipe.epochs,
            "steps_per_epoch": steps,
            "batch_size": recipe.batch_size,
            "train_images": len(images.train_images),
            "validation_images": 0 if validation is None else len(validation),
            "test_images": len(images.test_images),
            "parameters": sum(math.prod(v.shape) for v in model.trainable_variables),
            "devices": team.devices,
        },
        machine=machine(),
        record=record,
        watched=watched,
        test_accuracy=0.0 if found is None else found["accuracy"],
        test_loss=None if found is None else found["cross_entropy"],
    )


def _divided(images: ImageDataset, fraction: float) -> ImageDataset:
    try:
        return images.with_validation(fraction, seed=0)
    except ValueError as error:
        raise LabError(
            f"`subset` must leave images to train on and {100 * fraction:g} % to "
            f"validate with. Received: {len(images.train_images)} training images"
        ) from error
