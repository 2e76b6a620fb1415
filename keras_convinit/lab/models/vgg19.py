"""Sixteen 3x3 convolutions and five poolings."""

from typing import Any

import keras

from keras_convinit.lab.checks import whole
from keras_convinit.lab.models._arguments import image_shape, normalization_with
from keras_convinit.lab.models._convolutions import Convolutions
from keras_convinit.lab.models._parts import averaged, classifier, normalized_relu

# Convolutions between one pooling and the next: how many, and how many times as wide as
# the first ones.
GROUPS = ((2, 1), (2, 2), (4, 4), (4, 8), (4, 8))


def vgg19(
    *,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    num_classes: int = 10,
    width: int = 64,
    normalization: str | None = "batch",
    gain_mode: str = "forward",
    use_bias: bool = True,
    kernel_initializer: Any = None,
    classifier_initializer: Any = None,
) -> keras.Model:
    """Convolutions, each followed by ReLU, with maximum pooling between their groups.

    One classifier is all that is left of the three fully connected layers of the
    original, as is usual for small images: the network has 17 layers with kernels.

    Args:
        input_shape: Shape of one image, channels last; 32x32 at least. Of larger ones
            the last maps are averaged.
        num_classes: Number of logits.
        width: Channels of the first two convolutions, 64 in the paper. The others have
            two, four and eight times as many.
        normalization: `"batch"` for batch normalization before each ReLU, `"weight"`
            for weight-normalized convolutions, or None.
        gain_mode: With weight normalization, `mode` of the gains: `"forward"` for those
            of Arpit et al., `"kernel"` for those of PyTorch.
        use_bias: Whether convolutions have biases.
        kernel_initializer: Initializer of the convolutions, with weight normalization
            of their directions. Each of them gets a copy of its own. None is
            `"orthogonal"` with weight normalization and `"he_normal"` otherwise.
        classifier_initializer: Initializer of the classifier. None is `"orthogonal"`
            with weight normalization, else `ZhangForward("linear")`.

    Returns:
        A built model from images, `(batch, *input_shape)`, to logits. For ten classes
        it has 20,040,522 trainable parameters with batch normalization. Its activations
        are the outputs of the layers `activation_1` to `activation_16`.

    Raises:
        ValueError: An argument is not what is said here.

    Example:
        >>> from keras_convinit.lab.models import vgg19
        >>> vgg19(kernel_initializer="zhang_backward").output.shape
        (None, 10)

    Reference:
        Zhang et al. 2022, *Necessary conditions for convergence of CNNs and
        initialization of convolution kernels*, table 1, there as in the code of
        GradInit. After Simonyan and Zisserman 2015, *Very Deep Convolutional Networks
        for Large-Scale Image Recognition*, configuration E.
    """
    normalization_with(normalization, gain_mode=(gain_mode, "forward", ("weight",)))
    width = whole("width", width, 1)
    convolutions = Convolutions(normalization, kernel_initializer, use_bias, gain_mode)

    x = inputs = keras.Input(image_shape(input_shape, downsampling=32))
    number = 0
    for group, (count, factor) in enumerate(GROUPS, start=1):
        for _ in range(count):
            number += 1
            x = convolutions(x, factor * width, 3, f"convolution_{number}", gamma=2.0)
            x = normalized_relu(x, normalization, number)
        x = keras.layers.MaxPooling2D(
            2, data_format="channels_last", name=f"max_pool_{group}"
        )(x)
    x = averaged(x)
    outputs = classifier(x, num_classes, classifier_initializer, normalization)
    return keras.Model(inputs, outputs, name="vgg19")
