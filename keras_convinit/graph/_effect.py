"""What a call does to a signal, as far as initialisation is concerned."""

import dataclasses
import enum
import numbers
from typing import Any

import keras
import numpy as np

from keras_convinit._kinds import HOMOGENEOUS_LAYERS
from keras_convinit.activations import elementwise
from keras_convinit.graph._activation import LAYERS, OPERATIONS, canonical, fused
from keras_convinit.graph.composites import Cast, ScaledSum
from keras_convinit.graph.program import LayerCall, Program, TensorRef
from keras_convinit.layers import ScalarBias, ScalarMultiplier


class OpKind(enum.Enum):
    """What a call does."""

    SOURCE = "gives a signal out of something that is none"
    KERNEL = "multiplies by a kernel"
    ACTIVATION = "applies an activation"
    NORMALIZATION = "normalises"
    SUM = "adds signals"
    PRODUCT = "multiplies signals"
    JOIN = "puts signals side by side"
    PASS = "lets the signal pass"


@dataclasses.dataclass(frozen=True)
class Effect:
    """What a call does to a signal.

    Args:
        kind: What kind of effect it has.
        inputs: The numbers of the signals among its inputs, each once: what is not
            floating, such as a mask, is none.
        activation: The activation that it applies, fused or not; None for none.
        assumed: What was taken for granted about it, if anything.
        factor: What a signal is multiplied by that passes, without its sign; None where
            that is not one number.
    """

    kind: OpKind
    inputs: tuple[int, ...]
    activation: Any = None
    assumed: str | None = None
    factor: float | None = 1.0


_NORMALIZATIONS = tuple(
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
    """Whether a call is a product with a matrix of a layer that has been opened."""
    flat = keras.tree.flatten((call.arguments, call.keywords))
    matrices = [x for x in flat if isinstance(x, keras.Variable) and len(x.shape) > 1]
    return bool(matrices) and _name(call.layer) in _PRODUCTS


def effect_of(call: LayerCall, program: Program, has_kernels: bool) -> Effect:
    """What a call does to a signal.

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
        return Effect(OpKind.KERNEL, inputs, fused(layer))
    gives = any(
        keras.backend.is_float_dtype(program.dtypes[number]) for number in call.outputs
    )
    # What is no signal any more, such as a comparison, is no activation of one.
    if not inputs or not gives:
        return Effect(OpKind.SOURCE, ())
    if isinstance(layer, _NORMALIZATIONS):
        return Effect(OpKind.NORMALIZATION, inputs)
    if isinstance(layer, Cast):
        return Effect(OpKind.PASS, inputs[:1])
    if len(inputs) > 1:
        return _of_several(layer, inputs)
    if isinstance(layer, LAYERS) or _name(layer) in OPERATIONS:
        activation = canonical(layer)
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
    return _tried(call, inputs)


def is_addition(layer: Any) -> bool:
    """Whether a layer or operation adds up its inputs."""
    return isinstance(layer, keras.layers.Add | ScaledSum) or _name(layer) == "add"


def keeps_size(call: LayerCall, effect: Effect) -> bool:
    """Whether a signal that passes is known to keep its size, up to the factor.

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
    """The number that a call multiplies a signal by; None for more than one."""
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


def _name(layer: Any) -> str:
    is_layer = isinstance(layer, keras.layers.Layer)
    return "" if is_layer else type(layer).__name__.lower()


def _of_several(layer: Any, inputs: tuple[int, ...]) -> Effect:
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


def _tried(call: LayerCall, inputs: tuple[int, ...]) -> Effect:
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
        values = elementwise(function).value(np.array([-2.0, -1.0, 0.0, 1.0, 2.0]))
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

    def applied(x: Any) -> Any:
        arguments, keywords = keras.tree.map_structure(
            lambda a: x if isinstance(a, TensorRef) else a,
            (call.arguments, call.keywords),
        )
        return call.layer(*arguments, **keywords)

    applied.__name__ = type(call.layer).__name__
    return applied
