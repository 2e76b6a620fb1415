"""The parts that a residual layer is made of: a layer, a list of layers, or a model."""

from typing import Any

import keras

from keras_convinit.layers._attributes import held


def as_layer(name: str, value: Any) -> keras.layers.Layer:
    """Returns the part as one layer; a list becomes a `Sequential` called `name`."""
    if isinstance(value, dict):
        with keras.name_scope(name):
            value = keras.saving.deserialize_keras_object(not_built(value))
    parts = value if isinstance(value, list | tuple) else [value]
    if not parts or not all(isinstance(part, keras.layers.Layer) for part in parts):
        raise ValueError(
            f"`{name}` must be a Keras layer, a list of layers, or a model. "
            f"Received: {name}={value!r}"
        )
    return value if parts[0] is value else keras.Sequential(list(parts), name=name)


def not_built(node: Any) -> Any:
    """A configuration that leaves building to whoever holds the layer.

    Keras builds the layers in a configuration before there is anyone to hold them. So
    their variables would have the paths of those in the next block, and on PyTorch,
    where Keras keeps parameters by path, only the last of them would be one.
    """
    if isinstance(node, list | tuple):
        return type(node)(not_built(item) for item in node)
    if not isinstance(node, dict):
        return node
    is_layer = "class_name" in node and "config" in node
    return {
        key: not_built(value)
        for key, value in node.items()
        if not (is_layer and key == "build_config")
    }


def build(part: keras.layers.Layer, input_shape: Any) -> None:
    """Builds the part, unless it is left to the first call to do that."""
    # Of a layer without `build`, Keras would warn that it may have something to build.
    if not part.built and type(part).build is not keras.layers.Layer.build:
        part.build(input_shape)
    elif any(_is_unbuilt(x) for x in held(part) if x is not part):
        part(keras.KerasTensor(input_shape, dtype=part.compute_dtype))


def _is_unbuilt(part: Any) -> bool:
    return isinstance(part, keras.layers.Layer) and not part.built


def output_shape(part: keras.layers.Layer, input_shape: Any) -> Any:
    """The shape of what the part gives, also where it does not say."""
    if type(part) is keras.Sequential:
        # By itself it takes no other shape than that which it was built for.
        for layer in part.layers:
            input_shape = output_shape(layer, input_shape)
        return input_shape
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
