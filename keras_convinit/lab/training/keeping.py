"""What a training leaves on the disk as it goes."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_convinit._event_file import EventFile
from keras_convinit._interruption import check_interruption
from keras_convinit.lab.files import unwritable, write_text
from keras_convinit.lab.training import checkpoint, generators
from keras_convinit.lab.training.divergence import Divergence
from keras_convinit.lab.training.record import Epoch, Record

CHECKPOINT = "checkpoint.npz"
LOG = "log.csv"
EVENTS = "events"


class Keeper(keras.callbacks.Callback):
    """Keeps the record of a training, and what it needs to go on after each epoch.

    Args:
        record: What earlier starts brought.
        states: Of random generators, where they ended; empty for a first start.
        divergence: Knows whether the training has diverged.
        folder: Where to write `checkpoint.npz`, `log.csv` and TensorBoard's events;
            None for nowhere.
        settings: What the training depends on, for the checkpoint.

    Attributes:
        record: What the training brought until now.
    """

    def __init__(
        self,
        record: Record,
        states: dict[str, np.ndarray],
        divergence: Divergence,
        folder: Path | None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.record = record
        self.states = states
        self.divergence = divergence
        self.folder = folder
        self.settings = settings
        self.events: EventFile | None = None
        if folder is not None:
            with self._writing_events():
                self.events = EventFile(folder / EVENTS)
        self.started = 0.0
        self.learning_rate = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Looks at the clock and at the learning rate."""
        self.started = time.perf_counter()
        rate = keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
        self.learning_rate = float(rate)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Puts random generators where they were, unless it is to end."""
        check_interruption()
        # Not earlier: on PyTorch what reads the data draws a number when it begins,
        # which it does once, and did in the first start.
        if self.states:
            generators.restore(self.states)
            self.states = {}

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Ends, if it is to."""
        check_interruption()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes; the checkpoint last, so that what it tells of is there."""
        finished = Epoch.of(
            epoch + 1,
            self.learning_rate,
            logs or {},
            time.perf_counter() - self.started,
        )
        self.record = self.record.with_epoch(finished, self.divergence.found)
        if self.folder is None or self.events is None:
            return
        write_text(self.folder / LOG, self.record.as_csv())
        self._write(self.events, finished)
        checkpoint.save(
            self.folder / CHECKPOINT, self.model, self.record, self.settings
        )

    def close(self) -> None:
        """Ends writing, however the training ended."""
        if self.events is not None:
            with self._writing_events():
                self.events.close()

    def _write(self, events: EventFile, epoch: Epoch) -> None:
        scalars = {
            f"epoch/{name}": value
            for name, value in dataclasses.asdict(epoch).items()
            if name != "number" and value is not None
        }
        with self._writing_events():
            events.write(epoch.number, scalars)
            events.flush()

    @contextlib.contextmanager
    def _writing_events(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise unwritable(f"{self.folder}/{EVENTS}", error) from error
