"""Residual networks that are wide rather than deep, or as deep as one likes."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_convinit.lab.checks import whole
from keras_convinit.lab.models._arguments import (
    blocks_per_stage,
    image_shape,
    scaled_branches,
)
from keras_convinit.lab.models._convolutions import Convolutions
from keras_convinit.lab.models._parts import (
    averaged,
    batch_normalization,
    classifier,
    relu,
)
from keras_convinit.lab.models._scaled_stages import scaled_stages


def wide_resnet(
    depth: int = 28,
    k: int = 10,
    *,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    num_classes: int = 10,
    stem_stride: int = 1,
    normalization: str | None = "batch",
    scaled: bool | None = None,
    stacks: bool = False,
    gain_mode: str = "forward",
    use_bias: bool = True,
    kernel_initializer: Any = None,
    classifier_initializer: Any = None,
) -> keras.Model:
    """Three stages of n blocks of two 3x3 convolutions, 6n + 4 layers deep.

    What a block is depends on the normalization:

    | `normalization` | block |
    |---|---|
    | `"batch"` | x + conv(relu(norm(conv(relu(norm(x)))))) |
    | `"weight"` | x + conv(relu(conv(x))) / sqrt(n) |
    | None | x + conv(relu(conv(x))) |

    The first one is the network of Zhang et al., the second one that of Arpit et al.,
    and the third one the second without what makes it trainable: for initialization to
    make up for. Where a block changes the shape, there is a 1x1 convolution in place of
    x. It has the stride of the block's second convolution with batch normalization and
    of its first one otherwise.

    Args:
        depth: Number of layers with kernels, 6n + 4: 16, 28, 40, ...
        k: How many times as wide as 16, 32 and 64 channels the stages are. The stem has
            16 channels whatever k is.
        input_shape: Shape of one image, channels last; 4x4 at least, and so many times
            the stride of the stem.
        num_classes: Number of logits.
        stem_stride: Stride of the stem: with 2 all maps are half as high and wide, and
            take a quarter of the memory, which is meant for networks of thousands of
            layers.
        normalization: `"batch"`, `"weight"` or None.
        scaled: Whether branches are divided by sqrt(n). None is true with weight
            normalization and false without any. With weight normalization the factor
            is in the gains of their last convolutions, which learn it, as in the
            paper; without, and with kernel gains, it is a constant.
        stacks: Whether all blocks of a stage that keep the shape are one
            `ScaledResidualStack`, which builds and compiles in the time of one block.
            Not with batch normalization.
        gain_mode: With weight normalization, `mode` of the gains: `"forward"` for the
            paper's, `"kernel"` for those of PyTorch, which come with `scaled=False`.
        use_bias: Whether convolutions have biases. The published number of parameters
            takes them in.
        kernel_initializer: Initializer of the convolutions, with weight normalization
            of their directions. Each of them gets a copy of its own. None is
            `"orthogonal"` with weight normalization and `"he_normal"` otherwise.
        classifier_initializer: Initializer of the classifier. None is `"orthogonal"`
            with weight normalization, else `ZhangForward("linear")`.

    Returns:
        A built model from images, `(batch, *input_shape)`, to logits. For ten classes
        WRN-28-10 has 36,489,290 trainable parameters with batch normalization, and
        WRN-40-10 has 55,843,994 with weight normalization. Blocks are called
        `stage_1_block_1` and so on, which is how the names of their layers begin; the
        stacks are `stage_1_blocks` and so on.

    Raises:
        ValueError: An argument is not what is said here.

    Example:
        >>> from keras_convinit.lab.models import wide_resnet
        >>> model = wide_resnet(
        ...     6 * 100 + 4, k=1, normalization="weight", stacks=True, stem_stride=2
        ... )

    Reference:
        Zhang et al. 2022, *Necessary conditions for convergence of CNNs and
        initialization of convolution kernels*, table 1, there as in the code of
        GradInit, whose last normalization averages over one batch and a little more.
        Arpit, Campos, Bengio 2019, *How to Initialize your Network? Robust
        Initialization for WeightNorm & ResNets*, figures 3 (right) and 4. Both after
        Zagoruyko and Komodakis 2016, *Wide Residual Networks*.
    """
    blocks = (blocks_per_stage("wide_resnet", depth, others=4),) * 3
    widths = [whole("k", k, 1) * width for width in (16, 32, 64)]
    stem_stride = whole("stem_stride", stem_stride, 1)
    scaled = scaled_branches(normalization, scaled, stacks, gain_mode)
    convolutions = Convolutions(normalization, kernel_initializer, use_bias, gain_mode)

    inputs = keras.Input(image_shape(input_shape, downsampling=4 * stem_stride))
    x = convolutions(inputs, 16, 3, "stem", stride=stem_stride)
    if normalization == "batch":
        x = _stages(x, convolutions, widths, blocks)
        x = batch_normalization(x, "normalization", momentum=0.1)
        x = relu(x, "activation")
    else:
        x = scaled_stages(x, convolutions, widths, blocks, scaled=scaled, stacks=stacks)
    x = averaged(x)
    outputs = classifier(x, num_classes, classifier_initializer, normalization)
    return keras.Model(inputs, outputs, name="wide_resnet")


def _stages(
    x: Any, convolutions: Convolutions, widths: Sequence[int], blocks: Sequence[int]
) -> Any:
    """Blocks with batch normalization and ReLU in front of each convolution."""
    for stage, (width, count) in enumerate(zip(widths, blocks, strict=True), start=1):
        for number in range(1, count + 1):
            name = f"stage_{stage}_block_{number}"
            stride = 2 if stage > 1 and number == 1 else 1
            y = relu(
                batch_normalization(x, f"{name}_normalization_1"),
                f"{name}_activation_1",
            )
            y = convolutions(y, width, 3, f"{name}_convolution_1")
            y = relu(
                batch_normalization(y, f"{name}_normalization_2"),
                f"{name}_activation_2",
            )
            y = convolutions(y, width, 3, f"{name}_convolution_2", stride=stride)
            if stride > 1 or x.shape[-1] != width:
                x = convolutions(x, width, 1, f"{name}_projection", stride=stride)
            x = keras.layers.Add(name=f"{name}_sum")([x, y])
    return x
