"""How one batch comes about, whatever the number of processes that share it."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_convinit.lab.data import _tensorflow as tf
from keras_convinit.lab.data.augmentation import (
    Augmentation,
    MixingAugmentation,
    Rows,
)
from keras_convinit.lab.data.images import ImageDataset


class Source:
    """Images and labels of one part of a data set, as TensorFlow has them.

    Args:
        dataset: Whose mean, deviation and number of classes they go by.
        part: Which part.
    """

    def __init__(self, dataset: ImageDataset, part: str) -> None:
        images, labels = dataset.part(part)
        if images.dtype != np.uint8:
            images = images.astype(np.float32)
        self.images = tf.convert_to_tensor(images)
        self.labels = tf.convert_to_tensor(labels)
        self.num_classes = dataset.num_classes
        # For each pixel: a broadcast over the few channels is slow.
        shape = images.shape[1:]
        self.mean = tf.constant(np.broadcast_to(dataset.mean, shape), tf.float32)
        self.scale = tf.constant(
            np.broadcast_to(1 / dataset.deviation, shape), tf.float32
        )

    def __len__(self) -> int:
        return len(self.images)

    def take(self, index: Any) -> tuple[Any, Any]:
        """Raw images and one-hot labels."""
        labels = tf.one_hot(tf.gather(self.labels, index), self.num_classes)
        return tf.gather(self.images, index), labels

    def standardized(self, images: Any) -> Any:
        """Raw images in float32, by the mean and deviation of the training images."""
        return (tf.cast(images, tf.float32) - self.mean) * self.scale


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingBatch:
    """Makes the rows of a batch that one process has.

    Args:
        source: The images.
        changes: What happens to each image.
        mixing: What happens to them together, or None.
        seed: Two int32.
        batch_size: Images of the whole batch.
        process: Number of the process.
        processes: How many share the batch.
    """

    source: Source
    changes: Sequence[Augmentation]
    mixing: MixingAugmentation | None
    seed: Any
    batch_size: int
    process: int
    processes: int

    def __call__(self, epoch: Any, step: Any, chosen: Any) -> tuple[Any, Any]:
        """Images and labels.

        Args:
            epoch: Number of the epoch.
            step: Number of the batch in it.
            chosen: `(batch_size,)`, the numbers of its images.
        """
        # Number 0 is the seed of the order.
        seed = tf.random.fold_in(tf.random.fold_in(self.seed, epoch), step + 1)
        mixing_seed = tf.random.fold_in(seed, len(self.changes))
        share = self.batch_size // self.processes
        own = index = tf.range(share) + self.process * share
        alone = self.processes == 1
        if self.mixing is not None and not alone:
            # The partners may be rows of another process. To change them here, too,
            # takes less than to have them sent.
            partners = self.mixing.partners(mixing_seed, self.batch_size)
            index = tf.concat([own, tf.gather(partners, own)], axis=0)

        images, labels = self.source.take(tf.gather(chosen, index))
        rows = None if alone else Rows(index, self.batch_size)
        raw = True
        for number, change in enumerate(self.changes):
            if raw and change.stage != "pixels":
                images, raw = self.source.standardized(images), False
            own_seed = tf.random.fold_in(seed, number)
            images, labels = change(images, labels, own_seed, rows)
        if raw:
            images = self.source.standardized(images)

        if self.mixing is None:
            return images, labels
        if alone:
            return self.mixing(images, labels, mixing_seed)
        return self.mixing.mixed_with(
            (images[share:], labels[share:]),
            images[:share],
            labels[:share],
            mixing_seed,
            Rows(own, self.batch_size),
        )


class HeldOutBatch:
    """Makes the rows of a batch of held-out images that one process has.

    Args:
        source: The images.
        batch_size: Images of a whole batch, of which the last may have fewer.
        process: Number of the process.
        processes: How many share the batches.

    Raises:
        ValueError: In some batch a process would have nothing to do, on which whatever
            they do together would wait.
    """

    def __init__(
        self, source: Source, batch_size: int, process: int, processes: int
    ) -> None:
        self.source = source
        self.batch_size = batch_size
        self.process = process
        self.processes = processes
        self.steps = math.ceil(len(source) / batch_size)
        last = len(source) - (self.steps - 1) * batch_size
        if min(last, batch_size) < processes:
            raise ValueError(
                f"`shard` must be of at most as many processes as the last batch has "
                f"images, {last}. Received: {processes} processes"
            )

    def __call__(self, step: Any) -> tuple[Any, Any]:
        """Images and labels of the batch of that number."""
        first = tf.cast(step, tf.int32) * self.batch_size
        size = tf.minimum(self.batch_size, len(self.source) - first)
        start = size * self.process // self.processes
        stop = size * (self.process + 1) // self.processes
        images, labels = self.source.take(tf.range(first + start, first + stop))
        return self.source.standardized(images), labels
