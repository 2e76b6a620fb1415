"""Labeled images, as plain data."""

import dataclasses
import functools
from typing import Any

import numpy as np

from keras_convinit._checks import check_positive
from keras_convinit.lab.checks import one_of, whole

PARTS = ("train", "validation", "test")


# Arrays have no single truth value, so there is no `==`.
@dataclasses.dataclass(frozen=True, eq=False)
class ImageDataset:
    """Images to train on, images held out, and perhaps images to decide by.

    Mean and deviation are those of its own training images, and of nothing else: not of
    another data set, and not of images taken away for validation.

    Args:
        name: What it is called.
        train_images: `(count, height, width, channels)`, as they come: integers of 8
            bits, or floats.
        train_labels: `(count,)`, integers from 0 to `num_classes - 1`.
        test_images: The held-out images.
        test_labels: Their labels.
        num_classes: Number of classes.
        validation_images: Taken from the training images by `with_validation`.
        validation_labels: Their labels.
        white: The value of a white pixel; black is 0.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    num_classes: int
    validation_images: np.ndarray | None = None
    validation_labels: np.ndarray | None = None
    white: float = 255.0

    @functools.cached_property
    def mean(self) -> np.ndarray:
        """Mean of each channel over the training images."""
        return self.train_images.mean(axis=(0, 1, 2), dtype=np.float64)

    @functools.cached_property
    def deviation(self) -> np.ndarray:
        """Standard deviation of each channel over the training images."""
        return self.train_images.std(axis=(0, 1, 2), dtype=np.float64)

    def standardized(self, images: np.ndarray) -> np.ndarray:
        """Images such that each channel of the training images has mean 0, std 1.

        Args:
            images: `(count, height, width, channels)`.

        Returns:
            The same in float32.
        """
        return ((images - self.mean) / self.deviation).astype(np.float32)

    def part(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Images and labels of `"train"`, `"validation"` or `"test"`."""
        one_of("part", part, PARTS)
        images = getattr(self, f"{part}_images")
        labels = getattr(self, f"{part}_labels")
        if images is None or labels is None:
            raise ValueError(
                f"`part` must be train or test: {self.name} has no validation part, "
                "which `dataset.with_validation()` makes. "
                f"Received: part={part!r}"
            )
        return images, labels

    def with_validation(self, fraction: float = 0.1, seed: int = 0) -> "ImageDataset":
        """The same with some of the training images set apart.

        They are drawn at random, of all classes alike. Mean and deviation become those
        of the training images that are left, so that nothing is learned from the
        others: on CIFAR-10 that changes either by about a thousandth.

        Args:
            fraction: Share of the training images, rounded to whole images.
            seed: Decides which.

        Returns:
            A data set with a validation part; both parts keep their order.

        Raises:
            ValueError: An argument is not what is said here, one of the parts would be
                empty, or there is a validation part already.
        """
        if self.validation_images is not None:
            raise ValueError(
                "`with_validation` must be called once, of a data set without a "
                f"validation part. Received: a part of {len(self.validation_images)} "
                f"images of {self.name}"
            )
        whole("seed", seed, 0)
        count = len(self.train_images)
        apart = round(check_positive("fraction", fraction) * count)
        if not 0 < apart < count:
            raise ValueError(
                "`fraction` must leave at least one of the "
                f"{count} training images on either side. "
                f"Received: fraction={fraction!r}"
            )
        order = np.random.default_rng(seed).permutation(count)
        validation, training = np.sort(order[:apart]), np.sort(order[apart:])
        return dataclasses.replace(
            self,
            train_images=self.train_images[training],
            train_labels=self.train_labels[training],
            validation_images=self.train_images[validation],
            validation_labels=self.train_labels[validation],
        )

    def eight_bit(self) -> "ImageDataset":
        """The same with pixels from 0 to 255, uint8, rounded to the nearest."""
        if self.white == 255 and self.train_images.dtype == np.uint8:
            return self

        def scaled(images: np.ndarray | None) -> np.ndarray | None:
            if images is None:
                return None
            values = np.rint(images * (255 / self.white))
            return np.clip(values, 0, 255).astype(np.uint8)

        parts = {f"{part}_images": getattr(self, f"{part}_images") for part in PARTS}
        images: dict[str, Any] = {name: scaled(some) for name, some in parts.items()}
        return dataclasses.replace(self, **images, white=255.0)

    def limited(self, limit: int | None) -> "ImageDataset":
        """The first `limit` images of each part; all for None."""
        fields = [f"{part}_{what}" for part in PARTS for what in ("images", "labels")]
        first: dict[str, Any] = {
            name: None if (some := getattr(self, name)) is None else some[:limit]
            for name in fields
        }
        return dataclasses.replace(self, **first)
