"""One run: a contender, images and a seed go in, plain data comes out."""

import math
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_convinit._interruption import check_interruption
from keras_convinit.lab import models
from keras_convinit.lab.data import ImageDataset
from keras_convinit.lab.stories.results import Run
from keras_convinit.lab.stories.story import Contender, Story, Training
from keras_convinit.lab.stories.watching import initial_signals

# Called after every step with the loss and the accuracy of its batch.
Observer = Callable[[float, float], None]


def run(
    story: Story,
    contender: Contender,
    dataset: ImageDataset,
    seed: int,
    observe: Observer = lambda loss, accuracy: None,
) -> Run:
    """Trains a contender from its initialization on.

    The result depends on the arguments alone, not on what ran before. The random state
    of Python, numpy and the Keras backend is set by it.

    Args:
        story: How to train, and what to watch.
        contender: What to train.
        dataset: The images.
        seed: Decides the initial weights and the order of the images.
        observe: Called after every step with the loss and the accuracy of its batch.

    Returns:
        The finished run.
    """
    start = time.perf_counter()
    keras.utils.set_random_seed(seed)
    train_images = dataset.standardized(dataset.train_images)
    model = getattr(models, contender.network)(
        input_shape=train_images.shape[1:],
        num_classes=dataset.num_classes,
        **contender.arguments,
    )
    few = slice(256)
    signal, error = initial_signals(
        model, train_images[few], dataset.train_labels[few], _loss(), story.watched
    )

    recorder = _Recorder(observe)
    _fit(model, train_images, dataset.train_labels, story.training, seed, recorder)
    accuracy = None
    if not recorder.diverged:
        test_images = dataset.standardized(dataset.test_images)
        accuracy = _accuracy(model, test_images, dataset.test_labels)
    return Run(
        story=story.name,
        contender=contender.label,
        seed=seed,
        held_out_accuracy=0.0 if accuracy is None else accuracy,
        diverged=accuracy is None,
        losses=tuple(recorder.losses),
        accuracies=tuple(recorder.accuracies),
        signal=signal,
        error=error,
        seconds=round(time.perf_counter() - start, 1),
    )


def steps(training: Training, count: int) -> int:
    """How many steps a training on that many images takes."""
    return training.epochs * _steps_per_epoch(training, count)


def _steps_per_epoch(training: Training, count: int) -> int:
    # Every epoch leaves out other images, fewer than a batch of them.
    return max(1, count // training.batch_size)


def _fit(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    training: Training,
    seed: int,
    recorder: "_Recorder",
) -> None:
    model.compile(
        keras.optimizers.SGD(
            training.learning_rate,
            momentum=training.momentum,
            global_clipnorm=training.clip_norm,
        ),
        _loss(),
        metrics=[
            LastBatch(_cross_entropy, name="batch_loss"),
            LastBatch(keras.metrics.sparse_categorical_accuracy, name="batch_accuracy"),
        ],
    )
    # Otherwise TensorFlow traces the step twice.
    model.optimizer.build(model.trainable_variables)
    # One long epoch: so a batch is a function of the seed and of its number, however
    # far ahead a backend may fetch.
    model.fit(
        _Batches(images, labels, training, seed),
        shuffle=False,
        verbose=0,
        callbacks=[recorder],
    )


def _loss() -> keras.losses.Loss:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _cross_entropy(labels: Any, logits: Any) -> Any:
    return keras.losses.sparse_categorical_crossentropy(
        labels, logits, from_logits=True
    )


def _accuracy(
    model: keras.Model, images: np.ndarray, labels: np.ndarray
) -> float | None:
    """None if the network says something that is not a number."""
    right = 0
    # `predict` would compile the network once more, for a few batches.
    for first in range(0, len(images), 512):
        some = slice(first, first + 512)
        logits = keras.ops.convert_to_numpy(model(images[some], training=False))
        if not np.isfinite(logits).all():
            return None
        right += int((logits.argmax(axis=-1) == labels[some]).sum())
    return right / len(images)


class LastBatch(keras.metrics.Metric):
    """A metric of the last batch alone; those of Keras average over the epoch.

    Args:
        function: Maps labels and logits of a batch to a value for each image.
        name: Name of the metric.
    """

    def __init__(self, function: Callable[[Any, Any], Any], name: str) -> None:
        super().__init__(name=name)
        self.function = function
        self.value = self.add_variable((), initializer="zeros", name="value")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Takes the value of this batch in place of that of the previous one."""
        del sample_weight
        self.value.assign(keras.ops.mean(self.function(y_true, y_pred)))

    def result(self) -> Any:
        """The mean over the images of the last batch."""
        return keras.ops.convert_to_tensor(self.value)


class _Batches(keras.utils.PyDataset):
    """All the batches of a training, one epoch after the other in a new order."""

    def __init__(
        self, images: np.ndarray, labels: np.ndarray, training: Training, seed: int
    ) -> None:
        super().__init__()
        self.images = images
        self.labels = labels
        self.training = training
        self.seed = seed

    def __len__(self) -> int:
        return steps(self.training, len(self.images))

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        count, size = len(self.images), self.training.batch_size
        epoch, step = divmod(number, _steps_per_epoch(self.training, count))
        order = np.random.default_rng((self.seed, epoch)).permutation(count)
        chosen = order[step * size : (step + 1) * size]
        return self.images[chosen], self.labels[chosen]


class _Recorder(keras.callbacks.Callback):
    """Keeps loss and accuracy of every step, and ends a run that has diverged."""

    def __init__(self, observe: Observer) -> None:
        super().__init__()
        self.observe = observe
        self.losses: list[float] = []
        self.accuracies: list[float] = []
        self.diverged = False

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        check_interruption()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        loss, accuracy = float(logs["batch_loss"]), float(logs["batch_accuracy"])
        if not math.isfinite(loss):
            self.diverged = True
            self.model.stop_training = True
            return
        # Five digits: a file for people, too.
        self.losses.append(round(loss, 5))
        self.accuracies.append(round(accuracy, 5))
        self.observe(loss, accuracy)
