"""Whether a model is one for some images, before it meets them."""

from typing import Any

import keras

from keras_convinit.lab.data import ImageDataset
from keras_convinit.lab.errors import LabError


def inputs_of(model: keras.Model) -> list[Any]:
    """The symbolic inputs of a model.

    Raises:
        LabError: It does not tell them.
    """
    inputs = getattr(model, "inputs", None)
    if not inputs:
        raise LabError(
            "A model that is not Functional or Sequential needs data that only it "
            "knows; the functions of `keras_convinit` take them. "
            f"Received: model={model.name!r}"
        )
    return inputs


def check_images(model: keras.Model, images: ImageDataset) -> None:
    """Refuses images of another shape than the model takes.

    Raises:
        LabError: They are.
    """
    wanted = [tuple(tensor.shape) for tensor in inputs_of(model)]
    given = images.train_images.shape
    if len(wanted) == 1 and len(wanted[0]) == len(given):
        pairs = zip(wanted[0][1:], given[1:], strict=True)
        if all(size in (None, there) for size, there in pairs):
            return
    raise LabError(
        "`dataset` must have images of the shape that the model takes. "
        f"Received: dataset={images.name!r} of shape {given[1:]}, for inputs of shape "
        f"{', '.join(str(shape[1:]) for shape in wanted)}"
    )


def check_classes(model: keras.Model, images: ImageDataset) -> None:
    """Refuses a model whose outputs are not a number for each class.

    Raises:
        LabError: They are not.
    """
    shapes = [tuple(x.shape) for x in keras.tree.flatten(model.outputs)]
    if shapes != [(None, images.num_classes)]:
        raise LabError(
            f"The model must have one output of {images.num_classes} classes for "
            f"dataset={images.name!r}. Received: outputs of shape "
            f"{', '.join(str(shape[1:]) for shape in shapes)}"
        )
