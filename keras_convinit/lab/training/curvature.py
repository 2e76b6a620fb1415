"""How sharply the loss of a recipe's network curves before the first step."""

import keras
import numpy as np

from keras_convinit.diagnostics.hessian_norm import HessianNorm, hessian_norm
from keras_convinit.lab import data
from keras_convinit.lab.errors import LabError
from keras_convinit.lab.training.network import built, initialize_as_told
from keras_convinit.lab.training.settings import Settings

# Of the training images, in table 2 of Arpit et al.
SHARE = 10


def curvature(settings: Settings, tolerance: float = 1e-3) -> tuple[HessianNorm, int]:
    """The spectral norm of the Hessian of a recipe's loss, as the recipe starts.

    The random state of Python, numpy and the Keras backend is set by it.

    Args:
        settings: The recipe, the seed, and of how many of the first training images
            the loss is the mean: `subset`, a tenth of all if that is None. They are
            standardized, and not augmented.
        tolerance: Relative, see `hessian_norm`.

    Returns:
        The norm, and the number of images.

    Raises:
        LabError: The data cannot be had, or the recipe cannot be carried out here;
            where its loss is not finite, there is no Hessian.

    Example:
        >>> from keras_convinit.lab import recipes
        >>> from keras_convinit.lab.training.curvature import curvature
        >>> from keras_convinit.lab.training.settings import Settings
        >>> recipe = recipes.get("arpit2019/figure2/mlp2/proposed")
        >>> norm, images = curvature(Settings.of(recipe, dataset="digits", subset=128))
        >>> norm.converged, images
        (True, 128)
    """
    recipe = settings.recipe
    images = data.load(recipe.dataset, settings.subset)
    count = len(images.train_images)
    if settings.subset is None:
        count = max(1, count // SHARE)
    x = images.standardized(images.train_images[:count])
    y = np.eye(images.num_classes, dtype="float32")[images.train_labels[:count]]
    keras.utils.set_random_seed(settings.seed)
    model = built(recipe, images)
    initialize_as_told(model, recipe, images, settings.seed)
    try:
        norm = hessian_norm(
            model,
            x,
            y,
            keras.losses.CategoricalCrossentropy(from_logits=True),
            batch_size=recipe.batch_size,
            tolerance=tolerance,
            seed=settings.seed,
        )
    except ValueError as error:
        raise LabError(f"{recipe.name} cannot be measured: {error}") from error
    return norm, count
