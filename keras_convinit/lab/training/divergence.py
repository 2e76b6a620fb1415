"""When a training has failed."""

import math
from typing import Any

import keras


class Divergence(keras.callbacks.Callback):
    """Ends a training whose loss is NaN or infinite.

    Attributes:
        found: Whether it has.

    Reference:
        Arpit, Campos, Bengio 2019 count such a run as accuracy 0; their code tests for
        NaN alone.
    """

    # Keras then calls it beside the training, which does not wait for the loss.
    async_safe = True

    def __init__(self) -> None:
        super().__init__()
        self.found = False
        self.trained: keras.Model | None = None

    def set_model(self, model: keras.Model) -> None:
        """Keeps the model by a name of its own.

        On JAX, `self.model` would put the weights back into it, beside the training.
        """
        super().set_model(model)
        self.trained = model

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Looks at the mean loss of the epoch so far, which stays not finite."""
        self._look(logs, "loss")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Looks at what the last step has made of the weights, too."""
        self._look(logs, "loss", "val_loss")

    def _look(self, logs: Any, *names: str) -> None:
        values = [float((logs or {}).get(name, 0.0)) for name in names]
        if not all(map(math.isfinite, values)):
            assert self.trained is not None
            self.found = True
            self.trained.stop_training = True
