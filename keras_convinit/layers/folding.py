"""A trained model written out in plain Keras, for processes that do not know us."""

import functools
import json
import math
from collections.abc import Callable
from typing import Any

import keras

from keras_convinit._registry import PACKAGE
from keras_convinit.layers._drop_in import AbstractDropIn
from keras_convinit.layers._plain_config import plain_config
from keras_convinit.layers.scaled_residual import ScaledResidual
from keras_convinit.layers.scaled_residual_stack import ScaledResidualStack
from keras_convinit.layers.weight_norm import WeightNorm

# Hands the values over, when the plain layer has been built.
Transfer = Callable[[], None]


def fold(model: keras.Model, verbose: bool = True) -> keras.Model:
    """Writes a model out in plain Keras layers that compute the same function.

    Weight-normalised layers become the ordinary ones, with the effective kernel.
    Scaled residuals and stacks become models of plain layers. Initializers of ours,
    which have done their work, become built-in ones of the same law; a
    delta-orthogonal one, which Keras does not have, becomes an orthogonal one. Layers
    keep their names. The result saves, loads, exports and converts where
    keras_convinit is not installed, and is as fast as if it had been written so.

    Fold for inference: the directions and gains are gone, and so is the state of the
    optimizer. The given model is left as it is.

    Args:
        model: A built Functional or Sequential model. Models inside it are folded too.
        verbose: Whether to print what was folded, a line a layer.

    Returns:
        A new model. Compile it before you evaluate or train it.

    Raises:
        ValueError: `model` is not a built Functional or Sequential model; there is
            nothing to fold; or something to fold is inside a layer of somebody else's,
            out of reach.

    Example:
        >>> model = keras.Sequential(
        ...     [keras.Input((8, 8, 3)), keras_convinit.layers.WeightNormConv2D(4, 3)]
        ... )
        >>> plain = keras_convinit.fold(model)
        weight_norm_conv2d: WeightNormConv2D -> Conv2D
    """
    changes: list[str] = []
    folded, transfer = _fold_model(model, changes)
    transfer()
    if not changes:
        raise ValueError(
            "`model` must hold a layer or an initializer of keras_convinit. "
            f"Received: model={model!r}, with nothing to fold"
        )
    if verbose:
        print("\n".join(changes))
    return folded


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
    return _fold_model(layer, changes)


@plain_twin.register
def _(
    layer: keras.layers.Wrapper, changes: list[str]
) -> tuple[keras.layers.Layer, Transfer]:
    inner, transfer = plain_twin(layer.layer, changes)
    config = layer.get_config()
    config["layer"] = keras.saving.serialize_keras_object(inner)
    twin = type(layer).from_config(plain_config(config))
    own = [v for v in layer.variables if not _among(v, layer.layer.variables)]

    def hand_over() -> None:
        inner.build_from_config(layer.layer.get_build_config())
        transfer()
        twin.layer.set_weights(inner.get_weights())
        theirs = [v for v in twin.variables if not _among(v, twin.layer.variables)]
        for target, source in zip(theirs, own, strict=True):
            target.assign(_copied(source))

    return twin, hand_over


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
            twin.bias.assign(_copied(layer.bias))

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
            target.assign(_copied(value))

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
    return keras.Model(inputs, outputs, name=layer.name), _all_of(transfers)


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
    return keras.Model(inputs, outputs, name=layer.name), _all_of(transfers)


def _input_of(layer: keras.layers.Layer) -> Any:
    shape = layer.get_build_config()["input_shape"]
    return keras.Input(
        batch_shape=(None, *shape[1:]),
        dtype=layer.compute_dtype,
        name=f"{layer.name}_input",
    )


def _fold_model(model: Any, changes: list[str]) -> tuple[keras.Model, Transfer]:
    is_graph = isinstance(model, keras.Sequential) or _is_functional(model)
    if not is_graph or not model.built:
        raise ValueError(
            "`model` must be a Functional or Sequential model that has been built. "
            f"Received: model={model!r}"
        )
    transfers: list[Transfer] = []

    def clone(layer: Any) -> Any:
        if not isinstance(layer, keras.layers.Layer):
            # An operation, such as a sum that was written with a plus: no state.
            return layer
        twin, transfer = plain_twin(layer, changes)
        transfers.append(transfer)
        return twin

    inputs = None if isinstance(model, keras.Sequential) else _inputs_like(model)
    folded = keras.models.clone_model(model, input_tensors=inputs, clone_function=clone)
    if not folded.built:
        folded.build(model.input_shape)

    return folded, _all_of(transfers)


def _all_of(transfers: list[Transfer]) -> Transfer:
    def hand_over() -> None:
        for transfer in transfers:
            transfer()

    return hand_over


def _is_functional(model: Any) -> bool:
    # A subclassed model has no graph of its own, and no public class tells.
    return (
        isinstance(model, keras.Model)
        and hasattr(model, "get_layer")
        and (getattr(model, "inputs", None) is not None)
    )


def _inputs_like(model: Any) -> Any:
    # `clone_model` by itself would name the inputs anew.
    names = {
        id(layer.output): layer.name
        for layer in model.layers
        if isinstance(layer, keras.layers.InputLayer)
    }
    return keras.tree.map_structure(
        lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=names[id(x)]),
        model.input,
    )


def _copied(value: Any) -> Any:
    # JAX would share the array, and a step that trains the one would delete it.
    return keras.ops.convert_to_numpy(value)


def _among(variable: Any, variables: Any) -> bool:
    return any(variable is other for other in variables)
