"""What the networks of the lab are made of, so that all are made alike."""

from typing import Any

import keras

from keras_convinit.initializers import ZhangForward
from keras_convinit.lab.checks import whole


def own_initializer(identifier: Any) -> Any:
    """An initializer for one layer alone.

    One object in two layers would draw the same kernel twice, with and without a seed.
    """
    initializer = keras.initializers.get(identifier)
    if isinstance(initializer, keras.initializers.Initializer):
        return initializer.clone()
    return initializer


def kernel_initializer(identifier: Any, normalization: str | None) -> Any:
    """An initializer for one layer that is not the classifier.

    None is orthogonal for the directions of weight-normalized layers, as Arpit et al.
    propose, and He's otherwise.
    """
    if identifier is None:
        identifier = "orthogonal" if normalization == "weight" else "he_normal"
    return own_initializer(identifier)


def normalized_relu(x: Any, normalization: str | None, number: int) -> Any:
    """What follows the linear layer of that number."""
    if normalization == "batch":
        x = batch_normalization(x, f"normalization_{number}")
    return relu(x, f"activation_{number}")


def batch_normalization(
    x: Any, name: str, momentum: float = 0.9, epsilon: float = 1e-5
) -> Any:
    """Batch normalization as in the papers' code, where it is PyTorch's.

    Keras' own average, 0.99, would still hold much of its beginning after a few hundred
    steps.
    """
    return keras.layers.BatchNormalization(
        axis=-1, momentum=momentum, epsilon=epsilon, name=name
    )(x)


def relu(x: Any, name: str) -> Any:
    """ReLU."""
    return keras.layers.ReLU(name=name)(x)


def averaged(x: Any) -> Any:
    """The mean of each channel."""
    return keras.layers.GlobalAveragePooling2D(
        data_format="channels_last", name="pool"
    )(x)


def classifier(
    x: Any, num_classes: int, initializer: Any, normalization: str | None = None
) -> Any:
    """Logits, in the precision of the variables: a softmax wants more than half of it.

    None for the initializer is an orthogonal kernel behind weight-normalized layers,
    else the papers' rule for what no ReLU follows.
    """
    if initializer is None:
        weight = normalization == "weight"
        initializer = "orthogonal" if weight else ZhangForward("linear")
    return keras.layers.Dense(
        whole("num_classes", num_classes, 1),
        kernel_initializer=own_initializer(initializer),
        dtype=keras.config.dtype_policy().variable_dtype,
        name="classifier",
    )(x)
