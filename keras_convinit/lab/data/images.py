"""Labelled images, as plain data."""

import dataclasses
import functools

import numpy as np


# Arrays have no single truth value, so there is no `==`.
@dataclasses.dataclass(frozen=True, eq=False)
class ImageDataset:
    """Images to train on and images held out.

    Args:
        name: What it is called.
        train_images: `(count, height, width, channels)`, as they come: integers of 8
            bits, or floats.
        train_labels: `(count,)`, integers from 0 to `num_classes - 1`.
        test_images: The held-out images.
        test_labels: Their labels.
        num_classes: Number of classes.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    num_classes: int

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

    def limited(self, limit: int | None) -> "ImageDataset":
        """The first `limit` training images and held-out images; all for None."""
        return dataclasses.replace(
            self,
            train_images=self.train_images[:limit],
            train_labels=self.train_labels[:limit],
            test_images=self.test_images[:limit],
            test_labels=self.test_labels[:limit],
        )
