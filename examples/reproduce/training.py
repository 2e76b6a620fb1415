"""Trains one network again and again, compiled once."""

import dataclasses
import functools
import math
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_convinit import initialize
from keras_convinit.lab import data, models
from keras_convinit.lab.over_seeds import WINDOW
from keras_convinit.lab.progress import AfterStep
from keras_convinit.lab.recipes import Optimizer, Schedule
from keras_convinit.lab.scheme_source import scheme_from
from keras_convinit.lab.training import optimizers
from keras_convinit.lab.training.evaluation import (
    compile_for_recording,
    evaluated,
    whole_batches,
)
from keras_convinit.lab.training.schedules import learning_rate

# In place of a scheme: what the network is made with.
AS_MADE = "as made"
LOSS = keras.losses.CategoricalCrossentropy(from_logits=True)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a training brought.

    Args:
        diverged: Whether its loss became NaN or infinite, which ended it.
        steps: Steps that it took.
        loss: Mean over its last steps; None if it diverged.
        accuracy: Of the training batches, likewise.
        held_out: Pairs of a step and the held-out accuracy then; after a divergence
            there is one of 0, as Arpit et al. count it.
        processor_seconds: Processor time of the steps, without evaluations: what else
            the machine does meanwhile is not in it.
        initialization_seconds: What the scheme took.
    """

    diverged: bool
    steps: int
    loss: float | None
    accuracy: float | None
    held_out: list[list[float]]
    processor_seconds: float
    initialization_seconds: float


@dataclasses.dataclass(frozen=True)
class Course:
    """How a network is trained.

    Args:
        learning_rate: The peak.
        epochs: Times that every image is seen.
        schedule: The learning rate's way.
        steps: An end before that of the epochs; None for none.
        evaluations: How often held-out images are looked at, the end included.
    """

    learning_rate: float
    epochs: int
    schedule: Schedule = Schedule()  # noqa: RUF009
    steps: int | None = None
    evaluations: int = 1


class Trainer:
    """Trains networks on some images.

    Networks stay compiled, the last few of them: another start, seed or learning rate
    costs neither building nor compiling.

    Args:
        images: The images.
        batch_size: Images in a step.
        optimizer: Momentum, weight decay and clipping; its learning rate is that of the
            course.
        augmentations: What is done to training images.
        held_out: Held-out images at most.
        kept: How many networks stay compiled.
    """

    def __init__(
        self,
        images: data.ImageDataset,
        batch_size: int,
        optimizer: Optimizer,
        augmentations: Sequence[data.augmentation.Augmentation] = (),
        held_out: int | None = None,
        kept: int = 2,
    ) -> None:
        self.images = images
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.augmentations = tuple(augmentations)
        few = images.limited(held_out)
        test = data.batches(few, "test", batch_size=batch_size)
        self.held_out = whole_batches(test, batch_size).cache()
        self.steps_per_epoch = data.steps_per_epoch(images, batch_size)
        self._compiled = functools.lru_cache(kept)(self._made)

    def steps(self, course: Course) -> int:
        """How many steps a course has."""
        whole = course.epochs * self.steps_per_epoch
        return whole if course.steps is None else min(whole, course.steps)

    def run(
        self,
        network: str,
        scheme: str,
        seed: int,
        course: Course,
        after_step: AfterStep = lambda accuracy: None,
    ) -> Outcome:
        """Initializes and trains.

        Args:
            network: See `models.from_spec`.
            scheme: See `scheme_from`; or `AS_MADE`.
            seed: Decides weights, order of images and augmentations.
            course: How to train.
            after_step: Called after each step.

        Returns:
            What came out; it depends on the arguments alone.
        """
        # Not a part of what the scheme takes.
        self._compiled(network)
        started = time.perf_counter()
        model = self._begun(network, scheme, seed)
        initialization = time.perf_counter() - started
        keras.utils.set_random_seed(seed)
        steps = self.steps(course)
        rates = _rates(
            course.schedule, course.learning_rate, course.epochs, self.steps_per_epoch
        )
        looks = _looks(steps, course.evaluations)
        batches = iter(self._batches(seed, course.epochs))
        losses: list[float] = []
        accuracies: list[float] = []
        held_out: list[list[float]] = []
        seconds = 0.0
        for step in range(steps):
            images, labels = (np.asarray(part) for part in next(batches))
            started = time.process_time()
            model.optimizer.learning_rate = rates[step]
            model.reset_metrics()
            logs = model.train_on_batch(images, labels, return_dict=True)
            loss = float(logs["loss"])
            seconds += time.process_time() - started
            if not math.isfinite(loss):
                break
            losses.append(loss)
            accuracies.append(float(logs["accuracy"]))
            after_step(accuracies[-1])
            if step + 1 in looks:
                found = evaluated(model, self.held_out)
                # What the last step made of the weights may be seen here first.
                if not math.isfinite(found["cross_entropy"]):
                    break
                held_out.append([step + 1, round(found["accuracy"], 5)])
        diverged = not held_out or held_out[-1][0] < steps
        if diverged:
            held_out.append([len(losses), 0.0])
        return Outcome(
            diverged=diverged,
            steps=len(losses),
            loss=None if diverged else _last(losses),
            accuracy=None if diverged else _last(accuracies),
            held_out=held_out,
            processor_seconds=round(seconds, 2),
            initialization_seconds=round(initialization, 2),
        )

    def _begun(self, network: str, scheme: str, seed: int) -> Any:
        """A network at its start, with an optimizer that has done nothing."""
        model, state = self._compiled(network)
        for variable, value in zip(model.optimizer.variables, state, strict=True):
            variable.assign(value)
        keras.utils.set_random_seed(seed)
        if scheme == AS_MADE:
            # Keras draws when a network is made.
            drawn = self._network(network).variables
            for variable, value in zip(model.variables, drawn, strict=True):
                variable.assign(_value(value))
        else:
            data_of_scheme = self._batches(seed, epochs=1)
            initialize(model, scheme_from(scheme), data_of_scheme, loss=LOSS, seed=seed)
        return model

    def _batches(self, seed: int, epochs: int) -> Any:
        return data.batches(
            self.images,
            batch_size=self.batch_size,
            augmentations=self.augmentations,
            seed=seed,
            epochs=epochs,
        )

    def _made(self, network: str) -> tuple[Any, list[np.ndarray]]:
        """A compiled network, and the state of an optimizer that has done nothing."""
        model = self._network(network)
        optimizer = optimizers.made(self.optimizer, Schedule(), 1, 1)
        compile_for_recording(model, optimizer, "auto")
        optimizer.build(model.trainable_variables)
        return model, [_value(variable) for variable in optimizer.variables]

    def _network(self, network: str) -> Any:
        return models.from_spec(
            network,
            input_shape=self.images.train_images.shape[1:],
            num_classes=self.images.num_classes,
        )


@functools.cache
def _rates(
    schedule: Schedule, peak: float, epochs: int, steps_per_epoch: int
) -> list[float]:
    """The learning rate of every step."""
    found = learning_rate(schedule, peak, epochs, steps_per_epoch)
    steps = range(epochs * steps_per_epoch)
    return [float(found(step)) if callable(found) else found for step in steps]


def _looks(steps: int, count: int) -> set[int]:
    """After which steps held-out images are looked at."""
    return {round(steps * (number + 1) / count) for number in range(count)}


def _last(values: Sequence[float]) -> float:
    return round(float(np.mean(values[-WINDOW:])), 5)


def _value(variable: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable))
