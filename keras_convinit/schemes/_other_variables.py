"""Variables that are no kernels, back to what their layers give them."""

from collections.abc import Iterator
from typing import Any

import keras

from keras_convinit._contents import iterate_contents
from keras_convinit._copies import copy_layer
from keras_convinit.graph._own_layers import is_own
from keras_convinit.layers import ScaledResidual, stacked_variables_of
from keras_convinit.schemes._kept import NOT_TRAINED, reason_of_layer
from keras_convinit.schemes._kernel_values import seeded
from keras_convinit.schemes._scheme import Seeds
from keras_convinit.schemes.report import LeftAlone


def leaves(layer: Any) -> Iterator[Any]:
    """The layers that a model is made of, each once for each place that it has."""
    if isinstance(layer, keras.Model):
        for part in layer.layers:
            yield from leaves(part)
    elif isinstance(layer, ScaledResidual):
        for part in (layer.branch, layer.shortcut):
            if part is not None:
                yield from leaves(part)
    else:
        if is_own(layer):
            for part in iterate_contents(layer):
                if isinstance(part, keras.layers.Layer) and part is not layer:
                    yield from leaves(part)
        yield layer


def reset_values(
    model: Any, kernels: set[int], seeds: Seeds
) -> Iterator[tuple[Any, Any, Any]]:
    """The values that a new layer would have, for all that is no kernel.

    Args:
        model: A built model.
        kernels: Identities of the variables that are kernels, or go with one.
        seeds: For what is random, such as an embedding.

    Yields:
        Layer, variable and value, or a `LeftAlone` in place of the value.
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
                yield layer, variable, LeftAlone(variable.path, reason)
        elif stacked := stacked_variables_of(layer):
            fresh = zip(stacked, layer.draw_initial_values(), strict=True)
            starts = {
                id(pair.variable): (pair.template, value) for pair, value in fresh
            }
            for variable in others:
                template, value = starts[id(variable)]
                frozen = template.trainable and not variable.trainable
                alone = LeftAlone(variable.path, NOT_TRAINED)
                yield layer, variable, alone if frozen else value
        else:
            yield from _of_layer(layer, others, seeds)
    for variable in model.weights:
        if id(variable) not in done:
            reason = "a variable of the model's own, with no layer to say what it is"
            yield model, variable, LeftAlone(variable.path, reason)


def _reason_to_keep(layer: Any) -> str | None:
    reason = reason_of_layer(layer)
    if reason is None and callable(getattr(layer, "adapt", None)):
        return "adapted to data"
    return reason


def _of_layer(
    layer: Any, variables: list[Any], seeds: Seeds
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
    fresh = {} if named and clear else _made_again(layer)
    for variable in variables:
        again = fresh.get(id(variable))
        by_nature = again is not None and not again.trainable
        if not (variable.trainable or by_nature or _is_average(layer, variable)):
            yield layer, variable, LeftAlone(variable.path, NOT_TRAINED)
        elif named:
            initializer = by_name[id(variable)]
            if isinstance(initializer, keras.initializers.Initializer):
                initializer = seeded(initializer, seeds.next())
            value = initializer(tuple(variable.shape), dtype=variable.dtype)
            yield layer, variable, value
        elif again is not None:
            yield layer, variable, again.value
        else:
            reason = "its layer does not say how it was initialized"
            yield layer, variable, LeftAlone(variable.path, reason)


def _is_average(layer: Any, variable: Any) -> bool:
    averages = isinstance(layer, keras.layers.BatchNormalization)
    return averages and variable.name.startswith("moving_")


def _made_again(layer: Any) -> dict[int, Any]:
    """The variables of a copy of the layer, by those of the layer; none without one."""
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
