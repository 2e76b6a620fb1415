"""Where the channels of a tensor are."""

from typing import Any

import keras

from keras_convinit.graph import Program


def axis_of_output(layer: Any, given: Any, outputs: Any) -> int:
    """The axis of the channels of what a layer gives."""
    rank = len(outputs[0].shape) if outputs else 0
    if rank < 3:
        return -1
    data_format = getattr(layer, "data_format", None)
    if data_format is None and isinstance(layer, keras.layers.Wrapper):
        data_format = getattr(layer.layer, "data_format", None)
    if data_format is not None:
        return 1 if data_format == "channels_first" else -1
    return given[0][1] if given else -1


def axis_of_input(program: Program, x: Any) -> int:
    """The axis of the channels of an input of the model."""
    if len(x.shape) < 3:
        return -1
    for call in program.calls:
        data_format = getattr(call.layer, "data_format", None)
        if data_format is not None:
            return 1 if data_format == "channels_first" else -1
    return -1
