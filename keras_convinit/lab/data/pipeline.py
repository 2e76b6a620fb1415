"""Batches of a data set as a tf.data pipeline, a pure function of its arguments."""

import contextlib
import numbers
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_convinit.lab.checks import whole
from keras_convinit.lab.data import _tensorflow as tf
from keras_convinit.lab.data._batch import HeldOutBatch, Source, TrainingBatch
from keras_convinit.lab.data.augmentation import (
    STAGES,
    Augmentation,
    MixingAugmentation,
)
from keras_convinit.lab.data.images import ImageDataset


def steps_per_epoch(dataset: ImageDataset, batch_size: int) -> int:
    """How many batches of training images an epoch has; the remainder is left out.

    Args:
        dataset: The images.
        batch_size: Images a batch, over all processes.

    Raises:
        ValueError: There is not even one batch.
    """
    whole("batch_size", batch_size, 1)
    count = len(dataset.train_images)
    if batch_size > count:
        raise ValueError(
            f"`batch_size` must be at most {count}, the number of training images. "
            f"Received: batch_size={batch_size}"
        )
    return count // batch_size


def batches(
    dataset: ImageDataset,
    part: str = "train",
    *,
    batch_size: int,
    augmentations: Iterable[Augmentation] = (),
    seed: int = 0,
    first_epoch: int = 0,
    epochs: int = 1,
    shard: tuple[int, int] = (0, 1),
) -> Any:
    """Standardized images and one-hot labels, batch by batch.

    Epoch number e is the same wherever a run begins. Training images come in a new
    order each epoch, and what is left of them after the last full batch is left out;
    held-out images come in their own order, all of them.

    Args:
        dataset: The images.
        part: `"train"`, `"validation"` or `"test"`.
        batch_size: Images a batch, over all processes.
        augmentations: What to do to training images, in this order, which must be that
            of their stages: raw pixels, standardized images, mixing.
        seed: Decides the order and the augmentations.
        first_epoch: Number of the first epoch.
        epochs: How many.
        shard: Number of this process and number of processes: each has its rows of
            every batch, which side by side are the batch that one process alone would
            have, augmentations and mixing included.

    Returns:
        A `tf.data.Dataset` of pairs of float32: images, `(batch_size, height, width,
        channels)`, and labels, `(batch_size, num_classes)`. Models of any backend
        train on it.

    Raises:
        ValueError: Something is not what is said here.

    Example:
        >>> from keras_convinit.lab.data import batches, load
        >>> from keras_convinit.lab.data.augmentation import CropFlip
        >>> digits = load("digits").with_validation()
        >>> training = batches(
        ...     digits, batch_size=32, augmentations=[CropFlip(1, flip=False)], epochs=3
        ... )
    """
    whole("batch_size", batch_size, 1)
    pair = _two_words(whole("seed", seed, 0))
    whole("first_epoch", first_epoch, 0)
    whole("epochs", epochs, 1)
    process, processes = _shard(shard)
    changes, mixing = _chain(augmentations)
    dataset.part(part)
    if part == "train":
        steps = steps_per_epoch(dataset, batch_size)
        if batch_size % processes:
            raise ValueError(
                f"`batch_size` must be a multiple of {processes}, the number of "
                f"processes. Received: batch_size={batch_size}"
            )
    elif changes or mixing:
        raise ValueError(
            "`augmentations` must be empty but for part='train'. "
            f"Received: augmentations={augmentations!r}, part={part!r}"
        )
    if any(change.eight_bit for change in changes):
        dataset = dataset.eight_bit()

    _leave_accelerators_alone()
    # Were the images on another device, each batch would be fetched from there.
    with tf.device("CPU"):
        source = Source(dataset, part)
        make: TrainingBatch | HeldOutBatch
        if part == "train":
            make = TrainingBatch(
                source, changes, mixing, pair, batch_size, process, processes
            )
            order = _orders(pair, len(source), steps, batch_size, first_epoch, epochs)
        else:
            make = HeldOutBatch(source, batch_size, process, processes)
            order = tf.data.Dataset.range(make.steps).repeat(epochs)
        options = tf.data.Options()
        # It is divided already.
        options.experimental_distribute.auto_shard_policy = (
            tf.data.experimental.AutoShardPolicy.OFF
        )
        # There is no control flow in it for TensorFlow to convert.
        make_batch = tf.autograph.experimental.do_not_convert(make)
        pipeline = order.map(make_batch, num_parallel_calls=tf.data.AUTOTUNE)
        return pipeline.prefetch(tf.data.AUTOTUNE).with_options(options)


def _orders(
    seed: np.ndarray,
    count: int,
    steps: int,
    batch_size: int,
    first_epoch: int,
    epochs: int,
) -> Any:
    """Number of the epoch, number of the batch in it, and the numbers of its images."""

    def epoch_of(epoch: Any) -> Any:
        own_seed = tf.random.fold_in(tf.random.fold_in(seed, epoch), 0)
        order = tf.random.experimental.stateless_shuffle(tf.range(count), own_seed)
        chosen = tf.reshape(order[: steps * batch_size], (steps, batch_size))
        return tf.data.Dataset.from_tensor_slices(
            (tf.fill((steps,), epoch), tf.range(steps), chosen)
        )

    epoch_numbers = tf.data.Dataset.range(
        first_epoch, first_epoch + epochs, output_type=tf.int32
    )
    known = tf.data.experimental.assert_cardinality(epochs * steps)
    return epoch_numbers.flat_map(epoch_of).apply(known)


def _two_words(seed: int) -> np.ndarray:
    """An integer of any size as two int32, TensorFlow's kind of seed."""
    return np.random.SeedSequence(seed).generate_state(2, np.uint32).view(np.int32)


def _chain(
    augmentations: Any,
) -> tuple[list[Augmentation], MixingAugmentation | None]:
    """What to do to each image, and what to all of them together."""
    named = list(augmentations) if isinstance(augmentations, Iterable) else [None]
    chain = [a for a in named if isinstance(a, Augmentation)]
    if chain != named:
        raise ValueError(
            "`augmentations` must be a sequence of instances of Augmentation, such as "
            f"[CropFlip(), Cutout()]. Received: augmentations={augmentations!r}"
        )
    stages = [STAGES.index(augmentation.stage) for augmentation in chain]
    if stages != sorted(stages):
        raise ValueError(
            f"`augmentations` must stand in the order of their stages, "
            f"{', '.join(STAGES)}. Received: "
            + ", ".join(f"{type(a).__name__} ({a.stage})" for a in chain)
        )
    mixing = [a for a in chain if isinstance(a, MixingAugmentation)]
    if len(mixing) > 1:
        raise ValueError(
            "`augmentations` must contain at most one that mixes images. "
            f"Received: augmentations={augmentations!r}"
        )
    changes = [a for a in chain if not isinstance(a, MixingAugmentation)]
    return changes, next(iter(mixing), None)


def _shard(shard: Any) -> tuple[int, int]:
    pair = tuple(shard) if isinstance(shard, Iterable) else ()
    whole_numbers = len(pair) == 2 and all(
        isinstance(n, numbers.Integral) and not isinstance(n, bool) for n in pair
    )
    if not whole_numbers or not 0 <= pair[0] < pair[1]:
        raise ValueError(
            "`shard` must be two integers, the number of this process, from 0, and the "
            f"number of processes. Received: shard={shard!r}"
        )
    return int(pair[0]), int(pair[1])


def _leave_accelerators_alone() -> None:
    """On another backend, TensorFlow would take the memory of a GPU from the model."""
    if keras.backend.backend() != "tensorflow":
        # If TensorFlow is at work already, it is too late.
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
