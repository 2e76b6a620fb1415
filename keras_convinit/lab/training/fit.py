"""Trains any model on any data, and keeps a record of it."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_convinit.lab.recipes import Optimizer, Schedule
from keras_convinit.lab.training import checkpoint, optimizers
from keras_convinit.lab.training.divergence import Divergence
from keras_convinit.lab.training.evaluation import compile_for_recording
from keras_convinit.lab.training.keeping import CHECKPOINT, Keeper
from keras_convinit.lab.training.record import Record

CONSTANT = Schedule()


def fit_recorded(
    model: keras.Model,
    train_batches: Any,
    validation: Any,
    *,
    optimizer: Optimizer,
    schedule: Schedule = CONSTANT,
    epochs: int,
    steps_per_epoch: int | None = None,
    folder: Path | None = None,
    writes: bool = True,
    settings: Mapping[str, Any] | None = None,
    xla: bool | str = "auto",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int = 0,
) -> Record:
    """Trains a model, from where an earlier start in the folder ended.

    Args:
        model: A built model that gives logits. It is compiled here; within the scope of
            a strategy, if it was built within one.
        train_batches: A tf.data set of one epoch of (images, one-hot labels), or a
            function from the number of finished epochs to a data set of all that are
            left. With the latter a training that was interrupted ends like one that was
            not, where the data are a function of the epoch.
        validation: A tf.data set of (images, one-hot labels), or of these and weights;
            None for none.
        optimizer: The optimizer as data.
        schedule: Its learning rate's way through the run.
        epochs: Length of the run.
        steps_per_epoch: Steps of an epoch; None for as many as the data set has.
        folder: Where checkpoint, log and events lie; None for nowhere.
        writes: Whether this process writes there, not just reads.
        settings: What the training depends on, as plain data, for the checkpoint.
        xla: Whether to compile by XLA, on TensorFlow; `"auto"` for Keras' choice.
        callbacks: More callbacks.
        verbose: Of `fit`.

    Returns:
        The record. A training whose loss is NaN or infinite ends there, as diverged.

    Raises:
        LabError: The checkpoint cannot be read or written.

    Example:
        >>> from keras_convinit.lab.data import batches, load
        >>> from keras_convinit.lab.models import mlp
        >>> from keras_convinit.lab.recipes import Optimizer
        >>> from keras_convinit.lab.training import fit_recorded
        >>> model = mlp(depth=2, width=8, input_shape=(8, 8, 1))
        >>> training = batches(load("digits", 64), batch_size=32)
        >>> record = fit_recorded(
        ...     model, training, None, optimizer=Optimizer(0.1), epochs=2
        ... )
        >>> len(record.epochs)
        2
    """
    if steps_per_epoch is None:
        whole = train_batches(0) if callable(train_batches) else train_batches
        steps_per_epoch = int(whole.cardinality())
        if callable(train_batches):
            steps_per_epoch //= epochs
    compile_for_recording(
        model, optimizers.made(optimizer, schedule, epochs, steps_per_epoch), xla
    )
    # Its variables belong to a checkpoint; and TensorFlow else traces the step twice.
    model.optimizer.build(model.trainable_variables)

    record, states = Record(), dict[str, np.ndarray]()
    if folder is not None and (folder / CHECKPOINT).exists():
        record, states = checkpoint.load(folder / CHECKPOINT, model)
    finished = len(record.epochs)
    if record.diverged or finished >= epochs:
        return record

    divergence = Divergence()
    keeper = Keeper(record, states, divergence, folder if writes else None, settings)
    by_epoch = callable(train_batches)
    with contextlib.closing(keeper):
        model.fit(
            train_batches(finished) if by_epoch else train_batches,
            epochs=epochs,
            initial_epoch=finished,
            steps_per_epoch=steps_per_epoch if by_epoch else None,
            # The data set has its own order.
            shuffle=False,
            validation_data=validation,
            callbacks=[divergence, keeper, *callbacks],
            verbose=verbose,
        )
    return keeper.record
