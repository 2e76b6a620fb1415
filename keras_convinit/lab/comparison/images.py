"""The images of a comparison, whoever has them."""

import abc
from typing import Any

import numpy as np

from keras_convinit.lab.data import ImageDataset

# Images that a signal report looks at.
SAMPLE = 128


class AbstractImages(abc.ABC):
    """What runs are trained and validated on.

    Attributes:
        sample: Some training images as a model sees them, with their labels and the
            number of classes.
        counts: How many images there are to train and to validate with.
        steps_per_epoch: How many batches the former are.
        batch_size: Images of a batch, of the largest one.
    """

    sample: ImageDataset
    counts: dict[str, int]
    steps_per_epoch: int
    batch_size: int

    @abc.abstractmethod
    def training(self, seed: int) -> Any:
        """Batches to train on, as `fit_recorded` takes them."""

    @abc.abstractmethod
    def validation(self) -> Any:
        """Batches to validate on, as `fit_recorded` takes them."""

    @abc.abstractmethod
    def for_scheme(self, seed: int) -> Any:
        """A data set of batches for schemes that look at data."""

    def meet(self, outputs: int) -> None:
        """Says how many outputs the model has, to those that do not know the classes.

        Args:
            outputs: The number.
        """
        del outputs  # Most know them.

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """The sample with one-hot labels."""
        images, labels = self.sample.train_images, self.sample.train_labels
        return images, np.eye(self.sample.num_classes, dtype="float32")[labels]


def sample_of(
    name: str, images: np.ndarray, labels: np.ndarray, classes: int
) -> ImageDataset:
    """The first images as a data set without a held-out part.

    Args:
        name: What it is called in errors.
        images: As a model sees them.
        labels: Whole numbers.
        classes: How many there are.
    """
    few, their = images[:SAMPLE].astype("float32"), labels[:SAMPLE]
    return ImageDataset(name, few, their, few[:0], their[:0], classes)
