"""Plain layers of Keras that compute what ours do."""

import dataclasses
import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import keras

from keras_convinit._registry import PACKAGE
from keras_convinit.layers._attributes import held
from keras_convinit.layers._copies import same_seed
from keras_convinit.layers._drop_in import AbstractDropIn
from keras_convinit.layers._folded_model import (
    Transfer,
    all_of,
    copied,
    folded_model,
    has_graph,
)
from keras_convinit.layers._made_again import CannotBeMadeAgain, made_again
from keras_convinit.layers._plain_config import plain_config, plain_initializer
from keras_convinit.layers.scalar import AbstractScalar, ScalarMultiplier
from keras_convinit.layers.scaled_residual import ScaledResidual
from keras_convinit.layers.scaled_residual_stack import ScaledResidualStack
from keras_convinit.layers.weight_norm import WeightNorm

Twin = tuple[keras.layers.Layer, Transfer]


@dataclasses.dataclass(frozen=True)
class Folding:
    """What is known of a model while it is folded.

    Args:
        changes: What has been folded so far, a line each.
        shared: What could not be made again and has nothing to fold.
        block: The name of the block that is being folded, or nothing.
    """

    changes: list[str] = dataclasses.field(default_factory=list)
    shared: list[keras.layers.Layer] = dataclasses.field(default_factory=list)
    block: str = ""

    def name(self, layer: Any) -> str:
        """The name of a twin, of which there is no other in any block."""
        if self.block.endswith(f"_{layer.name}"):
            return self.block
        return f"{self.block}_{layer.name}" if self.block else layer.name

    def inside(self, block: str) -> "Folding":
        """The same for what is in a block."""
        return dataclasses.replace(self, block=block)


@functools.singledispatch
def plain_twin(layer: keras.layers.Layer, folding: Folding) -> Twin:
    """A plain layer for one that may be ours.

    Args:
        layer: The layer, built.
        folding: What is known so far; what is done here is added.

    Returns:
        The plain layer, which need not be built, and a function that hands it the
        values of `layer` once it is.

    Raises:
        ValueError: It holds something of ours that cannot be reached.
    """
    parts: list[tuple[Any, Any, Transfer]] = []
    before = len(folding.changes)
    replaced: list[Any] = []

    def part(inner: Any) -> Any:
        if isinstance(inner, keras.layers.Layer):
            twin, transfer = plain_twin(inner, folding)
            parts.append((inner, twin, transfer))
            return twin
        if not _is_ours(inner):
            return made_again(inner, part, same_seed)
        replaced.append(inner)
        return plain_initializer(inner, layer.variable_dtype)

    def change(config: dict[str, Any]) -> dict[str, Any]:
        plain = plain_config(config, layer.variable_dtype)
        if plain != config:
            replaced.append(config)
        return {**plain, "name": folding.name(layer)}

    try:
        twin = made_again(layer, part, same_seed, change=change)
    except CannotBeMadeAgain:
        if any(map(_is_ours, held(layer))):
            raise
        del folding.changes[before:]
        folding.shared.append(layer)
        return layer, lambda: None
    if replaced:
        folding.changes.append(f"{layer.name}: initializers -> built-in")

    def hand_over() -> None:
        for _, _, transfer in parts:
            transfer()
        own = _without(layer.weights, [inner for inner, _, _ in parts])
        theirs = _without(twin.weights, [inner for _, inner, _ in parts])
        if _holds_ours(twin) or len(own) != len(theirs):
            raise ValueError(
                "What is to be folded must stand in a model, in a wrapper of Keras, in "
                "a layer of keras_convinit, or in the configuration of a layer. "
                f"Received: layer={layer!r}, which holds something of keras_convinit "
                "out of reach"
            )
        for target, source in zip(theirs, own, strict=True):
            target.assign(copied(source))

    return twin, hand_over


def _without(variables: Any, layers: list[Any]) -> list[Any]:
    theirs = {id(variable) for layer in layers for variable in layer.weights}
    return [variable for variable in variables if id(variable) not in theirs]


def _is_ours(thing: Any) -> bool:
    return any(
        cls.__module__.split(".")[0] == PACKAGE for cls in type(thing).__mro__
    ) and hasattr(thing, "get_config")


def _holds_ours(twin: Any) -> bool:
    with warnings.catch_warnings():
        # That functions without a name are not for files is for others to say.
        warnings.simplefilter("ignore")
        config = repr(twin.get_config())
    return f"{PACKAGE}>" in config or any(map(_is_ours, held(twin)))


@plain_twin.register
def _(layer: keras.Model, folding: Folding) -> Twin:
    if folding.block and type(layer) is keras.Sequential:
        # Built by its call, for whatever shape the block is called with.
        twins, transfers = zip(
            *(plain_twin(part, folding) for part in layer.layers), strict=True
        )
        model = keras.Sequential(list(twins), name=folding.name(layer))
        return model, all_of(list(transfers))
    if not has_graph(layer):
        return plain_twin.dispatch(keras.layers.Layer)(layer, folding)
    model, transfer = folded_model(layer, lambda part: plain_twin(part, folding))
    model.name = folding.name(layer)
    return model, transfer


@plain_twin.register
def _(layer: AbstractScalar, folding: Folding) -> Twin:
    number = float(keras.ops.convert_to_numpy(layer.value))
    multiplies = isinstance(layer, ScalarMultiplier)
    scale, offset = (number, 0.0) if multiplies else (1.0, number)
    twin = keras.layers.Rescaling(
        scale, offset, name=folding.name(layer), dtype=layer.dtype_policy
    )
    folding.changes.append(
        f"{layer.name}: {type(layer).__name__} -> Rescaling, a constant"
    )
    return twin, lambda: None


@plain_twin.register
def _(layer: AbstractDropIn, folding: Folding) -> Twin:
    ordinary = layer.ordinary_class

    def change(config: dict[str, Any]) -> dict[str, Any]:
        config = {**config, "name": folding.name(layer)}
        del config["gain_initializer"]
        return config

    part = _part_of(layer)
    twin = made_again(layer, part, same_seed, ordinary, change)
    folding.changes.append(
        f"{layer.name}: {type(layer).__name__} -> {ordinary.__name__}"
    )

    def hand_over() -> None:
        twin.kernel.assign(layer.effective_kernel())
        if layer.use_bias:
            twin.bias.assign(copied(layer.bias))

    return twin, hand_over


@plain_twin.register
def _(layer: WeightNorm, folding: Folding) -> Twin:
    inner = layer.layer

    def change(config: dict[str, Any]) -> dict[str, Any]:
        return {**config, "name": folding.name(layer)}

    twin = made_again(inner, _part_of(inner), same_seed, change=change)
    folding.changes.append(f"{layer.name}: WeightNorm -> {type(twin).__name__}")

    def hand_over() -> None:
        for target, source in zip(twin.variables, inner.variables, strict=True):
            is_direction = source is layer.weight_norm_direction
            value = layer.effective_kernel() if is_direction else source
            target.assign(copied(value))

    return twin, hand_over


def _part_of(layer: Any) -> Callable[[Any], Any]:
    def part(held: Any) -> Any:
        plain = plain_initializer(held, layer.variable_dtype)
        return made_again(plain, part, same_seed)

    return part


@plain_twin.register
def _(layer: ScaledResidual, folding: Folding) -> Twin:
    folding.changes.append(f"{layer.name}: ScaledResidual -> model of plain layers")
    return _of_blocks([layer], layer, folding)


@plain_twin.register
def _(layer: ScaledResidualStack, folding: Folding) -> Twin:
    folding.changes.append(
        f"{layer.name}: ScaledResidualStack -> {layer.num_blocks} models"
    )
    # One line for the stack is enough.
    quiet = dataclasses.replace(folding, changes=[])
    return _of_blocks(layer.unrolled(), layer, quiet)


def _of_blocks(blocks: list[ScaledResidual], layer: Any, folding: Folding) -> Twin:
    """A model of some blocks, of any size of image if its layers can do that."""
    *positions, channels = layer.get_build_config()["input_shape"][1:]
    for shape in ((*[None for _ in positions], channels), (*positions, channels)):
        found = dataclasses.replace(folding, changes=[], shared=[])
        try:
            twin = _model_of_blocks(blocks, layer, shape, found)
        # Layers that want to know their positions say so in their own words.
        except Exception:
            if shape == (*positions, channels):
                raise
            continue
        folding.changes.extend(found.changes)
        folding.shared.extend(found.shared)
        break
    return twin


def _model_of_blocks(
    blocks: list[ScaledResidual], layer: Any, shape: tuple[Any, ...], folding: Folding
) -> Twin:
    name = folding.name(layer)
    inputs = outputs = _input(layer, shape)
    transfers = []
    for block in blocks:
        if block is layer:
            outputs, transfer = _residual(block, outputs, folding.inside(name))
        else:
            within = _input(block, shape)
            sums, transfer = _residual(
                block, within, folding.inside(folding.name(block))
            )
            outputs = keras.Model(within, sums, name=folding.name(block))(outputs)
        transfers.append(transfer)
    return keras.Model(inputs, outputs, name=name), all_of(transfers)


def _residual(
    layer: ScaledResidual, inputs: Any, folding: Folding
) -> tuple[Any, Transfer]:
    with keras.name_scope(folding.block):
        branch, transfer = plain_twin(layer.branch, folding)
        transfers = [transfer]
        scaled = branch(inputs)
        if not layer.absorb:
            scaled = keras.layers.Rescaling(
                1 / math.sqrt(layer.num_blocks),
                name=f"{folding.block}_scale",
                dtype=layer.dtype_policy,
            )(scaled)
        through = inputs
        if layer.shortcut is not None:
            apart = folding.inside(f"{folding.block}_shortcut")
            shortcut, transfer = plain_twin(layer.shortcut, apart)
            transfers.append(transfer)
            through = shortcut(inputs)
        add = keras.layers.Add(name=f"{folding.block}_sum", dtype=layer.dtype_policy)
        return add([through, scaled]), all_of(transfers)


def _input(layer: keras.layers.Layer, shape: tuple[Any, ...]) -> Any:
    return keras.Input(shape, dtype=layer.compute_dtype, name=f"{layer.name}_input")
