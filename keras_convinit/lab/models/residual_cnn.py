"""One stage of residual blocks of one width: depth, and nothing else."""

from typing import Any

import keras

from keras_convinit.initializers import WeightNormGain
from keras_convinit.lab.checks import one_of, whole
from keras_convinit.lab.models._arguments import branch_scale
from keras_convinit.lab.models._parts import classifier, own_initializer
from keras_convinit.layers import ScaledResidual, WeightNormConv2D


def residual_cnn(
    blocks: int,
    width: int,
    *,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    num_classes: int = 10,
    normalization: str | None = None,
    stem_stride: int = 1,
    scaled: bool = False,
    gain_mode: str = "forward",
    kernel_initializer: Any = "he_normal",
    classifier_initializer: Any = None,
) -> keras.Model:
    """A stem, residual blocks of two 3x3 convolutions each, and a classifier.

    Blocks are those of Arpit et al.: convolution, ReLU, convolution, and nothing after
    the sum; with batch normalization it and ReLU stand before either convolution.

    Args:
        blocks: Number of residual blocks.
        width: Channels of each convolution.
        input_shape: Shape of one image, channels last.
        num_classes: Number of logits.
        normalization: None, `"batch"`, or `"weight"` for weight-normalized
            convolutions.
        stem_stride: Stride of the stem: all blocks work on maps that are so much
            smaller.
        scaled: Whether branches are divided by sqrt(blocks). With weight normalization
            the factor is in the gains of their last convolutions, which learn it, as
            in the paper; otherwise, and with kernel gains, it is a constant.
        gain_mode: With weight normalization, `mode` of the gains: `"forward"` for the
            paper's, `"kernel"` for those of PyTorch.
        kernel_initializer: Initializer of the convolutions, with weight normalization
            of their directions. Each of them gets a copy of its own.
        classifier_initializer: Initializer of the classifier; None is
            `ZhangForward("linear")`, a variance of 1 / fan_in.

    Returns:
        A built model from images, `(batch, *input_shape)`, to logits. Its blocks are
        the layers `block_1`, `block_2`, ...

    Raises:
        ValueError: An argument is not what is said here.

    Example:
        >>> from keras_convinit.lab.models import residual_cnn
        >>> model = residual_cnn(
        ...     25, 16, input_shape=(8, 8, 1), normalization="weight", scaled=True
        ... )
        >>> model.get_layer("block_25").output.shape
        (None, 8, 8, 16)

    Reference:
        Arpit, Campos, Bengio 2019, *How to Initialize your Network? Robust
        Initialization for WeightNorm & ResNets*, theorem 7.
    """
    blocks = whole("blocks", blocks, 1)
    width = whole("width", width, 1)
    one_of("normalization", normalization, (None, "batch", "weight"))

    def convolution(gamma: float, stride: int = 1) -> keras.layers.Layer:
        arguments = {
            "filters": width,
            "kernel_size": 3,
            "strides": stride,
            "padding": "same",
            "data_format": "channels_last",
            "kernel_initializer": own_initializer(kernel_initializer),
        }
        if normalization == "weight":
            gains = WeightNormGain(gamma, mode=gain_mode)
            return WeightNormConv2D(**arguments, gain_initializer=gains)
        return keras.layers.Conv2D(**arguments)

    def normalization_layer(**name: str) -> keras.layers.Layer:
        # The paper's code has PyTorch's average. Keras' own, 0.99, would still hold
        # much of its beginning after a few hundred steps.
        return keras.layers.BatchNormalization(momentum=0.9, **name)

    def before_convolution() -> list[keras.layers.Layer]:
        if normalization != "batch":
            return []
        return [normalization_layer(), keras.layers.ReLU()]

    def branch() -> list[keras.layers.Layer]:
        between = before_convolution() or [keras.layers.ReLU()]
        return [*before_convolution(), convolution(2.0), *between, convolution(gamma)]

    scale, gamma = branch_scale(blocks, scaled, normalization, gain_mode)
    inputs = keras.Input(input_shape)
    # No ReLU follows the stem.
    x = convolution(1.0, whole("stem_stride", stem_stride, 1))(inputs)
    for number in range(1, blocks + 1):
        x = ScaledResidual(branch(), num_blocks=scale, name=f"block_{number}")(x)
    if normalization == "batch":
        x = normalization_layer(name="normalization")(x)
    x = keras.layers.GlobalAveragePooling2D(data_format="channels_last", name="pool")(x)
    outputs = classifier(x, num_classes, classifier_initializer)
    return keras.Model(inputs, outputs, name="residual_cnn")
