"""Images by name. The bundled digits need no network; the rest, tensorflow-datasets."""

from keras_convinit.lab.checks import one_of, whole
from keras_convinit.lab.data.digits import digits
from keras_convinit.lab.data.images import ImageDataset
from keras_convinit.lab.data.pipeline import batches, steps_per_epoch
from keras_convinit.lab.data.tfds import TFDS_NAMES, from_tfds

__all__ = ["DATASETS", "ImageDataset", "batches", "load", "steps_per_epoch"]

DATASETS = ("digits", *TFDS_NAMES)


def load(name: str, limit: int | None = None) -> ImageDataset:
    """Loads a data set, downloading it if need be.

    Args:
        name: `"digits"`, `"mnist"`, `"cifar10"` or `"cifar100"`.
        limit: How many training images, and how many held-out images, to have at
            most; None for all.

    Returns:
        The same images in the same order at every call.

    Raises:
        ValueError: `name` or `limit` is not what is said here.
        LabError: The data cannot be had; the message says what would help.

    Example:
        >>> from keras_convinit.lab.data import load
        >>> load("digits").train_images.shape
        (1437, 8, 8, 1)
    """
    one_of("dataset", name, DATASETS)
    if limit is not None:
        whole("limit", limit, 1)
    dataset = digits() if name == "digits" else from_tfds(name, limit)
    return dataset.limited(limit)
