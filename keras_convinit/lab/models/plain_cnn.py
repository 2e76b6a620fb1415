"""3x3 convolutions one after the other, with nothing to help the signal through."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_convinit.lab.checks import whole
from keras_convinit.lab.models._parts import (
    classifier,
    normalized_relu,
    own_initializer,
)


def plain_cnn(
    depth: int,
    width: int,
    *,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    num_classes: int = 10,
    strides: Sequence[int] = (2, 2),
    normalization: str | None = None,
    kernel_initializer: Any = "he_normal",
    classifier_initializer: Any = None,
) -> keras.Model:
    """A plain convolutional ReLU network of one width, without shortcuts.

    Args:
        depth: Number of layers with weights, the classifier included; at least 2.
        width: Channels of each convolution.
        input_shape: Shape of one image, channels last.
        num_classes: Number of logits.
        strides: Strides of the first convolutions; those after them have stride 1.
            The paper's (2, 2) leaves maps of 8x8 from images of 32x32. Small images
            want `()`: on maps of 2x2 the zeros of the padding meet 5 of the 9
            positions of every kernel, and no rule for the variance accounts for them.
        normalization: None, or `"batch"` for batch normalisation before each ReLU.
        kernel_initializer: Initializer of the convolutions. Each of them gets a copy
            of its own.
        classifier_initializer: Initializer of the classifier; None is
            `ZhangForward("linear")`, a variance of 1 / fan_in.

    Returns:
        A built model from images, `(batch, *input_shape)`, to logits. Its activations
        are the outputs of the layers `activation_1`, `activation_2`, ...

    Raises:
        ValueError: An argument is not what is said here.

    Example:
        >>> plain_cnn(depth=18, width=16, input_shape=(8, 8, 1), strides=())

    Reference:
        Arpit, Campos, Bengio 2019, *How to Initialize your Network? Robust
        Initialization for WeightNorm & ResNets*, figure 3, left, there with weight
        normalisation.
    """
    depth = whole("depth", depth, 2)
    width = whole("width", width, 1)
    strides = _strides(strides, convolutions=depth - 1)

    inputs = keras.Input(input_shape)
    x = inputs
    for number, stride in enumerate(strides, start=1):
        x = keras.layers.Conv2D(
            width,
            3,
            strides=stride,
            padding="same",
            data_format="channels_last",
            kernel_initializer=own_initializer(kernel_initializer),
            name=f"convolution_{number}",
        )(x)
        x = normalized_relu(x, normalization, number)
    x = keras.layers.GlobalAveragePooling2D(data_format="channels_last", name="pool")(x)
    outputs = classifier(x, num_classes, classifier_initializer)
    return keras.Model(inputs, outputs, name="plain_cnn")


def _strides(first: Sequence[int], convolutions: int) -> list[int]:
    """One stride for each convolution."""
    listed = list(first) if isinstance(first, Sequence) else [0]
    if not all(isinstance(stride, int) and stride > 0 for stride in listed):
        raise ValueError(
            "`strides` must be a sequence of positive integers. "
            f"Received: strides={first!r}"
        )
    return [*listed, *[1] * convolutions][:convolutions]
