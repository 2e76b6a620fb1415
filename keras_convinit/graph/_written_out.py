"""Activations of one signal that are written as several operations."""

import numbers
from typing import Any

import keras
import numpy as np

from keras_convinit.activations import elementwise
from keras_convinit.graph._activation import key_of
from keras_convinit.graph._effect import Effect, OpKind
from keras_convinit.graph.program import LayerCall, Program, TensorRef

# Of several numbers at one place, by the names of the classes.
_POINTWISE = {
    "absolute",
    "add",
    "clip",
    "divide",
    "equal",
    "greater",
    "greaterequal",
    "less",
    "lessequal",
    "logicaland",
    "logicalnot",
    "logicalor",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "notequal",
    "sign",
    "subtract",
    "truedivide",
    "where",
}


class WrittenOut:
    """An elementwise function of one signal, in several calls.

    Args:
        calls: The calls, in order.
        signal: The number of the signal.
    """

    def __init__(self, calls: list[LayerCall], signal: int) -> None:
        self._calls = calls
        self._signal = signal
        self._result = calls[-1].outputs[0]
        self.__name__ = type(calls[-1].layer).__name__
        order = {signal: 0}
        for call in calls:
            order[call.outputs[0]] = len(order)
        # The same for the same function elsewhere.
        self.key = tuple(
            (
                key_of(call.layer),
                repr(
                    keras.tree.map_structure(
                        lambda x: (
                            TensorRef(order[x.id]) if isinstance(x, TensorRef) else x
                        ),
                        (call.arguments, call.keywords),
                    )
                ),
            )
            for call in calls
        )

    def __call__(self, x: Any) -> Any:
        """The function."""
        values = {self._signal: x}
        for call in self._calls:
            arguments, keywords = keras.tree.map_structure(
                lambda x: values[x.id] if isinstance(x, TensorRef) else x,
                (call.arguments, call.keywords),
            )
            values[call.outputs[0]] = call.layer.call(*arguments, **keywords)
        return values[self._result]


def with_written_out(program: Program, effects: list[Effect]) -> list[Effect]:
    """Has several calls that are one activation, such as `where(x > 0, x, 0)`, be that.

    Args:
        program: The program.
        effects: What each of its calls does by itself.

    Returns:
        The effects, changed where it is so.
    """
    effects = list(effects)
    producer = {n: c for c in program.calls for n in c.outputs}
    inputs = {
        x.id for x in keras.tree.flatten(program.inputs) if isinstance(x, TensorRef)
    }
    readers: dict[int, set[int]] = {}
    for call in program.calls:
        for number in call.inputs:
            readers.setdefault(number, set()).add(call.index)
    kept = {
        x.id for x in keras.tree.flatten(program.outputs) if isinstance(x, TensorRef)
    }
    for call in program.calls:
        effect = effects[call.index]
        several = effect.kind in (OpKind.JOIN, OpKind.PRODUCT, OpKind.SUM)
        if not (several and len(effect.inputs) > 1 and _is_pointwise(call, effects)):
            continue
        calls, signals = _behind(call, producer, effects)
        # Of an input of the model it is what the data are.
        if len(signals) != 1 or signals & inputs:
            continue
        (signal,) = signals
        function = WrittenOut(calls, signal)
        if program.shapes[signal] != program.shapes[call.outputs[0]] or not (
            _is_activation(function)
        ):
            continue
        effects[call.index] = Effect(OpKind.ACTIVATION, (signal,), function)
        inner = {each.index for each in calls}
        for each in calls[:-1]:
            given = each.outputs[0]
            if given not in kept and readers[given] <= inner:
                effects[each.index] = Effect(OpKind.SOURCE, ())
    return effects


def _behind(
    call: LayerCall, producer: dict[int, LayerCall], effects: list[Effect]
) -> tuple[list[LayerCall], set[int]]:
    """The calls that compute place by place what a call gives, and from what."""
    found: dict[int, LayerCall] = {}
    signals: set[int] = set()
    left = [call]
    while left:
        each = left.pop()
        found[each.index] = each
        for number in each.inputs:
            before = producer.get(number)
            if before is None or not _is_pointwise(before, effects):
                signals.add(number)
            elif before.index not in found:
                left.append(before)
    return [found[index] for index in sorted(found)], signals


def _is_pointwise(call: LayerCall, effects: list[Effect]) -> bool:
    layer = call.layer
    flat = keras.tree.flatten((call.arguments, call.keywords))
    if len(call.outputs) != 1 or not all(
        x is None or isinstance(x, TensorRef | numbers.Real | str) for x in flat
    ):
        return False
    if isinstance(layer, keras.layers.Layer):
        merges = keras.layers.Maximum, keras.layers.Minimum, keras.layers.Multiply
        applies = effects[call.index].kind is OpKind.ACTIVATION and not layer.variables
        return isinstance(layer, merges) or applies
    return (
        effects[call.index].kind is OpKind.ACTIVATION
        or type(layer).__name__.lower() in _POINTWISE
    )


def _is_activation(function: Any) -> bool:
    points = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    try:
        values = elementwise(function).value(points)
    except ValueError:
        return False
    bends = np.abs(np.diff(values, 2)).max() > 1e-5 * np.abs(values).max()
    return bool(np.isfinite(values).all() and bends)
