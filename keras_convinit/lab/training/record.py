"""What a training brought, epoch by epoch, as plain data."""

import csv
import dataclasses
import io
import math
from collections.abc import Mapping
from typing import Any

from keras_convinit.lab.plain_data import Count, Seconds, Share


@dataclasses.dataclass(frozen=True)
class Epoch:
    """One epoch. What is not finite, or was not measured, is None.

    Args:
        number: 1 for the first.
        learning_rate: Of its first step.
        loss: Mean over its steps, as the steps saw it.
        accuracy: Likewise; of images that are mixed, it is that of the larger share.
        validation_loss: Cross-entropy on the validation images after it.
        validation_accuracy: Share of them that is classified rightly.
        seconds: How long it took, validation included.
    """

    number: Count
    learning_rate: float
    loss: float | None
    accuracy: Share | None
    validation_loss: float | None
    validation_accuracy: Share | None
    seconds: Seconds

    @classmethod
    def of(
        cls, number: int, learning_rate: float, logs: Mapping[str, Any], seconds: float
    ) -> "Epoch":
        """The epoch that Keras' logs tell of."""

        def value(name: str) -> float | None:
            found = float(logs.get(name, math.nan))
            return float(f"{found:.6g}") if math.isfinite(found) else None

        return cls(
            number=number,
            learning_rate=float(f"{learning_rate:.6g}"),
            loss=value("loss"),
            accuracy=value("accuracy"),
            validation_loss=value("val_cross_entropy"),
            validation_accuracy=value("val_accuracy"),
            seconds=round(seconds, 3),
        )


@dataclasses.dataclass(frozen=True)
class Record:
    """The epochs of a training.

    Args:
        epochs: The finished ones, and the one in which it diverged.
        diverged: Whether a loss was not finite, which ended it.
    """

    epochs: tuple[Epoch, ...] = ()
    diverged: bool = False

    def with_epoch(self, epoch: Epoch, diverged: bool) -> "Record":
        """This record and one more epoch."""
        return Record((*self.epochs, epoch), diverged)

    @property
    def seconds(self) -> float:
        """Of all epochs, over all starts."""
        return round(sum(epoch.seconds for epoch in self.epochs), 3)

    def as_csv(self) -> str:
        """A table with one line for each epoch; empty is what is None."""
        fields = [field.name for field in dataclasses.fields(Epoch)]
        text = io.StringIO()
        writer = csv.DictWriter(text, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(dataclasses.asdict(epoch) for epoch in self.epochs)
        return text.getvalue()
