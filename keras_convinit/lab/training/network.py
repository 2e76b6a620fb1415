"""The network of a recipe as it is before the first step."""

from typing import Any

import keras

from keras_convinit import initialize
from keras_convinit.lab import data, models
from keras_convinit.lab.data import ImageDataset, augmentation
from keras_convinit.lab.errors import LabError
from keras_convinit.lab.recipes import Recipe


def built(recipe: Recipe, images: ImageDataset) -> keras.Model:
    """The network of a recipe, as large as the images want it.

    Raises:
        LabError: It cannot be built for them.
    """
    try:
        return getattr(models, recipe.network)(
            input_shape=images.train_images.shape[1:],
            num_classes=images.num_classes,
            **recipe.arguments,
        )
    except ValueError as error:
        raise LabError(
            f"{recipe.network} cannot be built for {images.name}: {error}"
        ) from error


def augmentations_of(recipe: Recipe) -> tuple[Any, ...]:
    """What a recipe does to its training images."""
    return tuple(
        getattr(augmentation, name)(**arguments)
        for name, arguments in recipe.augmentations
    )


def initialize_as_told(
    model: keras.Model, recipe: Recipe, images: ImageDataset, seed: int
) -> None:
    """Initializes a model as a recipe says.

    Args:
        model: Its network.
        recipe: The recipe.
        images: What it is trained on: a scheme that looks at data sees the batches of
            the training, those of one epoch where there is none.
        seed: Of the initialization and the batches.

    Raises:
        LabError: The scheme refuses the model or the data.
        KeyboardInterrupt: A search was interrupted.
    """
    try:
        # Those of all processes, so that all begin with the same weights.
        batches = data.batches(
            images,
            "train",
            batch_size=recipe.batch_size,
            augmentations=augmentations_of(recipe),
            seed=seed,
            epochs=max(1, recipe.epochs),
        )
        report = initialize(
            model,
            recipe.initialization.scheme,
            batches,
            loss=keras.losses.CategoricalCrossentropy(from_logits=True),
            seed=seed,
            **recipe.initialization.arguments,
        )
    except ValueError as error:
        raise LabError(f"{recipe.name} cannot be initialized: {error}") from error
    # A search that is interrupted is content with what it has; nobody else is.
    if report.interrupted:
        raise KeyboardInterrupt
