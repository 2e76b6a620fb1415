"""Variables that a scheme does not set: what keeps its value, and what is reset."""

from collections.abc import Iterator
from typing import Any

import keras

from keras_convinit._contents import iterate_contents
from keras_convinit._copies import copy_layer
from keras_convinit._types import KerasLayer, KerasModel, Tensor, Variable
from keras_convinit.analysis import (
    KernelContext,
    ModelAnalysis,
    find_kernels,
    is_custom_layer,
)
from keras_convinit.layers import ScaledResidual, stacked_variables_of
from keras_convinit.schemes._drawing import seeded
from keras_convinit.schemes.base import Seeds
from keras_convinit.schemes.report import AS_ITS_LAYER, Row, Skipped, std_of

NOT_TRAINED = "it is not trained"
UNKNOWN = "its layer has kernels that are not known, and `others` is 'keep'"


def reason_of_layer(layer: KerasLayer) -> str | None:
    """Returns why a layer must keep its values, None if it need not.

    Args:
        layer: A layer of the model.
    """
    if not layer.trainable:
        return "its layer is frozen"
    if getattr(layer, "lora_enabled", False):
        return "its layer is adapted by LoRA"
    mode = getattr(layer, "quantization_mode", None)
    # Kernels are trained in float8; of the others only codes are left.
    if mode is not None and mode != "float8":
        return f"its layer is quantized to {mode}"
    return None


def _reason_of_kernel(context: KernelContext) -> str | None:
    reason = reason_of_layer(context.layer)
    if reason is not None:
        return reason
    kernel = context.kernel
    if kernel.computed or not isinstance(kernel.variable, keras.Variable):
        return "its layer computes it from other variables"
    if not keras.backend.is_float_dtype(kernel.variable.dtype):
        return f"its kernel is of {kernel.variable.dtype}"
    if not kernel.variable.trainable:
        return "its kernel is not trained"
    if kernel.gain is not None and not kernel.gain.trainable:
        return "its gain is not trained"
    return None


def kept_kernels(analysis: ModelAnalysis) -> dict[int, Skipped]:
    """Returns the kernels, and their gains, that must keep their values.

    Args:
        analysis: The model.

    Returns:
        The entries of the report, by the identity of the variable.
    """
    kept: dict[int, Skipped] = {}
    for context in analysis.kernels:
        reason = _reason_of_kernel(context)
        if reason is None:
            continue
        variable, gain = context.kernel.variable, context.kernel.gain
        # A kernel that is computed need not have a variable of its own.
        path = getattr(variable, "path", f"{context.path}/{context.kernel.name}")
        kept[id(variable)] = Skipped(path, reason)
        if gain is not None:
            kept[id(gain)] = Skipped(gain.path, reason)
    return kept


def unknown_kernels(analysis: ModelAnalysis) -> dict[int, Skipped]:
    """Returns the matrices of layers whose kernels are not known.

    Args:
        analysis: The model.

    Returns:
        The entries of a report that leaves them alone, by the identity of the variable.
    """
    known = {id(context.kernel.variable) for context in analysis.kernels}
    return {
        id(variable): Skipped(variable.path, UNKNOWN)
        for each in analysis.unread
        if _has_unknown_kernels(each.layer)
        for variable in each.layer.trainable_variables
        if len(variable.shape) > 1 and id(variable) not in known
    }


def _has_unknown_kernels(layer: KerasLayer) -> bool:
    if not isinstance(layer, keras.layers.Layer) or isinstance(layer, keras.Model):
        return False
    return find_kernels(layer) is None


def leaves(layer: KerasLayer) -> Iterator[Any]:
    """Yields the innermost layers of a model, once for each place in it."""
    if isinstance(layer, keras.Model):
        for part in layer.layers:
            yield from leaves(part)
    elif isinstance(layer, ScaledResidual) and not is_custom_layer(layer):
        for part in (layer.branch, layer.shortcut):
            if part is not None:
                yield from leaves(part)
    else:
        if is_custom_layer(layer):
            for part in iterate_contents(layer):
                if isinstance(part, keras.layers.Layer) and part is not layer:
                    yield from leaves(part)
        yield layer


def reset_values(
    model: KerasModel, kernels: set[int], seeds: Seeds
) -> Iterator[tuple[Any, Any, Any]]:
    """Yields the values that new layers would have, for variables that are no kernels.

    Args:
        model: A built model.
        kernels: Identities of kernels and gains, which are passed over.
        seeds: The source of seeds, as for an embedding.

    Yields:
        Layer, variable, and the value or a `Skipped`.
    """
    done = set(kernels)
    for layer in leaves(model):
        others = [v for v in layer.weights if id(v) not in done]
        done.update(map(id, others))
        if not others:
            continue
        reason = _reason_to_keep(layer)
        if reason is not None:
            for variable in others:
                yield layer, variable, Skipped(variable.path, reason)
        elif stacked := stacked_variables_of(layer):
            fresh = zip(stacked, layer.draw_initial_values(), strict=True)
            starts = {
                id(pair.variable): (pair.template, value) for pair, value in fresh
            }
            for variable in others:
                template, value = starts[id(variable)]
                frozen = template.trainable and not variable.trainable
                skipped = Skipped(variable.path, NOT_TRAINED)
                yield layer, variable, skipped if frozen else value
        else:
            yield from _of_layer(layer, others, seeds)
    for variable in model.weights:
        if id(variable) not in done:
            reason = "a variable of the model's own, with no layer to say what it is"
            yield model, variable, Skipped(variable.path, reason)


def _reason_to_keep(layer: KerasLayer) -> str | None:
    reason = reason_of_layer(layer)
    if reason is None and callable(getattr(layer, "adapt", None)):
        return "adapted to data"
    return reason


def _of_layer(
    layer: KerasLayer, variables: list[Any], seeds: Seeds
) -> Iterator[tuple[Any, Any, Any]]:
    by_name: dict[int, Any] = {}
    # The bias of an LSTM is more than its initializer says.
    if not hasattr(layer, "unit_forget_bias"):
        for variable in variables:
            found = getattr(layer, f"{variable.name}_initializer", None)
            if callable(found):
                by_name[id(variable)] = found
    named = len(by_name) == len(variables)
    # What is not trained may be so by nature, or have been frozen.
    clear = all(v.trainable or _is_average(layer, v) for v in variables)
    fresh = {} if named and clear else _variables_of_copy(layer)
    for variable in variables:
        again = fresh.get(id(variable))
        by_nature = again is not None and not again.trainable
        if not (variable.trainable or by_nature or _is_average(layer, variable)):
            yield layer, variable, Skipped(variable.path, NOT_TRAINED)
        elif named:
            initializer = by_name[id(variable)]
            if isinstance(initializer, keras.initializers.Initializer):
                with seeded(initializer, seeds.next()) as twin:
                    value = twin(tuple(variable.shape), dtype=variable.dtype)
            else:
                value = initializer(tuple(variable.shape), dtype=variable.dtype)
            yield layer, variable, value
        elif again is not None:
            yield layer, variable, again.value
        else:
            reason = "its layer does not say how it was initialized"
            yield layer, variable, Skipped(variable.path, reason)


def _is_average(layer: KerasLayer, variable: Variable) -> bool:
    averages = isinstance(layer, keras.layers.BatchNormalization)
    return averages and variable.name.startswith("moving_")


def _variables_of_copy(layer: KerasLayer) -> dict[int, Any]:
    """Returns the variables of a copy of the layer, by the identity of the original."""
    try:
        other = copy_layer(layer)
        if not other.built:
            other.build_from_config(layer.get_build_config())
    # Layers of others may fail in any way when they are made again.
    except Exception:
        return {}
    pairs = list(zip(layer.weights, other.weights, strict=False))
    same = len(layer.weights) == len(other.weights) and all(
        tuple(old.shape) == tuple(new.shape) for old, new in pairs
    )
    return {id(old): new for old, new in pairs} if same else {}


def row_of_other(
    layer: KerasLayer, variable: Variable, value: Tensor, rule: str = AS_ITS_LAYER
) -> Row:
    """Returns the row of a variable that is no kernel.

    Args:
        layer: Its layer.
        variable: The variable.
        value: Its new value.
        rule: The name of the rule.
    """
    is_float = keras.backend.is_float_dtype(variable.dtype)
    std = std_of(value) if is_float else None
    return Row(variable.path, type(layer).__name__, None, None, rule, None, std)
