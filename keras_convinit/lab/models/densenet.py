"""A network whose layers see the outputs of all layers before them in their block."""

from typing import Any

import keras

from keras_convinit.lab.checks import whole
from keras_convinit.lab.models._arguments import (
    blocks_per_stage,
    image_shape,
    normalization_with,
)
from keras_convinit.lab.models._convolutions import Convolutions
from keras_convinit.lab.models._parts import (
    averaged,
    batch_normalization,
    classifier,
    relu,
)


def densenet(
    depth: int = 100,
    growth: int = 12,
    *,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    num_classes: int = 10,
    normalization: str | None = "batch",
    use_bias: bool | None = None,
    kernel_initializer: Any = None,
    classifier_initializer: Any = None,
) -> keras.Model:
    """Three dense blocks of n layers each, 6n + 4 convolutions and classifier deep.

    This is DenseNet-BC: each layer is a 1x1 convolution to four times `growth` channels
    and a 3x3 one to `growth`, whose output is put beside its input, and a 1x1
    convolution between the blocks leaves half of the channels. Batch normalization and
    ReLU stand in front of each convolution but the first.

    Args:
        depth: Number of layers with kernels, 6n + 4: 40, 100, 190, ...
        growth: Channels that each layer adds.
        input_shape: Shape of one image, channels last; 4x4 at least.
        num_classes: Number of logits.
        normalization: `"batch"`, or None for ReLU alone in front of each convolution.
            The signal then gathers whatever layers add to it, and it is up to the
            initialization that it does not grow.
        use_bias: Whether convolutions have biases. None is false with batch
            normalization, as in the paper's code, and true without.
        kernel_initializer: Initializer of the convolutions. Each of them gets a copy of
            its own. None is `"he_normal"`.
        classifier_initializer: Initializer of the classifier. None is
            `ZhangForward("linear")`, a variance of 1 / fan_in.

    Returns:
        A built model from images, `(batch, *input_shape)`, to logits. For ten classes
        and the defaults it has 769,162 trainable parameters. The layers of a block are
        called `block_1_layer_1` and so on, which is how the names of theirs begin.

    Raises:
        ValueError: An argument is not what is said here.

    Example:
        >>> from keras_convinit.lab.models import densenet
        >>> densenet(40, growth=12).output.shape
        (None, 10)

    Reference:
        Zhang et al. 2022, *Necessary conditions for convergence of CNNs and
        initialization of convolution kernels*, table 1, there as in the code of
        GradInit. After Huang et al. 2017, *Densely Connected Convolutional Networks*,
        section 3, DenseNet-BC.
    """
    layers = blocks_per_stage("densenet", depth, others=4)
    growth = whole("growth", growth, 1)
    normalization_with(normalization, (None, "batch"))
    batch = normalization == "batch"
    convolutions = Convolutions(
        normalization,
        kernel_initializer,
        use_bias=not batch if use_bias is None else use_bias,
    )

    def activated(x: Any, name: str) -> Any:
        if batch:
            x = batch_normalization(x, f"{name}_normalization")
        return relu(x, f"{name}_activation")

    def extended(x: Any, name: str) -> Any:
        y = activated(x, f"{name}_bottleneck")
        y = convolutions(y, 4 * growth, 1, f"{name}_bottleneck")
        y = convolutions(activated(y, name), growth, 3, f"{name}_convolution")
        return keras.layers.Concatenate(axis=-1, name=f"{name}_joined")([x, y])

    inputs = keras.Input(image_shape(input_shape, downsampling=4))
    x = convolutions(inputs, 2 * growth, 3, "stem")
    for block in (1, 2, 3):
        for number in range(1, layers + 1):
            x = extended(x, f"block_{block}_layer_{number}")
        if block < 3:
            name = f"transition_{block}"
            half = x.shape[-1] // 2
            x = convolutions(activated(x, name), half, 1, f"{name}_convolution")
            x = keras.layers.AveragePooling2D(
                2, data_format="channels_last", name=f"{name}_pool"
            )(x)
    x = averaged(activated(x, "last"))
    outputs = classifier(x, num_classes, classifier_initializer)
    return keras.Model(inputs, outputs, name="densenet")
