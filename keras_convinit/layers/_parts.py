"""The parts that a residual layer is made of: a layer, a list of layers, or a model."""

from typing import Any

import keras


def as_layer(name: str, value: Any) -> keras.layers.Layer:
    """Returns the part as one layer; a list becomes a `Sequential` called `name`."""
    if isinstance(value, dict):
        value = keras.saving.deserialize_keras_object(value)
    parts = value if isinstance(value, list | tuple) else [value]
    if not parts or not all(isinstance(part, keras.layers.Layer) for part in parts):
        raise ValueError(
            f"`{name}` must be a Keras layer, a list of layers, or a model. "
            f"Received: {name}={value!r}"
        )
    return value if parts[0] is value else keras.Sequential(list(parts), name=name)


def build(part: keras.layers.Layer, input_shape: Any) -> None:
    """Builds the part, unless it is left to the first call to do that."""
    # Of a layer without `build`, Keras would warn that it may have something to build.
    if not part.built and type(part).build is not keras.layers.Layer.build:
        part.build(input_shape)


def output_shape(part: keras.layers.Layer, input_shape: Any) -> Any:
    """The shape of what the part gives, also where it does not say."""
    try:
        return part.compute_output_shape(input_shape)
    except NotImplementedError:
        inputs = keras.KerasTensor(input_shape, dtype=part.compute_dtype)
        outputs = part.compute_output_spec(inputs)
        return keras.tree.map_structure(lambda output: output.shape, outputs)


def check_same_shape(branch: Any, shortcut: Any) -> None:
    """Refuses two shapes that could be added only by broadcasting, or not at all."""
    if tuple(branch) != tuple(shortcut):
        raise ValueError(
            "The branch and the shortcut of a residual block must have outputs of the "
            f"same shape. Received: a branch with outputs of shape {tuple(branch)} and "
            f"a shortcut with outputs of shape {tuple(shortcut)}"
        )
