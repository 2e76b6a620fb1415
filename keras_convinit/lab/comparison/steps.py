"""The accuracy of every step of a training, at no cost."""

from collections.abc import Callable
from typing import Any

import keras


class StepAccuracies(keras.callbacks.Callback):
    """Keeps the training accuracy of every step.

    Keras tells the mean over an epoch so far, which is fetched for the loss anyway; of
    two of them comes the accuracy of the batch between. A batch at the end of an epoch
    that is smaller than the others counts as if it were none.

    Args:
        after_step: Called after every step with its accuracy.

    Attributes:
        accuracies: One number for each step of the finished epochs.
    """

    # Keras then calls it beside the training, in no certain order.
    async_safe = True

    def __init__(self, after_step: Callable[[float], None]) -> None:
        super().__init__()
        self.after_step = after_step
        self.accuracies: list[float] = []
        self.means: dict[int, float] = {}

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Keeps the mean."""
        self.means[batch] = float(logs["accuracy"])
        self.after_step(self._between(batch - 1, batch))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Makes steps of the means."""
        for batch in sorted(self.means):
            # Five digits: for a file that people read, too.
            self.accuracies.append(round(self._between(batch - 1, batch), 5))
        self.means.clear()

    def _between(self, before: int, batch: int) -> float:
        total = (before + 1) * self.means.get(before, 0.0)
        return min(max((batch + 1) * self.means[batch] - total, 0.0), 1.0)
