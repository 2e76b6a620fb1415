"""A fully connected ReLU network."""

from typing import Any

import keras

from keras_convinit.initializers import WeightNormGain
from keras_convinit.lab.checks import whole
from keras_convinit.lab.models._arguments import normalization_with
from keras_convinit.lab.models._parts import (
    classifier,
    normalized_relu,
)
from keras_convinit.lab.models._parts import kernel_initializer as own
from keras_convinit.layers import WeightNormDense


def mlp(
    depth: int,
    width: int,
    *,
    input_shape: tuple[int, ...] = (28, 28, 1),
    num_classes: int = 10,
    normalization: str | None = None,
    gain_mode: str = "forward",
    kernel_initializer: Any = None,
    classifier_initializer: Any = None,
) -> keras.Model:
    """Fully connected layers of one width, each followed by ReLU, and a classifier.

    Args:
        depth: Number of layers with weights, the classifier included; at least 2.
        width: Units of each hidden layer.
        input_shape: Shape of one image, or of any other input; it is flattened.
        num_classes: Number of logits.
        normalization: `"batch"` for batch normalization before each ReLU, `"weight"`
            for weight-normalized hidden layers, or None.
        gain_mode: With weight normalization, `mode` of the gains: `"forward"` for the
            paper's, `"kernel"` for those of PyTorch.
        kernel_initializer: Initializer of the hidden layers, with weight normalization
            of their directions. Each of them gets a copy of its own. None is
            `"orthogonal"` with weight normalization and `"he_normal"` otherwise.
        classifier_initializer: Initializer of the classifier. None is `"orthogonal"`
            with weight normalization, else `ZhangForward("linear")`, a variance of
            1 / fan_in.

    Returns:
        A built model from images, `(batch, *input_shape)`, to logits. Its hidden
        activations are the outputs of the layers `activation_1`, `activation_2`, ...

    Raises:
        ValueError: An argument is not what is said here.

    Example:
        >>> from keras_convinit.lab.models import mlp
        >>> mlp(depth=10, width=500, kernel_initializer="zhang_forward").count_params()
        2401510

    Reference:
        Arpit, Campos, Bengio 2019, *How to Initialize your Network? Robust
        Initialization for WeightNorm & ResNets*, figure 2, with weight
        normalization.
    """
    depth = whole("depth", depth, 2)
    width = whole("width", width, 1)
    normalization_with(normalization, gain_mode=(gain_mode, "forward", ("weight",)))

    inputs = keras.Input(input_shape)
    x = keras.layers.Flatten(name="flatten")(inputs)
    for number in range(1, depth):
        arguments = {
            "units": width,
            "kernel_initializer": own(kernel_initializer, normalization),
            "name": f"dense_{number}",
        }
        if normalization == "weight":
            gains = WeightNormGain(2.0, mode=gain_mode)
            x = WeightNormDense(**arguments, gain_initializer=gains)(x)
        else:
            x = keras.layers.Dense(**arguments)(x)
        x = normalized_relu(x, normalization, number)
    outputs = classifier(x, num_classes, classifier_initializer, normalization)
    return keras.Model(inputs, outputs, name="mlp")
