"""The stages of Arpit et al.: branches that are divided by the root of their number."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_convinit.lab.models._arguments import branch_scale
from keras_convinit.lab.models._convolutions import Convolutions
from keras_convinit.layers import ScaledResidual, ScaledResidualStack


def scaled_stages(
    x: Any,
    convolutions: Convolutions,
    widths: Sequence[int],
    blocks: Sequence[int],
    *,
    scaled: bool,
    stacks: bool,
) -> Any:
    """Stages of blocks x + convolution(relu(convolution(x))) / sqrt(B).

    Nothing is in front of the block nor behind the sum. The first block of a stage
    halves the size of the maps, but for the first stage; where it changes their size or
    their number, the shortcut is a convolution of 1x1.

    Args:
        x: What comes from the stem.
        convolutions: Makes the convolutions.
        widths: The channels of each stage.
        blocks: B, the number of blocks of each stage.
        scaled: Whether branches are divided by sqrt(B), see `branch_scale`.
        stacks: Whether the blocks that keep the shape are one `ScaledResidualStack`.

    Returns:
        What the last stage gives.
    """

    def branch(width: int, stride: int, gamma: float) -> list[keras.layers.Layer]:
        return [
            *convolutions.layers(width, 3, "convolution_1", stride=stride, gamma=2.0),
            keras.layers.ReLU(name="activation"),
            *convolutions.layers(width, 3, "convolution_2", gamma=gamma),
        ]

    for stage, (width, count) in enumerate(zip(widths, blocks, strict=True), start=1):
        scale, gamma = branch_scale(
            count, scaled, convolutions.normalization, convolutions.gain_mode
        )
        stride = 1 if stage == 1 else 2
        first = 1
        if stride > 1 or x.shape[-1] != width:
            x = ScaledResidual(
                branch(width, stride, gamma),
                scale,
                shortcut=convolutions.layers(width, 1, "projection", stride=stride),
                name=f"stage_{stage}_block_1",
            )(x)
            first = 2
        if stacks and first <= count:
            x = ScaledResidualStack(
                branch(width, 1, gamma),
                count - first + 1,
                stage_blocks=scale,
                name=f"stage_{stage}_blocks",
            )(x)
            continue
        for number in range(first, count + 1):
            x = ScaledResidual(
                branch(width, 1, gamma), scale, name=f"stage_{stage}_block_{number}"
            )(x)
    return x
