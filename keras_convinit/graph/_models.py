"""The calls that a model makes, of whatever kind it is."""

import functools
from typing import Any

import keras

from keras_convinit._data import in_order, names_of
from keras_convinit._kinds import is_functional, is_sequential
from keras_convinit.graph._place import Place
from keras_convinit.graph._subclassed import graph_of_calls, with_symbols
from keras_convinit.graph.composites import Cast, with_mask


def calls_of_model(
    recorder: Any, place: Place, model: Any, /, *args: Any, **kwargs: Any
) -> Any:
    """Writes down all calls that a model makes.

    Args:
        recorder: The `Recorder` that writes.
        place: Where the model is called.
        model: The model.
        *args: Its arguments, with symbols for tensors.
        **kwargs: Those by keyword.

    Returns:
        Symbols for what it gives.

    Raises:
        NotOnSymbolsError: It does what cannot be seen.
    """
    if is_sequential(model):
        return _sequential(recorder, place.inside(False), model, *args, **kwargs)
    if is_functional(model):
        return _functional(recorder, place.inside(False), model, *args, **kwargs)
    graph, symbols, outputs = graph_of_calls(model, args, kwargs)
    found = _inlined(recorder, place.inside(True), graph, symbols)
    return with_symbols(outputs, found)


def _sequential(
    recorder: Any, inside: Place, model: Any, /, inputs: Any, mask: Any = None, **_: Any
) -> Any:
    inputs = _with_mask(recorder, inside, inputs, mask)
    names = names_of(model)
    if names is not None:
        inputs = in_order("inputs", inputs, names)
        inputs = _cast(recorder, inside, inputs, model.inputs[0])
    for layer in model.layers:
        inputs = recorder.apply(inside, layer, inputs)
    return inputs


def _functional(
    recorder: Any, inside: Place, model: Any, /, inputs: Any, mask: Any = None, **_: Any
) -> Any:
    graph = keras.Model(model.inputs, model.outputs, name=model.name)
    names = names_of(model)
    given = keras.tree.flatten(in_order("inputs", inputs, names))
    if mask is not None:
        masks = keras.tree.flatten(in_order("mask", mask, names))
        pairs = zip(given, masks, strict=True)
        given = [_with_mask(recorder, inside, *pair) for pair in pairs]
    symbols = [
        _cast(recorder, inside, symbol, wanted)
        for symbol, wanted in zip(given, model.inputs, strict=True)
    ]
    flat = _inlined(recorder, inside, graph, symbols)
    outputs = keras.tree.pack_sequence_as(model.output, flat)
    # As Keras does.
    is_single = isinstance(outputs, list | tuple) and len(outputs) == 1
    return outputs[0] if is_single else outputs


def _inlined(recorder: Any, inside: Place, graph: Any, symbols: list[Any]) -> Any:
    inputs = [
        keras.Input(batch_shape=x.shape, dtype=x.dtype, name=f"input_{i}")
        for i, x in enumerate(symbols)
    ]
    for fresh, symbol in zip(inputs, symbols, strict=True):
        recorder.same(fresh, symbol)
    return keras.models.clone_model(
        graph,
        input_tensors=inputs,
        clone_function=lambda layer: layer,
        call_function=functools.partial(recorder.apply, inside),
    ).outputs


def _with_mask(recorder: Any, inside: Place, symbol: Any, mask: Any) -> Any:
    return with_mask(functools.partial(recorder.apply, inside), symbol, mask)


def _cast(recorder: Any, inside: Place, symbol: Any, wanted: Any) -> Any:
    if symbol.dtype == wanted.dtype and len(symbol.shape) == len(wanted.shape):
        return symbol
    return recorder.apply(inside, Cast(wanted.shape, wanted.dtype), symbol)
