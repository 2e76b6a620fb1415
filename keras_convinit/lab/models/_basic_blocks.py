"""Residual blocks with batch normalization and ReLU behind each sum."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_convinit.lab.models._convolutions import Convolutions
from keras_convinit.lab.models._parts import batch_normalization, relu


def basic_stages(
    x: Any,
    convolutions: Convolutions,
    widths: Sequence[int],
    blocks: Sequence[int],
    *,
    projection: bool,
) -> Any:
    """Stages of blocks of two 3x3 convolutions, as in the first version of ResNet.

    The first block of a stage halves the size of the maps, but for the first stage.

    Args:
        x: What comes from the stem, normalized and activated.
        convolutions: Makes the convolutions.
        widths: The channels of each stage.
        blocks: The number of blocks of each stage.
        projection: Whether the shortcut of a block that changes the shape is a 1x1
            convolution; otherwise it is every other position, normalized, and zeros in
            place of the channels that are missing ("option A").

    Returns:
        What the last stage gives.
    """

    def shortcut(x: Any, width: int, stride: int, name: str) -> Any:
        if stride == 1 and x.shape[-1] == width:
            return x
        if projection:
            x = convolutions(x, width, 1, f"{name}_projection", stride=stride)
            return batch_normalization(x, f"{name}_projection_normalization")
        missing = width - x.shape[-1]
        x = keras.layers.AveragePooling2D(
            1, strides=stride, data_format="channels_last", name=f"{name}_subsampling"
        )(x)
        x = batch_normalization(x, f"{name}_subsampling_normalization")
        return keras.ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, missing)))

    for stage, (width, count) in enumerate(zip(widths, blocks, strict=True), start=1):
        for number in range(1, count + 1):
            name = f"stage_{stage}_block_{number}"
            stride = 2 if stage > 1 and number == 1 else 1
            y = convolutions(x, width, 3, f"{name}_convolution_1", stride=stride)
            y = batch_normalization(y, f"{name}_normalization_1")
            y = relu(y, f"{name}_activation_1")
            y = convolutions(y, width, 3, f"{name}_convolution_2")
            y = batch_normalization(y, f"{name}_normalization_2")
            x = shortcut(x, width, stride, name)
            x = keras.layers.Add(name=f"{name}_sum")([x, y])
            x = relu(x, f"{name}_activation_2")
    return x
