"""A fully connected ReLU network."""

from typing import Any

import keras

from keras_convinit.lab.checks import whole
from keras_convinit.lab.models._parts import (
    classifier,
    normalized_relu,
    own_initializer,
)


def mlp(
    depth: int,
    width: int,
    *,
    input_shape: tuple[int, ...] = (28, 28, 1),
    num_classes: int = 10,
    normalization: str | None = None,
    kernel_initializer: Any = "he_normal",
    classifier_initializer: Any = None,
) -> keras.Model:
    """Fully connected layers of one width, each followed by ReLU, and a classifier.

    Args:
        depth: Number of layers with weights, the classifier included; at least 2.
        width: Units of each hidden layer.
        input_shape: Shape of one image, or of any other input; it is flattened.
        num_classes: Number of logits.
        normalization: None, or `"batch"` for batch normalisation before each ReLU.
        kernel_initializer: Initializer of the hidden layers. Each of them gets a copy
            of its own.
        classifier_initializer: Initializer of the classifier; None is
            `ZhangForward("linear")`, a variance of 1 / fan_in.

    Returns:
        A built model from images, `(batch, *input_shape)`, to logits. Its hidden
        activations are the outputs of the layers `activation_1`, `activation_2`, ...

    Raises:
        ValueError: An argument is not what is said here.

    Example:
        >>> mlp(depth=10, width=500, kernel_initializer="zhang_forward").count_params()
        2401510

    Reference:
        Arpit, Campos, Bengio 2019, *How to Initialize your Network? Robust
        Initialization for WeightNorm & ResNets*, figure 2, there with weight
        normalisation.
    """
    depth = whole("depth", depth, 2)
    width = whole("width", width, 1)

    inputs = keras.Input(input_shape)
    x = keras.layers.Flatten(name="flatten")(inputs)
    for number in range(1, depth):
        x = keras.layers.Dense(
            width,
            kernel_initializer=own_initializer(kernel_initializer),
            name=f"dense_{number}",
        )(x)
        x = normalized_relu(x, normalization, number)
    outputs = classifier(x, num_classes, classifier_initializer)
    return keras.Model(inputs, outputs, name="mlp")
