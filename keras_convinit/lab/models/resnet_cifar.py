"""The narrow and deep residual networks for images of 32x32."""

from typing import Any

import keras

from keras_convinit.lab.checks import whole
from keras_convinit.lab.models._arguments import (
    blocks_per_stage,
    image_shape,
    scaled_branches,
)
from keras_convinit.lab.models._basic_blocks import basic_stages
from keras_convinit.lab.models._convolutions import Convolutions
from keras_convinit.lab.models._parts import (
    averaged,
    batch_normalization,
    classifier,
    relu,
)
from keras_convinit.lab.models._scaled_stages import scaled_stages


def resnet_cifar(
    depth: int = 20,
    *,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    num_classes: int = 10,
    width: int = 16,
    normalization: str | None = "batch",
    scaled: bool | None = None,
    stacks: bool = False,
    gain_mode: str = "forward",
    use_bias: bool | None = None,
    kernel_initializer: Any = None,
    classifier_initializer: Any = None,
) -> keras.Model:
    """Three stages of n residual blocks of two 3x3 convolutions, 6n + 2 layers deep.

    What a block is depends on the normalization:

    | `normalization` | block | shortcut where the shape changes |
    |---|---|---|
    | `"batch"` | relu(x + norm(conv(relu(norm(conv(x)))))) | every other position, normalized; channels of zeros |
    | `"weight"` | x + conv(relu(conv(x))) / sqrt(n) | 1x1 convolution |
    | None | x + conv(relu(conv(x))) | 1x1 convolution |

    The first one is the network of Zhang et al., the second one that of Arpit et al.,
    and the third one the second without what makes it trainable: for initialization to
    make up for.

    Args:
        depth: Number of layers with kernels along the way, 6n + 2: 20, 56, 110, ...
        input_shape: Shape of one image, channels last; 4x4 at least.
        num_classes: Number of logits.
        width: Channels of the first stage. The others have two and four times as many.
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
        use_bias: Whether convolutions have biases. None is false with batch
            normalization and true otherwise, as in the papers' code.
        kernel_initializer: Initializer of the convolutions, with weight normalization
            of their directions. Each of them gets a copy of its own. None is
            `"orthogonal"` with weight normalization and `"he_normal"` otherwise.
        classifier_initializer: Initializer of the classifier. None is `"orthogonal"`
            with weight normalization, else `ZhangForward("linear")`.

    Returns:
        A built model from images, `(batch, *input_shape)`, to logits. For ten classes
        and a depth of 110 it has 1,728,058 trainable parameters with batch
        normalization and 1,730,714 with weight normalization. Blocks are called
        `stage_1_block_1` and so on, which is how the names of their layers begin; the
        stacks are `stage_1_blocks` and so on.

    Raises:
        ValueError: An argument is not what is said here.

    Example:
        >>> from keras_convinit.lab.models import resnet_cifar
        >>> resnet_cifar(110).count_params()
        1736250

    Reference:
        Zhang et al. 2022, *Necessary conditions for convergence of CNNs and
        initialization of convolution kernels*, table 1, there as in the code of
        GradInit. Arpit, Campos, Bengio 2019, *How to Initialize your Network? Robust
        Initialization for WeightNorm & ResNets*, table 1; their 164 layers, too, are
        blocks of two convolutions. The stem has gamma = 1, since no ReLU follows, where
        their code has 2. Both after He et al. 2016, *Deep Residual Learning for Image
        Recognition*, section 4.2.
    """  # noqa: E501
    blocks = (blocks_per_stage("resnet_cifar", depth, others=2),) * 3
    widths = [whole("width", width, 1) * factor for factor in (1, 2, 4)]
    scaled = scaled_branches(normalization, scaled, stacks, gain_mode)
    batch = normalization == "batch"
    convolutions = Convolutions(
        normalization,
        kernel_initializer,
        use_bias=not batch if use_bias is None else use_bias,
        gain_mode=gain_mode,
    )

    inputs = keras.Input(image_shape(input_shape, downsampling=4))
    x = convolutions(inputs, widths[0], 3, "stem")
    if batch:
        x = relu(batch_normalization(x, "stem_normalization"), "stem_activation")
        x = basic_stages(x, convolutions, widths, blocks, projection=False)
    else:
        x = scaled_stages(x, convolutions, widths, blocks, scaled=scaled, stacks=stacks)
    x = averaged(x)
    outputs = classifier(x, num_classes, classifier_initializer, normalization)
    return keras.Model(inputs, outputs, name="resnet_cifar")
