"""Classifies what each call of a program does to a signal."""

import collections
import dataclasses
import enum
import numbers
from typing import Any

import keras
import numpy as np

from keras_convinit._kinds import HOMOGENEOUS_LAYERS
from keras_convinit._types import KerasLayer, Tensor
from keras_convinit.activations import resolve_activation
from keras_convinit.analysis._activation import (
    canonicalize,
    get_fused,
    get_key,
    is_activation,
)
from keras_convinit.analysis.composites import Cast, ScaledSum
from keras_convinit.analysis.program import LayerCall, Program, TensorRef
from keras_convinit.layers import ScalarBias, ScalarMultiplier


class OpKind(enum.Enum):
    """What a call does."""

    SOURCE = "gives a signal out of something that is none"
    KERNEL = "multiplies by a kernel"
    ACTIVATION = "applies an activation"
    NORMALIZATION = "normalizes"
    SUM = "adds signals"
    PRODUCT = "multiplies signals"
    JOIN = "puts signals side by side"
    PASS = "lets the signal pass"


@dataclasses.dataclass(frozen=True)
class Effect:
    """Classifies what a call does to a signal.

    Args:
        kind: What kind of effect it has.
        inputs: The numbers of the signals among its inputs, each once: what is not
            floating, such as a mask, is none.
        activation: The activation that it applies, get_fused or not; None for none.
        assumed: What was taken for granted about it, if anything.
        factor: What a signal is multiplied by that passes, without its sign; None where
            that is not one number.
    """

    kind: OpKind
    inputs: tuple[int, ...]
    activation: Any = None
    assumed: str | None = None
    factor: float | None = 1.0


NORMALIZATIONS = tuple(
    getattr(keras.layers, name)
    for name in (
        "BatchNormalization",
        "GroupNormalization",
        "LayerNormalization",
        "RMSNormalization",
        "UnitNormalization",
    )
    if hasattr(keras.layers, name)
)
_PASSING = (
    *HOMOGENEOUS_LAYERS,
    Cast,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Normalization,
    keras.layers.Rescaling,
    ScalarBias,
    ScalarMultiplier,
)
_JOINING = (
    keras.layers.AdditiveAttention,
    keras.layers.Attention,
    keras.layers.Average,
    keras.layers.Concatenate,
    keras.layers.Dot,
    keras.layers.Maximum,
    keras.layers.Minimum,
)
# Operations of a graph, by the names of their classes.
_PASSING_OPERATIONS = {
    "cast",
    "copy",
    "flip",
    "getitem",
    "moveaxis",
    "pad",
    "reshape",
    "roll",
    "rot90",
    "stopgradient",
    "swapaxes",
    "transpose",
}


_PRODUCTS = {"conv", "dot", "einsum", "inner", "matmul", "tensordot"}


def multiplies_by_variable(call: LayerCall) -> bool:
    """Returns True for a product with a matrix of a layer that has been opened."""
    flat = keras.tree.flatten((call.arguments, call.keywords))
    matrices = [x for x in flat if isinstance(x, keras.Variable) and len(x.shape) > 1]
    return bool(matrices) and _name(call.layer) in _PRODUCTS


def classify_call(call: LayerCall, program: Program, has_kernels: bool) -> Effect:
    """Classifies what a call does to a signal.

    Args:
        call: The call.
        program: The program that it belongs to.
        has_kernels: Whether its layer has kernels.

    Returns:
        The effect.
    """
    inputs = tuple(
        number
        for number in dict.fromkeys(call.inputs)
        if keras.backend.is_float_dtype(program.dtypes[number])
    )
    layer = call.layer
    if has_kernels:
        return Effect(OpKind.KERNEL, inputs, get_fused(layer))
    gives = any(
        keras.backend.is_float_dtype(program.dtypes[number]) for number in call.outputs
    )
    # What is no signal any more, such as a comparison, is no activation of one.
    if not inputs or not gives:
        return Effect(OpKind.SOURCE, ())
    if isinstance(layer, NORMALIZATIONS):
        return Effect(OpKind.NORMALIZATION, inputs)
    if isinstance(layer, Cast):
        return Effect(OpKind.PASS, inputs[:1])
    if len(inputs) > 1:
        return _of_several(layer, inputs)
    if is_activation(layer):
        activation = canonicalize(layer)
        return Effect(
            OpKind.PASS if activation is None else OpKind.ACTIVATION, inputs, activation
        )
    same_shape = program.shapes[inputs[0]] == program.shapes[call.outputs[0]]
    passes = isinstance(layer, _PASSING) or _name(layer) in _PASSING_OPERATIONS
    # With something that is no signal; with itself it would be a square.
    alone = len(call.inputs) == 1
    shifts = _name(layer) in ("add", "subtract") and alone
    scales = _name(layer) == "multiply" and alone
    if scales or isinstance(layer, keras.layers.Rescaling):
        return Effect(OpKind.PASS, inputs, factor=_constant_factor(call))
    if passes or shifts or not same_shape:
        return Effect(OpKind.PASS, inputs)
    return _try_function(call, inputs)


def is_addition(layer: KerasLayer) -> bool:
    """Returns True if a layer or operation adds up its inputs.

    Args:
        layer: A layer or operation.

    Example:
        >>> from keras_convinit.analysis import is_addition
        >>> is_addition(keras.layers.Add())
        True
    """
    return isinstance(layer, keras.layers.Add | ScaledSum) or _name(layer) == "add"


def keeps_size(call: LayerCall, effect: Effect) -> bool:
    """Returns True if a signal that passes keeps its size, up to the factor.

    Pooling counts among it, as it does in the papers.
    """
    if effect.kind is OpKind.JOIN:
        layer = call.layer
        return isinstance(layer, keras.layers.Concatenate) or _name(layer) in _SIDES
    known = isinstance(call.layer, _PASSING) or _name(call.layer) in _PASSING_OPERATIONS
    pools = type(call.layer).__name__.partition("Pool")[1] == "Pool"
    return known or pools or effect.factor != 1 or _name(call.layer) in _SHIFTING


_SIDES = {"append", "concatenate", "hstack", "stack", "vstack"}
_SHIFTING = {"add", "subtract", "negative"}


def _constant_factor(call: LayerCall) -> float | None:
    """Returns the factor of a call, None for more than one number."""
    if isinstance(call.layer, keras.layers.Rescaling):
        factors = [call.layer.scale]
    else:
        flat = keras.tree.flatten((call.arguments, call.keywords))
        factors = [x for x in flat if not isinstance(x, TensorRef)]
    (factor,) = factors
    if isinstance(factor, keras.Variable):
        return None
    if not isinstance(factor, numbers.Real):
        # Of a graph, constants may be arrays or tensors.
        factor = np.asarray(keras.ops.convert_to_numpy(factor))
        if factor.size != 1:
            return None
        factor = factor.item()
    return abs(float(factor)) or 1.0


def _name(layer: KerasLayer) -> str:
    is_layer = isinstance(layer, keras.layers.Layer)
    return "" if is_layer else type(layer).__name__.lower()


def _of_several(layer: KerasLayer, inputs: tuple[int, ...]) -> Effect:
    subtracts = isinstance(layer, keras.layers.Subtract) or _name(layer) == "subtract"
    if is_addition(layer) or subtracts:
        return Effect(OpKind.SUM, inputs)
    if isinstance(layer, keras.layers.Multiply) or _name(layer) == "multiply":
        return Effect(OpKind.PRODUCT, inputs)
    if isinstance(layer, _JOINING) or _name(layer) in (
        *_SIDES,
        *_PRODUCTS,
        "maximum",
        "minimum",
    ):
        return Effect(OpKind.JOIN, inputs)
    reason = "takes several signals, and is taken to put them side by side"
    return Effect(OpKind.JOIN, inputs, None, f"{type(layer).__name__} {reason}")


def _try_function(call: LayerCall, inputs: tuple[int, ...]) -> Effect:
    """Finds out whether an unknown function of one signal is an activation."""
    layer = call.layer
    name = type(layer).__name__
    if isinstance(layer, keras.layers.Layer) and layer.variables:
        return Effect(
            OpKind.PASS,
            inputs,
            None,
            f"{name} has no kernel, and is taken to be linear",
        )
    function = _of_one_argument(call)
    try:
        values = resolve_activation(function).value(
            np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
        )
    except Exception:
        return Effect(
            OpKind.PASS,
            inputs,
            None,
            f"{name} is not elementwise, and is taken to be linear",
        )
    if np.allclose(np.diff(values, 2), 0, atol=1e-5 * np.abs(values).max()):
        slope = abs(float(values[-1] - values[0])) / 4
        # To the digits that there are in float32.
        return Effect(OpKind.PASS, inputs, factor=float(f"{slope:.6g}") or 1.0)
    return Effect(OpKind.ACTIVATION, inputs, function)


def _of_one_argument(call: LayerCall) -> Any:
    others = keras.tree.flatten((call.arguments, call.keywords))
    if len(others) == 1:
        return call.layer

    def applied(x: Tensor) -> Any:
        arguments, keywords = keras.tree.map_structure(
            lambda a: x if isinstance(a, TensorRef) else a,
            (call.arguments, call.keywords),
        )
        return call.layer(*arguments, **keywords)

    applied.__name__ = type(call.layer).__name__
    return applied


def mark_self_gates(program: Program, effects: list[Effect]) -> list[Effect]:
    """Has x * sigmoid(x), in two calls, be the one activation that it is.

    Args:
        program: The program.
        effects: What each of its calls does by itself.

    Returns:
        The effects, changed where it is so.
    """
    effects = list(effects)
    producer = {n: c.index for c in program.calls for n in c.outputs}
    uses = collections.Counter(n for effect in effects for n in effect.inputs)
    for index, effect in enumerate(effects):
        if effect.kind is not OpKind.PRODUCT or len(effect.inputs) != 2:
            continue
        for signal, gate in (effect.inputs, effect.inputs[::-1]):
            inner = producer.get(gate)
            if (
                inner is not None
                and effects[inner].kind is OpKind.ACTIVATION
                and effects[inner].activation is keras.activations.sigmoid
                and effects[inner].inputs == (signal,)
                and uses[gate] == 1
            ):
                activation = keras.activations.silu
                effects[index] = Effect(OpKind.ACTIVATION, (signal,), activation)
                effects[inner] = Effect(OpKind.SOURCE, ())
    return effects


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
                get_key(call.layer),
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

    def __call__(self, x: Tensor) -> Any:
        """Applies the function."""
        values = {self._signal: x}
        for call in self._calls:
            arguments, keywords = keras.tree.map_structure(
                lambda x: values[x.id] if isinstance(x, TensorRef) else x,
                (call.arguments, call.keywords),
            )
            values[call.outputs[0]] = call.layer.call(*arguments, **keywords)
        return values[self._result]


def join_written_out(program: Program, effects: list[Effect]) -> list[Effect]:
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
    """Returns the elementwise calls that a value comes from, and their input."""
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
        values = resolve_activation(function).value(points)
    except ValueError:
        return False
    bends = np.abs(np.diff(values, 2)).max() > 1e-5 * np.abs(values).max()
    return bool(np.isfinite(values).all() and bends)
