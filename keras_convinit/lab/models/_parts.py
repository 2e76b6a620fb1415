"""What the networks of the lab are made of, so that all are made alike."""

from typing import Any

import keras

from keras_convinit.initializers import ZhangForward
from keras_convinit.lab.checks import one_of, whole

NORMALIZATIONS = (None, "batch")


def own_initializer(identifier: Any) -> Any:
    """An initializer for one layer alone.

    One object in two layers would draw the same kernel twice, with and without a seed.
    """
    initializer = keras.initializers.get(identifier)
    if isinstance(initializer, keras.initializers.Initializer):
        return initializer.clone()
    return initializer


def normalized_relu(x: Any, normalization: str | None, number: int) -> Any:
    """What follows the linear layer of that number."""
    if one_of("normalization", normalization, NORMALIZATIONS) == "batch":
        x = keras.layers.BatchNormalization(name=f"normalization_{number}")(x)
    return keras.layers.ReLU(name=f"activation_{number}")(x)


def classifier(x: Any, num_classes: int, initializer: Any) -> Any:
    """Logits. None for the initializer is the papers' rule for what no ReLU follows."""
    if initializer is None:
        initializer = ZhangForward("linear")
    return keras.layers.Dense(
        whole("num_classes", num_classes, 1),
        kernel_initializer=own_initializer(initializer),
        name="classifier",
    )(x)
