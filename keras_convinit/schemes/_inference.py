"""Runs models as in inference, but with the statistics of the batch."""

from collections.abc import Callable
from typing import Any

import keras

from keras_convinit import backend
from keras_convinit._contents import iterate_contents
from keras_convinit._types import KerasLayer
from keras_convinit.analysis import LayerCall, Program, takes_training


def uses_batch_statistics(layer: KerasLayer) -> bool:
    """Returns True if a layer normalizes by statistics of the batch in training."""
    while isinstance(layer, keras.layers.Wrapper):
        layer = layer.layer
    return isinstance(layer, keras.layers.BatchNormalization)


def forward_of(program: Program, batch_statistics: bool) -> Callable[[Any], Any]:
    """Returns a model as a function of its inputs, for use in a scope without state.

    Args:
        program: The model.
        batch_statistics: Whether batch normalization uses the statistics of the batch,
            instead of its averages. Everything else is in inference mode.
    """

    def call(step: LayerCall, *args: Any, **kwargs: Any) -> Any:
        if not step.fixed_training and takes_training(step.layer):
            kwargs["training"] = batch_statistics and uses_batch_statistics(step.layer)
        layer = step.layer
        if not isinstance(layer, keras.layers.Layer):
            return layer(*args, **kwargs)
        parts = [
            x for x in iterate_contents(layer) if isinstance(x, keras.layers.Layer)
        ]
        with backend.remember_values(layer, parts):
            return layer(*args, **kwargs)

    return lambda inputs: program.run(inputs, call)
