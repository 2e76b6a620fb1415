"""How schemes run a model: as in inference, but with the statistics of the batch."""

from collections.abc import Callable
from typing import Any

import keras

from keras_convinit.graph import Call, Trace, takes_training


def uses_batch_statistics(layer: Any) -> bool:
    """Whether a layer normalises by statistics of the batch while it is trained."""
    while isinstance(layer, keras.layers.Wrapper):
        layer = layer.layer
    return isinstance(layer, keras.layers.BatchNormalization)


def forward_of(program: Trace, batch_statistics: bool) -> Callable[[Any], Any]:
    """The model as a function of its inputs, for use in a scope without state.

    Args:
        program: The model.
        batch_statistics: Whether batch normalisation uses those of the batch; its
            averages, which know nothing yet, otherwise. All else is in inference mode.
    """

    def call(step: Call, *args: Any, **kwargs: Any) -> Any:
        if not step.fixed_training and takes_training(step.layer):
            kwargs["training"] = batch_statistics and uses_batch_statistics(step.layer)
        return step.layer(*args, **kwargs)

    return lambda inputs: program.run(inputs, call)
