"""Plain layers of Keras that compute what ours do."""

import functools
import json
import math
from typing import Any

import keras

from keras_convinit._registry import PACKAGE
from keras_convinit.layers._drop_in import AbstractDropIn
from keras_convinit.layers._folded_model import (
    Transfer,
    all_of,
    among,
    copied,
    folded_model,
)
from keras_convinit.layers._plain_config import plain_config
from keras_convinit.layers.scalar import AbstractScalar, ScalarMultiplier
from keras_convinit.layers.scaled_residual import ScaledResidual
from keras_convinit.layers.scaled_residual_stack import ScaledResidualStack
from keras_convinit.layers.weight_norm import WeightNorm


@functools.singledispatch
def plain_twin(
    layer: keras.layers.Layer, changes: list[str]
) -> tuple[keras.layers.Layer, Transfer]:
    """A plain layer for one that may be ours.

    Args:
        layer: The layer, built.
        changes: What has been folded so far, a line each; more is added.

    Returns:
        The plain layer, which need not be built, and a function that hands it the
        values of `layer` once it is.
    """
    before = layer.get_config()
    config = plain_config(before)
    if config != before:
        changes.append(f"{layer.name}: initializers -> built-in")
    twin = type(layer).from_config(config)
    if f"{PACKAGE}>" in json.dumps(keras.saving.serialize_keras_object(twin)):
        raise ValueError(
            "What is to be folded must stand in a model, in a wrapper of Keras or in a "
            f"layer of keras_convinit. Received: layer={layer!r}, which holds "
            "something of keras_convinit out of reach"
        )
    return twin, lambda: twin.set_weights(layer.get_weights())


@plain_twin.register
def _(layer: keras.Model, changes: list[str]) -> tuple[keras.layers.Layer, Transfer]:
    return folded_model(layer, lambda part: plain_twin(part, changes))


@plain_twin.register
def _(
    layer: keras.layers.Wrapper, changes: list[str]
) -> tuple[keras.layers.Layer, Transfer]:
    inner, transfer = plain_twin(layer.layer, changes)
    config = layer.get_config()
    config["layer"] = keras.saving.serialize_keras_object(inner)
    twin = type(layer).from_config(plain_config(config))
    own = [v for v in layer.variables if not among(v, layer.layer.variables)]

    def hand_over() -> None:
        inner.build_from_config(layer.layer.get_build_config())
        transfer()
        twin.layer.set_weights(inner.get_weights())
        theirs = [v for v in twin.variables if not among(v, twin.layer.variables)]
        for target, source in zip(theirs, own, strict=True):
            target.assign(copied(source))

    return twin, hand_over


@plain_twin.register
def _(layer: AbstractScalar, changes: list[str]) -> tuple[keras.layers.Layer, Transfer]:
    number = float(keras.ops.convert_to_numpy(layer.value))
    multiplies = isinstance(layer, ScalarMultiplier)
    scale, offset = (number, 0.0) if multiplies else (1.0, number)
    twin = keras.layers.Rescaling(
        scale, offset, name=layer.name, dtype=layer.dtype_policy
    )
    changes.append(f"{layer.name}: {type(layer).__name__} -> Rescaling, a constant")
    return twin, lambda: None


@plain_twin.register
def _(layer: AbstractDropIn, changes: list[str]) -> tuple[keras.layers.Layer, Transfer]:
    ordinary = layer.ordinary_class
    config = plain_config(layer.get_config())
    del config["gain_initializer"]
    twin = ordinary.from_config(config)
    changes.append(f"{layer.name}: {type(layer).__name__} -> {ordinary.__name__}")

    def hand_over() -> None:
        twin.kernel.assign(layer.effective_kernel())
        if layer.use_bias:
            twin.bias.assign(copied(layer.bias))

    return twin, hand_over


@plain_twin.register
def _(layer: WeightNorm, changes: list[str]) -> tuple[keras.layers.Layer, Transfer]:
    config = {**plain_config(layer.layer.get_config()), "name": layer.name}
    twin = type(layer.layer).from_config(config)
    changes.append(f"{layer.name}: WeightNorm -> {type(twin).__name__}")

    def hand_over() -> None:
        for target, source in zip(twin.variables, layer.layer.variables, strict=True):
            is_direction = source is layer.weight_norm_direction
            value = layer.effective_kernel() if is_direction else source
            target.assign(copied(value))

    return twin, hand_over


@plain_twin.register
def _(layer: ScaledResidual, changes: list[str]) -> tuple[keras.layers.Layer, Transfer]:
    changes.append(f"{layer.name}: ScaledResidual -> model of plain layers")
    return _residual_model(layer, changes)


@plain_twin.register
def _(
    layer: ScaledResidualStack, changes: list[str]
) -> tuple[keras.layers.Layer, Transfer]:
    changes.append(f"{layer.name}: ScaledResidualStack -> {layer.num_blocks} models")
    inputs = outputs = _input_of(layer)
    transfers = []
    for block in layer.unrolled():
        # One line for the stack is enough.
        twin, transfer = _residual_model(block, [])
        outputs = twin(outputs)
        transfers.append(transfer)
    return keras.Model(inputs, outputs, name=layer.name), all_of(transfers)


def _residual_model(
    layer: ScaledResidual, changes: list[str]
) -> tuple[keras.Model, Transfer]:
    inputs = through = _input_of(layer)
    branch, transfer = plain_twin(layer.branch, changes)
    transfers = [transfer]
    scaled = branch(inputs)
    if not layer.absorb:
        scaled = keras.layers.Rescaling(
            1 / math.sqrt(layer.num_blocks),
            name=f"{layer.name}_scale",
            dtype=layer.dtype_policy,
        )(scaled)
    if layer.shortcut is not None:
        shortcut, transfer = plain_twin(layer.shortcut, changes)
        transfers.append(transfer)
        through = shortcut(inputs)
    add = keras.layers.Add(name=f"{layer.name}_sum", dtype=layer.dtype_policy)
    outputs = add([through, scaled])
    return keras.Model(inputs, outputs, name=layer.name), all_of(transfers)


def _input_of(layer: keras.layers.Layer) -> Any:
    shape = layer.get_build_config()["input_shape"]
    return keras.Input(
        batch_shape=(None, *shape[1:]),
        dtype=layer.compute_dtype,
        name=f"{layer.name}_input",
    )
