"""Data sets that somebody brings along, as a function."""

import dataclasses
from typing import Any

import numpy as np

from keras_convinit.lab.comparison.images import AbstractImages, sample_of
from keras_convinit.lab.data import DATASETS
from keras_convinit.lab.errors import LabError
from keras_convinit.lab.module_source import made_by, thing_of

EXPECTED = (
    "A function of DATA must give a pair of tf.data sets, to train on and to validate "
    "on, of batches of (images, labels): images as the model takes them, labels whole "
    "numbers from 0, or one-hot."
)


@dataclasses.dataclass
class Seen:
    """What a data set turned out to have."""

    images: int = 0
    steps: int = 0
    largest: int = 0
    classes: int = 0
    one_hot: bool = False


class OwnImages(AbstractImages):
    """What a function `package.module:function` gives.

    It is called again for every run, when the seeds are set, so that a data set which
    shuffles does so by the seed. It has to give the same images each time; the first
    time they are gone through, to see what they are.

    Args:
        source: Where the function stands.

    Raises:
        LabError: It does not give what is asked for.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.function = thing_of(source, "DATA must be a name or a function.", DATASETS)
        if not callable(self.function):
            raise self._wrong(repr(self.function))
        training, validation = self._pair()
        train, held_out = self._seen(training), self._seen(validation)
        if train.one_hot != held_out.one_hot or (
            train.one_hot and train.classes != held_out.classes
        ):
            raise self._wrong("labels of two kinds")
        self.one_hot = train.one_hot
        self.counts = {"training": train.images, "validation": held_out.images}
        self.steps_per_epoch = train.steps
        self.batch_size = train.largest
        images, labels = next(training.as_numpy_iterator())
        self.sample = sample_of(
            source,
            images,
            labels.argmax(axis=1) if self.one_hot else labels.reshape(-1),
            max(train.classes, held_out.classes),
        )

    def training(self, seed: int) -> Any:
        """One epoch of them."""
        del seed  # The function shuffles, if anything does.
        return self._prepared(self._pair()[0])

    def validation(self) -> Any:
        """All of them."""
        return self._prepared(self._pair()[1])

    def for_scheme(self, seed: int) -> Any:
        """Those to train on."""
        return self.training(seed)

    def meet(self, outputs: int) -> None:
        """Whole numbers as labels may leave out the last classes."""
        if not self.one_hot and outputs > self.sample.num_classes:
            self.sample = dataclasses.replace(self.sample, num_classes=outputs)

    def _pair(self) -> tuple[Any, Any]:
        import tensorflow as tf

        pair = made_by(self.function, self.source, EXPECTED)
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise self._wrong(repr(pair))
        for some in pair:
            if not isinstance(some, tf.data.Dataset):
                raise self._wrong(f"{type(some).__name__} in the pair")
            spec = some.element_spec
            if not isinstance(spec, tuple) or list(map(type, spec)) != 2 * [
                tf.TensorSpec
            ]:
                raise self._wrong(f"batches of {spec}")
            if some.cardinality() == tf.data.INFINITE_CARDINALITY:
                raise self._wrong("a data set without end")
        return pair[0], pair[1]

    def _seen(self, batches: Any) -> Seen:
        seen = Seen()
        for images, labels in batches.as_numpy_iterator():
            seen.one_hot = labels.ndim == 2 and labels.shape[1] > 1
            whole = labels.dtype.kind in "iu" and labels.size == len(labels)
            if not (seen.one_hot or whole) or len(images) != len(labels):
                raise self._wrong(
                    f"a batch of images of shape {images.shape} and labels of shape "
                    f"{labels.shape}, {labels.dtype}"
                )
            if labels.min() < 0:
                raise self._wrong(f"the label {labels.min()}")
            if not np.isfinite(images).all():
                raise self._wrong("images that are NaN or infinite")
            here = labels.shape[1] if seen.one_hot else int(labels.max()) + 1
            seen.classes = max(seen.classes, here)
            seen.images += len(images)
            seen.steps += 1
            seen.largest = max(seen.largest, len(images))
        if not seen.images:
            raise self._wrong("a data set without images")
        return seen

    def _prepared(self, batches: Any) -> Any:
        import tensorflow as tf

        def prepared(images: Any, labels: Any) -> tuple[Any, Any]:
            if not self.one_hot:
                numbers = tf.reshape(tf.cast(labels, tf.int32), (-1,))
                labels = tf.one_hot(numbers, self.sample.num_classes)
            return tf.cast(images, tf.float32), tf.cast(labels, tf.float32)

        return batches.map(prepared).prefetch(tf.data.AUTOTUNE)

    def _wrong(self, received: str) -> LabError:
        return LabError(f"{EXPECTED} Received: {received}, from {self.source!r}")
