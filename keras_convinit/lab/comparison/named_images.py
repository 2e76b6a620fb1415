"""Data sets of the lab, of which a tenth validates."""

from collections.abc import Callable
from typing import Any

from keras_convinit.lab import data
from keras_convinit.lab.comparison.images import SAMPLE, AbstractImages, sample_of
from keras_convinit.lab.comparison.plan import Plan
from keras_convinit.lab.errors import LabError
from keras_convinit.lab.training.evaluation import whole_batches


class NamedImages(AbstractImages):
    """A data set by name; the images that it holds out are not looked at.

    Args:
        plan: Which, how many, and what happens to them.

    Raises:
        LabError: It cannot be had, or not be used like that.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.batch_size = plan.batch_size
        self.images = data.load(plan.dataset, plan.subset).with_validation()
        held_out, _ = self.images.part("validation")
        self.counts = {
            "training": len(self.images.train_images),
            "validation": len(held_out),
        }
        try:
            self.steps_per_epoch = data.steps_per_epoch(self.images, plan.batch_size)
            self._batches(0, 0, 1)
        except ValueError as error:
            raise LabError(str(error)) from error
        self.sample = sample_of(
            self.images.name,
            self.images.standardized(self.images.train_images[:SAMPLE]),
            self.images.train_labels,
            self.images.num_classes,
        )

    def training(self, seed: int) -> Callable[[int], Any]:
        """As a function of the number of finished epochs."""
        epochs = self.plan.epochs
        return lambda finished: self._batches(seed, finished, epochs - finished)

    def validation(self) -> Any:
        """All of them, the last batch filled up."""
        size = self.plan.batch_size
        return whole_batches(
            data.batches(self.images, "validation", batch_size=size), size
        )

    def for_scheme(self, seed: int) -> Any:
        """The batches of the training."""
        return self._batches(seed, 0, self.plan.epochs)

    def _batches(self, seed: int, first_epoch: int, epochs: int) -> Any:
        return data.batches(
            self.images,
            batch_size=self.plan.batch_size,
            augmentations=self.plan.augmentations(),
            seed=seed,
            first_epoch=first_epoch,
            epochs=epochs,
        )
