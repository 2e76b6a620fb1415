"""What an augmentation is, and where it may stand."""

import abc
from typing import Any, ClassVar

from keras_convinit.lab.data import _tensorflow as tf
from keras_convinit.lab.data.augmentation._draws import Draws, Rows

# In this order: raw pixels, images of mean 0 and deviation 1, and images that become
# two in one.
STAGES = ("pixels", "standardized", "mixing")


class Augmentation(abc.ABC):
    """Changes the images of a batch at random, as the seed says.

    Attributes:
        stage: Where it stands among others, one of `STAGES`.
        eight_bit: Whether it wants pixels from 0 (black) to 255 (white).
    """

    stage: ClassVar[str]
    eight_bit: ClassVar[bool] = False

    @abc.abstractmethod
    def __call__(
        self, images: Any, labels: Any, seed: Any, rows: Rows | None = None
    ) -> tuple[Any, Any]:
        """The batch, changed.

        Args:
            images: `(count, height, width, channels)`, uint8 or float32.
            labels: `(count, num_classes)`, float32, each row of sum 1.
            seed: Two int32, of which the outcome is a function.
            rows: Which images of a batch these are, if others have the rest of it.

        Returns:
            Images and labels of the same shapes.
        """


class ImageAugmentation(Augmentation):
    """One that changes each image by itself, and no label."""

    @abc.abstractmethod
    def changed(self, images: Any, draws: Draws) -> Any:
        """The images, changed, of the same type."""

    def __call__(
        self, images: Any, labels: Any, seed: Any, rows: Rows | None = None
    ) -> tuple[Any, Any]:
        """As `Augmentation` has it."""
        return self.changed(images, Draws(seed, images, rows)), labels


class MixingAugmentation(Augmentation):
    """One that puts into each image something of another one, its partner.

    Who shares a batch with others needs the partners of its own rows as well. So they
    can be asked for beforehand.
    """

    stage = "mixing"

    @abc.abstractmethod
    def mixed(
        self, images: tuple[Any, Any], labels: tuple[Any, Any], draws: Draws
    ) -> tuple[Any, Any]:
        """Images and labels, mixed from the own ones and those of the partners."""

    def partners(self, seed: Any, count: Any) -> Any:
        """Who is whose partner: a random order of the numbers up to `count`."""
        seed = tf.random.fold_in(seed, 0)
        return tf.random.experimental.stateless_shuffle(tf.range(count), seed)

    def mixed_with(
        self,
        partners: tuple[Any, Any],
        images: Any,
        labels: Any,
        seed: Any,
        rows: Rows | None = None,
    ) -> tuple[Any, Any]:
        """The batch, mixed with images and labels of `partners`, row by row."""
        other_images, other_labels = partners
        draws = Draws(tf.random.fold_in(seed, 1), images, rows)
        pair = (tf.cast(images, tf.float32), tf.cast(other_images, tf.float32))
        return self.mixed(pair, (labels, other_labels), draws)

    def __call__(
        self, images: Any, labels: Any, seed: Any, rows: Rows | None = None
    ) -> tuple[Any, Any]:
        """As `Augmentation` has it, for whole batches."""
        if rows is not None:
            raise ValueError(
                "Images are mixed with any of their batch: `rows` must be None, or "
                "`partners` and `mixed_with` be used. "
                f"Received: rows={rows!r}"
            )
        order = self.partners(seed, tf.shape(images)[0])
        partners = tf.gather(images, order), tf.gather(labels, order)
        return self.mixed_with(partners, images, labels, seed)
