"""The residual network of 34 layers, with a stem for small images."""

from typing import Any

import keras

from keras_convinit.lab.models._arguments import image_shape, scaled_branches
from keras_convinit.lab.models._basic_blocks import basic_stages
from keras_convinit.lab.models._convolutions import Convolutions
from keras_convinit.lab.models._parts import (
    averaged,
    batch_normalization,
    classifier,
    relu,
)
from keras_convinit.lab.models._scaled_stages import scaled_stages

WIDTHS = (64, 128, 256, 512)
BLOCKS = (3, 4, 6, 3)


def resnet34(
    *,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    num_classes: int = 10,
    normalization: str | None = "batch",
    scaled: bool | None = None,
    stacks: bool = False,
    gain_mode: str = "forward",
    use_bias: bool | None = None,
    kernel_initializer: Any = None,
    classifier_initializer: Any = None,
) -> keras.Model:
    """Four stages of 3, 4, 6 and 3 residual blocks of two 3x3 convolutions.

    The stem is one 3x3 convolution without stride or pooling. What a block is depends
    on the normalization, as in `resnet_cifar`; shortcuts of blocks that change the
    shape are 1x1 convolutions in all cases.

    Args:
        input_shape: Shape of one image, channels last; 8x8 at least.
        num_classes: Number of logits.
        normalization: `"batch"`, `"weight"` or None.
        scaled: Whether branches are divided by the root of the number of blocks in
            their stage. None is true with weight normalization and false without any.
            Where the factor is depends on the gains, as in `resnet_cifar`.
        stacks: Whether all blocks of a stage that keep the shape are one
            `ScaledResidualStack`. Not with batch normalization.
        gain_mode: With weight normalization, `mode` of the gains: `"forward"` for the
            paper's, `"kernel"` for those of PyTorch, which come with `scaled=False`.
        use_bias: Whether convolutions have biases. None is false with batch
            normalization and true otherwise.
        kernel_initializer: Initializer of the convolutions, with weight normalization
            of their directions. Each of them gets a copy of its own. None is
            `"orthogonal"` with weight normalization and `"he_normal"` otherwise.
        classifier_initializer: Initializer of the classifier. None is `"orthogonal"`
            with weight normalization, else `ZhangForward("linear")`.

    Returns:
        A built model from images, `(batch, *input_shape)`, to logits. For ten classes
        it has 21,282,122 trainable parameters with batch normalization. Blocks are
        called `stage_1_block_1` and so on, which is how the names of their layers
        begin; the stacks are `stage_1_blocks` and so on.

    Raises:
        ValueError: An argument is not what is said here.

    Example:
        >>> from keras_convinit.lab.models import resnet34
        >>> resnet34(num_classes=100).output.shape
        (None, 100)

    Reference:
        Zhang et al. 2022, *Necessary conditions for convergence of CNNs and
        initialization of convolution kernels*, figures 5 to 7, which do not say more of
        it than its name; this one is the common reading of that for small images. After
        He et al. 2016, *Deep Residual Learning for Image Recognition*, table 1. With
        weight normalization it has the blocks of Arpit, Campos, Bengio 2019, whose
        paper has no network of this shape.
    """
    scaled = scaled_branches(normalization, scaled, stacks, gain_mode)
    batch = normalization == "batch"
    convolutions = Convolutions(
        normalization,
        kernel_initializer,
        use_bias=not batch if use_bias is None else use_bias,
        gain_mode=gain_mode,
    )

    inputs = keras.Input(image_shape(input_shape, downsampling=8))
    x = convolutions(inputs, WIDTHS[0], 3, "stem")
    if batch:
        x = relu(batch_normalization(x, "stem_normalization"), "stem_activation")
        x = basic_stages(x, convolutions, WIDTHS, BLOCKS, projection=True)
    else:
        x = scaled_stages(x, convolutions, WIDTHS, BLOCKS, scaled=scaled, stacks=stacks)
    x = averaged(x)
    outputs = classifier(x, num_classes, classifier_initializer, normalization)
    return keras.Model(inputs, outputs, name="resnet34")
