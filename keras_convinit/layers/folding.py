"""Folding: a trained model rewritten in plain Keras layers."""

import dataclasses
import functools
import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras

from keras_convinit import backend
from keras_convinit._contents import iterate_contents
from keras_convinit._copies import (
    NotCopyableError,
    check_values,
    keep_seed,
    rebuild_from_config,
)
from keras_convinit._kinds import is_functional, is_sequential, takes_graph
from keras_convinit._registry import PACKAGE
from keras_convinit._types import Config, Initializer, KerasLayer, KerasModel, Tensor
from keras_convinit.initializers import DeltaOrthogonal, ZhangBackward, ZhangForward
from keras_convinit.layers.scalar import AbstractScalar, ScalarMultiplier
from keras_convinit.layers.scaled_residual import ScaledResidual
from keras_convinit.layers.scaled_residual_stack import ScaledResidualStack
from keras_convinit.layers.weight_norm import WeightNorm
from keras_convinit.layers.weight_norm_layers import AbstractDropIn
from keras_convinit.scales import backward_scale, forward_scale


def fold(model: KerasModel, verbose: bool = True) -> KerasModel:
    """Rewrites a model in plain Keras layers that compute the same function.

    Weight-normalized layers become ordinary ones, with the effective kernel. Scaled
    residuals and stacks become models of plain layers. Initializers of this package,
    which are not needed any more, become built-in ones of the same distribution; a
    delta-orthogonal one, which Keras does not have, becomes an orthogonal one. Layers
    keep their names, and those in a block have the name of the block in front of it, so
    that names are unique. What is frozen stays so. The result saves, loads, exports and
    converts without keras_convinit, and runs as fast as if it had been written in plain
    Keras.

    Fold for inference: directions, gains, the optimizer and its state are dropped.
    A layer that several models or blocks share becomes one in each of them, equal at
    first, since Keras could not load a file in which they share it; within one of them
    it stays one. The given model is left as it is. A layer that has nothing to fold and
    cannot be copied is shared by both models; a line says so.

    Args:
        model: A built Functional or Sequential model. Models inside it are folded too.
        verbose: Whether to print what was folded, a line for each layer.

    Returns:
        A new model, not compiled. Compile it before you evaluate or train it.

    Raises:
        ValueError: `model` is not a built Functional or Sequential model; there is
            nothing to fold; a layer to fold is held by a third-party layer in a way
            that cannot be followed; or it is of a subclass that computes something of
            its own, such as one with its own `call`.

    Example:
        >>> model = keras.Sequential(
        ...     [keras.Input((8, 8, 3)), keras_convinit.layers.WeightNormConv2D(4, 3)]
        ... )
        >>> plain = keras_convinit.fold(model)
        weight_norm_conv2d: WeightNormConv2D -> Conv2D
    """
    if not _has_graph(model) or not model.built:
        raise ValueError(
            "`model` must be a Functional or Sequential model that has been built. "
            f"Received: model={model!r}"
        )
    _check_understood(model)
    # Layers without seeds draw one when they are made.
    with backend.preserve_state(model):
        folded = _fold_model(model)
        folded.transfer()
    if not folded.changes:
        raise ValueError(
            "`model` must hold a layer or an initializer of keras_convinit. "
            f"Received: model={model!r}, with nothing to fold"
        )
    if verbose:
        print("\n".join(folded.changes))
        for layer in folded.shared:
            print(f"{layer.name}: cannot be made again, and is shared by both models")
    return folded.layer


@dataclasses.dataclass(frozen=True)
class _Folded:
    """A plain layer in place of another one.

    Args:
        layer: The plain layer or model, which need not be built.
        transfer: Assigns the values of the original, when `layer` has been built.
        changes: A line for each layer that was folded.
        shared: Layers that could not be copied, with nothing to fold in them.
    """

    layer: Any
    transfer: Callable[[], None]
    changes: tuple[str, ...] = ()
    shared: tuple[KerasLayer, ...] = ()

    @classmethod
    def join(
        cls, layer: Any, parts: Sequence["_Folded"], changes: Iterable[str] = ()
    ) -> "_Folded":
        """Combines folded parts into the layer that they are parts of.

        Args:
            layer: The plain layer, made of those of the parts.
            parts: The folded parts.
            changes: Lines in front of those of the parts.
        """

        def transfer() -> None:
            for part in parts:
                part.transfer()

        return cls(
            layer,
            transfer,
            (*changes, *(line for part in parts for line in part.changes)),
            tuple(each for part in parts for each in part.shared),
        )


# Models.


def _fold_model(model: KerasModel, block: str = "") -> _Folded:
    clone, parts = _start_folding(block)
    name = _name_in(block, model)
    if isinstance(model, keras.Sequential):
        inner = list(map(clone, model.layers))
        plain = keras.Sequential([*_copy_inputs(model.inputs), *inner], name=name)
    else:
        # Of a model that is compiled, so would be the clone, by a configuration that
        # may need this package. That of the graph alone never is.
        graph = keras.models.clone_model(
            keras.Model(model.input, model.output),
            input_tensors=_copy_inputs(model.input),
            clone_function=clone,
        )
        cls = type(model) if takes_graph(type(model)) else keras.Model
        plain = cls(graph.input, graph.output, name=name)
        if not is_functional(model):
            check_values(model, plain)
    _keep_frozen(plain, model)
    return _Folded.join(plain, parts)


def _start_folding(block: str) -> tuple[Callable[[Any], Any], list[_Folded]]:
    """Returns a function that folds each layer once, and the list that it fills."""
    parts: list[_Folded] = []

    @functools.cache
    def fold_once(layer: Any) -> Any:
        if not isinstance(layer, keras.layers.Layer):
            # An operation, such as a sum that was written with a plus: no state.
            return layer
        parts.append(_fold_layer(layer, block))
        return parts[-1].layer

    return fold_once, parts


def _has_graph(model: Any) -> bool:
    """Returns True for a Functional or Sequential model; no public class tells."""
    return isinstance(model, keras.Sequential) or (
        isinstance(model, keras.Model)
        and hasattr(model, "get_layer")
        and (getattr(model, "inputs", None) is not None)
    )


def _copy_inputs(inputs: Any) -> Any:
    # `clone_model` by itself would name the inputs anew. Of a sequential model a graph
    # is the only public way to its input layer.
    layers = {id(layer.output): layer for layer in keras.Model(inputs, inputs).layers}

    def copy(x: Any) -> Any:
        layer = layers[id(x)]
        return keras.Input(
            batch_shape=x.shape,
            dtype=x.dtype,
            sparse=x.sparse,
            name=layer.name,
            optional=layer.optional,
        )

    return keras.tree.map_structure(copy, inputs)


# Layers.


def _fold_layer(layer: KerasLayer, block: str) -> _Folded:
    """Returns a plain layer for one that may be, or hold, one of this package.

    Args:
        layer: The layer, built.
        block: The name of the residual block that it is in; empty for none.

    Raises:
        ValueError: The layer holds one to fold that cannot be reached, or is, or holds,
            one of a subclass that computes something of its own.
    """
    _check_understood(layer)
    return _fold_known(layer, block)


@functools.singledispatch
def _fold_known(layer: KerasLayer, block: str) -> _Folded:
    parts: list[tuple[KerasLayer, _Folded]] = []
    replaced: list[Any] = []

    def fold_part(held: Any) -> Any:
        if isinstance(held, keras.layers.Layer):
            parts.append((held, _fold_layer(held, block)))
            return parts[-1][1].layer
        if not _is_ours(held):
            return rebuild_from_config(held, fold_part, keep_seed)
        replaced.append(held)
        return _replace_initializer(held, layer.variable_dtype)

    def change(config: Config) -> Config:
        plain = _replace_initializers(config, layer.variable_dtype)
        if plain != config:
            replaced.append(config)
        return {**plain, "name": _name_in(block, layer)}

    try:
        plain = rebuild_from_config(layer, fold_part, keep_seed, change=change)
    except NotCopyableError:
        if any(map(_is_ours, iterate_contents(layer))):
            raise
        return _Folded(layer, lambda: None, shared=(layer,))
    folded = _Folded.join(plain, [part for _, part in parts])
    changes = folded.changes
    if replaced:
        changes += (f"{layer.name}: initializers -> built-in",)

    def transfer() -> None:
        folded.transfer()
        sources = _list_own_weights(layer, [held for held, _ in parts])
        targets = _list_own_weights(plain, [part.layer for _, part in parts])
        if _holds_ours(plain) or len(sources) != len(targets):
            raise ValueError(
                "What is to be folded must stand in a model, in a wrapper of Keras, in "
                "a layer of keras_convinit, or in the configuration of a layer. "
                f"Received: layer={layer!r}, which holds something of keras_convinit "
                "out of reach"
            )
        for target, source in zip(targets, sources, strict=True):
            _assign(target, source)

    return dataclasses.replace(folded, transfer=transfer, changes=changes)


@_fold_known.register
def _(layer: KerasModel, block: str) -> _Folded:
    if block and is_sequential(layer):
        # Built by its call, for whatever shape the block is called with.
        fold_once, parts = _start_folding(block)
        inner = list(map(fold_once, layer.layers))
        plain = keras.Sequential(inner, name=_name_in(block, layer))
        _keep_frozen(plain, layer)
        return _Folded.join(plain, parts)
    if not _has_graph(layer) or _find_own_computation(layer):
        return _fold_known.dispatch(keras.layers.Layer)(layer, block)
    return _fold_model(layer, block)


@_fold_known.register
def _(layer: AbstractScalar, block: str) -> _Folded:
    number = float(keras.ops.convert_to_numpy(layer.value))
    multiplies = isinstance(layer, ScalarMultiplier)
    scale, offset = (number, 0.0) if multiplies else (1.0, number)
    plain = keras.layers.Rescaling(
        scale, offset, name=_name_in(block, layer), dtype=layer.dtype_policy
    )
    change = f"{layer.name}: {type(layer).__name__} -> Rescaling, a constant"
    return _Folded(plain, lambda: None, (change,))


@_fold_known.register
def _(layer: AbstractDropIn, block: str) -> _Folded:
    ordinary = layer.ordinary_class

    def change(config: Config) -> Config:
        config = {**config, "name": _name_in(block, layer)}
        del config["gain_initializer"]
        return config

    plain = rebuild_from_config(
        layer, _make_plain_copier(layer), keep_seed, ordinary, change
    )

    def transfer() -> None:
        _assign_kernel(plain.kernel, layer)
        if layer.use_bias:
            _assign(plain.bias, layer.bias)

    line = f"{layer.name}: {type(layer).__name__} -> {ordinary.__name__}"
    return _Folded(plain, transfer, (line,))


@_fold_known.register
def _(layer: WeightNorm, block: str) -> _Folded:
    inner = layer.layer

    def change(config: Config) -> Config:
        return {**config, "name": _name_in(block, layer)}

    plain = rebuild_from_config(
        inner, _make_plain_copier(inner), keep_seed, change=change
    )

    def transfer() -> None:
        for target, source in zip(plain.variables, inner.variables, strict=True):
            if source is layer.weight_norm_direction:
                _assign_kernel(target, layer)
            else:
                _assign(target, source)

    line = f"{layer.name}: WeightNorm -> {type(plain).__name__}"
    return _Folded(plain, transfer, (line,))


def _make_plain_copier(layer: KerasLayer) -> Callable[[Any], Any]:
    """Returns a function that copies what the layer holds, with plain initializers."""

    def copy(held: Any) -> Any:
        plain = _replace_initializer(held, layer.variable_dtype)
        return rebuild_from_config(plain, copy, keep_seed)

    return copy


# Subclasses.

_REWRITTEN = (
    AbstractScalar,
    AbstractDropIn,
    WeightNorm,
    ScaledResidual,
    ScaledResidualStack,
)
# Methods that have no part in what a layer computes, once it is built.
_WITHOUT_EFFECT = frozenset(
    {
        "add_weight",
        "build",
        "build_from_config",
        "compute_output_shape",
        "compute_output_spec",
        "from_config",
        "get_build_config",
        "get_config",
        "kernel_initializer_argument",
        "load_assets",
        "load_own_variables",
        "ordinary_class",
        "save_assets",
        "save_own_variables",
    }
)


def _check_understood(layer: KerasLayer) -> None:
    name = _find_own_computation(layer)
    if name and any(map(_is_ours, iterate_contents(layer))):
        raise ValueError(
            "What is folded must compute what its class in keras_convinit or Keras "
            "does: what a subclass does instead would be lost. "
            f"Received: layer={layer!r} with its own `{name}`"
        )


def _find_own_computation(layer: KerasLayer) -> str:
    """Returns the name of something that plain layers would not do, or ""."""
    if "call" in vars(layer):
        return "call"
    if isinstance(layer, keras.Model):
        keeps_class = is_functional(layer) or is_sequential(layer)
        if not isinstance(layer, keras.Sequential):
            keeps_class = keeps_class or takes_graph(type(layer))
        return "call" if _has_graph(layer) and not keeps_class else ""
    if not isinstance(layer, _REWRITTEN):
        return ""
    known: set[type] = set()
    for cls in type(layer).__mro__:
        if cls.__module__.split(".")[0] == PACKAGE:
            known.update(cls.__mro__)
    if isinstance(layer, AbstractDropIn):
        known.update(layer.ordinary_class.__mro__)
    for cls in type(layer).__mro__:
        for name, value in () if cls in known else vars(cls).items():
            is_special = name.startswith("__") and name != "__call__"
            if is_special or name in _WITHOUT_EFFECT:
                continue
            in_effect = inspect.getattr_static(type(layer), name) is value
            if in_effect and any(name in vars(base) for base in known):
                return name
    return ""


# Residual blocks.


@_fold_known.register
def _(layer: ScaledResidual, block: str) -> _Folded:
    folded = _fold_blocks([layer], layer, block)
    line = f"{layer.name}: ScaledResidual -> model of plain layers"
    return dataclasses.replace(folded, changes=(line, *folded.changes))


@_fold_known.register
def _(layer: ScaledResidualStack, block: str) -> _Folded:
    folded = _fold_blocks(layer.unrolled(), layer, block)
    # One line for the stack is enough.
    line = f"{layer.name}: ScaledResidualStack -> {layer.num_blocks} models"
    return dataclasses.replace(folded, changes=(line,))


def _fold_blocks(
    blocks: list[ScaledResidual], layer: KerasLayer, block: str
) -> _Folded:
    """Makes a model of some blocks, for any size of image if its layers allow it."""
    *positions, channels = layer.get_build_config()["input_shape"][1:]
    try:
        return _fold_blocks_of_shape(
            blocks, layer, (*[None for _ in positions], channels), block
        )
    # Layers that need to know their positions say so in their own words.
    except Exception:
        if not any(positions):
            raise
    return _fold_blocks_of_shape(blocks, layer, (*positions, channels), block)


def _fold_blocks_of_shape(
    blocks: list[ScaledResidual],
    layer: KerasLayer,
    shape: tuple[int | None, ...],
    block: str,
) -> _Folded:
    name = _name_in(block, layer)
    inputs = outputs = _make_input(layer, shape)
    parts: list[_Folded] = []
    for each in blocks:
        if each is layer:
            outputs, folded = _fold_residual(each, outputs, name)
        else:
            own_name = _name_in(block, each)
            own_inputs = _make_input(each, shape)
            sums, folded = _fold_residual(each, own_inputs, own_name)
            outputs = keras.Model(own_inputs, sums, name=own_name)(outputs)
        parts += folded
    plain = keras.Model(inputs, outputs, name=name)
    _keep_frozen(plain, layer)
    return _Folded.join(plain, parts)


def _fold_residual(
    layer: ScaledResidual, inputs: Tensor, name: str
) -> tuple[Tensor, list[_Folded]]:
    """Applies plain layers that compute a block to `inputs`."""
    with keras.name_scope(name):
        branch = _fold_layer(layer.branch, name)
        parts = [branch]
        scaled = branch.layer(inputs)
        if not layer.absorb:
            scaled = keras.layers.Rescaling(
                1 / math.sqrt(layer.num_blocks),
                name=f"{name}_scale",
                dtype=layer.dtype_policy,
            )(scaled)
        through = inputs
        if layer.shortcut is not None:
            shortcut = _fold_layer(layer.shortcut, f"{name}_shortcut")
            parts.append(shortcut)
            through = shortcut.layer(inputs)
        add = keras.layers.Add(name=f"{name}_sum", dtype=layer.dtype_policy)
        return add([through, scaled]), parts


def _make_input(layer: KerasLayer, shape: tuple[int | None, ...]) -> Tensor:
    return keras.Input(shape, dtype=layer.compute_dtype, name=f"{layer.name}_input")


# Initializers.


def _build_variance_scaling(scale: float, mode: str, seed: Any) -> Initializer:
    return keras.initializers.VarianceScaling(
        scale, mode=mode, distribution="untruncated_normal", seed=seed
    )


def _replace_initializer(initializer: Any, dtype: str) -> Any:
    """Returns a built-in initializer for one of this package.

    Args:
        initializer: An initializer; or any other object, which is returned.
        dtype: The dtype of the variable, in which the plain layer draws.
    """
    if type(initializer) is ZhangForward:
        scale = forward_scale(initializer.activation, initializer.variance)
        return _build_variance_scaling(
            initializer.scale * scale, "fan_in", initializer.seed
        )
    if type(initializer) is ZhangBackward:
        scale = backward_scale(initializer.activation, initializer.variance)
        return _build_variance_scaling(
            scale / initializer.gamma, "fan_out", initializer.seed
        )
    if type(initializer) is DeltaOrthogonal:
        # The nearest that Keras has; it draws something else.
        initializer = keras.initializers.Orthogonal(
            initializer.gain, seed=initializer.seed
        )
    is_orthogonal = isinstance(initializer, keras.initializers.Orthogonal)
    if is_orthogonal and dtype in ("bfloat16", "float16"):
        # No backend has a QR decomposition there; the variance is that of the columns.
        variance = initializer.gain**2
        return _build_variance_scaling(variance, "fan_in", initializer.seed)
    return initializer


_REPLACED = frozenset(
    f"{PACKAGE}>{cls.__name__}"
    for cls in (ZhangForward, ZhangBackward, DeltaOrthogonal)
)


def _replace_initializers(config: Any, dtype: str) -> Any:
    """Replaces the initializers of this package in a configuration.

    Args:
        config: A configuration of a layer, or a part of one.
        dtype: The dtype of the layer's variables.

    Returns:
        The configuration, equal to `config` where there is nothing to replace.
    """
    if isinstance(config, dict):
        if config.get("registered_name") in _REPLACED:
            initializer = keras.saving.deserialize_keras_object(config)
            plain = _replace_initializer(initializer, dtype)
            return keras.saving.serialize_keras_object(plain)
        return {
            key: _replace_initializers(value, dtype) for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return type(config)(_replace_initializers(value, dtype) for value in config)
    return config


# Names, values, and what is left of this package.


def _name_in(block: str, layer: KerasLayer) -> str:
    """Returns the name of a plain layer, unique among those of all blocks."""
    if block.endswith(f"_{layer.name}"):
        return block
    return f"{block}_{layer.name}" if block else layer.name


def _assign(target: Any, source: Any) -> None:
    # JAX would share the array, and a step that trains the one would delete it.
    target.assign(keras.ops.convert_to_numpy(source))
    target.trainable = source.trainable


def _assign_kernel(target: Any, layer: Any) -> None:
    target.assign(keras.ops.convert_to_numpy(layer.effective_kernel()))
    parts = layer.weight_norm_direction, layer.weight_norm_gain
    target.trainable = any(part.trainable for part in parts)


def _keep_frozen(plain: KerasModel, layer: KerasLayer) -> None:
    # A file keeps what is said of layers. Of single variables, `_assign` does.
    if not layer.trainable:
        plain.trainable = False


def _list_own_weights(layer: KerasLayer, parts: Iterable[KerasLayer]) -> list[Any]:
    """Returns the weights of a layer but those of its parts."""
    theirs = {id(variable) for part in parts for variable in part.weights}
    return [variable for variable in layer.weights if id(variable) not in theirs]


def _is_ours(thing: object) -> bool:
    return any(
        cls.__module__.split(".")[0] == PACKAGE for cls in type(thing).__mro__
    ) and hasattr(thing, "get_config")


def _holds_ours(layer: KerasLayer) -> bool:
    with warnings.catch_warnings():
        # That functions without a name are not for files is for others to say.
        warnings.simplefilter("ignore")
        config = repr(layer.get_config())
    return f"{PACKAGE}>" in config or any(map(_is_ours, iterate_contents(layer)))
