"""3x3 convolutions one after the other, with nothing to help the signal through."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from keras_convinit.lab.checks import whole
from keras_convinit.lab.models._arguments import image_shape, normalization_with
from keras_convinit.lab.models._convolutions import Convolutions
from keras_convinit.lab.models._parts import (
    averaged,
    classifier,
    normalized_relu,
)


def plain_cnn(
    depth: int,
    width: int,
    *,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    num_classes: int = 10,
    strides: Sequence[int] = (2, 2),
    normalization: str | None = None,
    gain_mode: str = "forward",
    kernel_initializer: Any = None,
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
            A strided convolution is centered where Keras' padding puts it, on every
            other position from the second one on, from the first one in the paper.
        normalization: `"batch"` for batch normalization before each ReLU, `"weight"`
            for weight-normalized convolutions, or None.
        gain_mode: With weight normalization, `mode` of the gains: `"forward"` for the
            paper's, `"kernel"` for those of PyTorch.
        kernel_initializer: Initializer of the convolutions, with weight normalization
            of their directions. Each of them gets a copy of its own. None is
            `"orthogonal"` with weight normalization and `"he_normal"` otherwise.
        classifier_initializer: Initializer of the classifier. None is `"orthogonal"`
            with weight normalization, else `ZhangForward("linear")`, a variance of
            1 / fan_in.

    Returns:
        A built model from images, `(batch, *input_shape)`, to logits. Its activations
        are the outputs of the layers `activation_1`, `activation_2`, ...

    Raises:
        ValueError: An argument is not what is said here.

    Example:
        >>> from keras_convinit.lab.models import plain_cnn
        >>> plain_cnn(18, 16, input_shape=(8, 8, 1), strides=()).output.shape
        (None, 10)

    Reference:
        Arpit, Campos, Bengio 2019, *How to Initialize your Network? Robust
        Initialization for WeightNorm & ResNets*, figure 3, left, with weight
        normalization.
    """
    depth = whole("depth", depth, 2)
    width = whole("width", width, 1)
    normalization_with(normalization, gain_mode=(gain_mode, "forward", ("weight",)))
    strides = _strides(strides, convolutions=depth - 1)
    downsampling = math.prod(strides)
    convolutions = Convolutions(
        normalization, kernel_initializer, gain_mode=gain_mode, as_keras_pads=True
    )

    x = inputs = keras.Input(image_shape(input_shape, downsampling))
    for number, stride in enumerate(strides, start=1):
        name = f"convolution_{number}"
        x = convolutions(x, width, 3, name, stride=stride, gamma=2.0)
        x = normalized_relu(x, normalization, number)
    x = averaged(x)
    outputs = classifier(x, num_classes, classifier_initializer, normalization)
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
