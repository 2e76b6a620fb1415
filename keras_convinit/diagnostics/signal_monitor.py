"""Signal reports while a model is trained."""

import os
from typing import Any

import keras

from keras_convinit._checks import check_positive_int
from keras_convinit._data import FirstBatch, is_dataset
from keras_convinit._event_file import EventFile
from keras_convinit._printable import escape_unprintable
from keras_convinit._types import DataLike, KerasModel, LossLike
from keras_convinit.diagnostics.signal_report import SignalReport, signal_report

SCALARS = (
    "forward_norm",
    "alpha",
    "error_norm",
    "beta",
    "weight_norm",
    "gradient_norm",
    "dead_fraction",
)


class SignalMonitor(keras.callbacks.Callback):
    """Callback that makes a signal report before training and every few epochs.

    Epochs are counted on where training goes on: with `initial_epoch`, and from one
    `fit` to the next of the same callback.

    Args:
        x: A batch, as `signal_report` takes it. A data set is iterated over once.
        y: Labels for it; None for those of a data set, or for none.
        log_dir: Folder for TensorBoard, to which the numbers of each layer are written
            as scalars such as `signal/conv2d/forward_norm`; None for none.
        every: Number of epochs from one report to the next.
        loss: A loss in place of the one with which the model is compiled.
        seed: As of `signal_report`.
        model: Model to report on in place of the one that is trained: a part of it,
            such as the generator of a pair that is trained against each other. With
            labels a part needs a `loss`, unless it is compiled with one.

    Attributes:
        reports: The reports, by the number of epochs before them.

    Raises:
        ValueError: `every` is not a positive integer, or `model` is neither a Keras
            model nor None. When a training begins: the model that is trained has no
            `call` of its own, and no `model` is given.
        ModuleNotFoundError: `log_dir` is given, and tensorboard is not installed.

    Example:
        >>> x, y = np.random.normal(size=(64, 8)), np.zeros((64, 4))
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> model.compile("sgd", "mse")
        >>> monitor = keras_convinit.SignalMonitor(x[:32], y[:32], every=5)
        >>> history = model.fit(x, y, epochs=10, verbose=0, callbacks=[monitor])
        >>> [(epochs, report.verdict) for epochs, report in monitor.reports.items()]
        [(0, 'steady'), (5, 'steady'), (10, 'steady')]
    """

    def __init__(
        self,
        x: DataLike,
        y: DataLike = None,
        log_dir: str | os.PathLike[str] | None = None,
        *,
        every: int = 1,
        loss: LossLike = None,
        seed: int = 0,
        model: KerasModel | None = None,
    ) -> None:
        super().__init__()
        if not (model is None or isinstance(model, keras.Model)):
            raise ValueError(
                f"`model` must be a Keras model or None. Received: model={model!r}"
            )
        self._part = model
        self.every = check_positive_int("every", every)
        self.reports: dict[int, SignalReport] = {}
        self._batch = FirstBatch(x) if is_dataset(x) else x
        self._y = y
        self._loss = loss
        self._seed = seed
        self._events = None if log_dir is None else EventFile(log_dir)
        self._offset: int | None = None

    @property
    def history(self) -> list[dict[str, Any]]:
        """Reports as plain data, each with its `"epoch"`."""
        return [
            {"epoch": epoch, **report.to_dict()}
            for epoch, report in self.reports.items()
        ]

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forgets where the epochs of the last training began.

        Raises:
            ValueError: The model that is trained has no `call` of its own, and no
                `model` is given.
        """
        if self._part is None and type(self.model).call is keras.Model.call:
            raise ValueError(
                "`model` must be given for a model without a `call` of its own: the "
                "part that has one, as in `SignalMonitor(x, model=gan.generator)`. "
                f"Received: model=None, in the training of {self.model!r}"
            )
        self._offset = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Makes a report before the first epoch."""
        if self._offset is None:
            last = max(self.reports, default=0)
            self._offset = max(last - epoch, 0)
            if epoch + self._offset not in self.reports:
                self._report(epoch + self._offset)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Makes a report every few epochs."""
        done = epoch + 1 + (self._offset or 0)
        if done % self.every == 0:
            self._report(done)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Flushes the file of events to disk."""
        if self._events is not None:
            self._events.flush()

    def _report(self, epoch: int) -> None:
        # Asked for in any case: JAX then puts the values of the moment into variables.
        trained = self.model
        model = trained if self._part is None else self._part
        report = signal_report(model, self._batch, self._y, self._loss, seed=self._seed)
        self.reports[epoch] = report
        if self._events is not None:
            self._events.write(epoch, list_scalars(report))


def list_scalars(report: SignalReport) -> dict[str, float]:
    """Returns the numbers of a report under names for TensorBoard."""
    scalars = {} if report.loss is None else {"signal/loss": report.loss}
    for row in report.rows:
        for name in SCALARS:
            value = getattr(row, name)
            if value is not None:
                scalars[f"signal/{escape_unprintable(row.path)}/{name}"] = value
    return scalars
