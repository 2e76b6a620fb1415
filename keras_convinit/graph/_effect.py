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
from keras_convinit.graph.program import Call, Trace, Value
from keras_convinit.layers import ScalarBias, ScalarMultiplier


class Kind(enum.Enum):
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
    """

    kind: Kind
    inputs: tuple[int, ...]
    activation: Any = None
    assumed: str | None = None


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


def multiplies_by_variable(call: Call) -> bool:
    """Whether a call is a product with a matrix of a layer that has been opened."""
    flat = keras.tree.flatten((call.arguments, call.keywords))
    matrices = [x for x in flat if isinstance(x, keras.Variable) and len(x.shape) > 1]
    return bool(matrices) and _name(call.layer) in _PRODUCTS


def effect_of(call: Call, program: Trace, has_kernels: bool) -> Effect:
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
        return Effect(Kind.KERNEL, inputs, fused(layer))
    if not inputs:
        return Effect(Kind.SOURCE, inputs)
    if isinstance(layer, _NORMALIZATIONS):
        return Effect(Kind.NORMALIZATION, inputs)
    if isinstance(layer, Cast):
        return Effect(Kind.PASS, inputs[:1])
    if len(inputs) > 1:
        return _of_several(layer, inputs)
    if isinstance(layer, LAYERS) or _name(layer) in OPERATIONS:
        activation = canonical(layer)
        return Effect(
            Kind.PASS if activation is None else Kind.ACTIVATION, inputs, activation
        )
    same_shape = program.shapes[inputs[0]] == program.shapes[call.outputs[0]]
    passes = isinstance(layer, _PASSING) or _name(layer) in _PASSING_OPERATIONS
    # With something that is no signal; with itself it would be a square.
    scales = _name(layer) in ("add", "subtract", "multiply") and len(call.inputs) == 1
    if passes or scales or not same_shape:
        return Effect(Kind.PASS, inputs)
    return _tried(call, inputs)


def is_addition(layer: Any) -> bool:
    """Whether a layer or operation adds up its inputs."""
    return isinstance(layer, keras.layers.Add | ScaledSum) or _name(layer) == "add"


def constant_factor(call: Call) -> float:
    """The number that a call multiplies a signal by, if that is what it does."""
    if isinstance(call.layer, keras.layers.Rescaling):
        scale = call.layer.scale
        return float(scale) if isinstance(scale, numbers.Real) else 1.0
    if _name(call.layer) != "multiply":
        return 1.0
    constants = [x for x in call.arguments if isinstance(x, numbers.Real)]
    return float(constants[0]) if constants else 1.0


def _name(layer: Any) -> str:
    is_layer = isinstance(layer, keras.layers.Layer)
    return "" if is_layer else type(layer).__name__.lower()


def _of_several(layer: Any, inputs: tuple[int, ...]) -> Effect:
    subtracts = isinstance(layer, keras.layers.Subtract) or _name(layer) == "subtract"
    if is_addition(layer) or subtracts:
        return Effect(Kind.SUM, inputs)
    if isinstance(layer, keras.layers.Multiply) or _name(layer) == "multiply":
        return Effect(Kind.PRODUCT, inputs)
    if isinstance(layer, _JOINING) or not isinstance(layer, keras.layers.Layer):
        return Effect(Kind.JOIN, inputs)
    reason = "takes several signals, and is taken to put them side by side"
    return Effect(Kind.JOIN, inputs, None, f"{type(layer).__name__} {reason}")


def _tried(call: Call, inputs: tuple[int, ...]) -> Effect:
    """Finds out whether an unknown function of one signal is an activation."""
    layer = call.layer
    name = type(layer).__name__
    if isinstance(layer, keras.layers.Layer) and layer.variables:
        return Effect(
            Kind.PASS, inputs, None, f"{name} has no kernel, and is taken to be linear"
        )
    function = _of_one_argument(call)
    try:
        values = elementwise(function).value(np.array([-2.0, -1.0, 0.0, 1.0, 2.0]))
    except Exception:
        return Effect(
            Kind.PASS,
            inputs,
            None,
            f"{name} is not elementwise, and is taken to be linear",
        )
    if np.allclose(np.diff(values, 2), 0, atol=1e-5 * np.abs(values).max()):
        return Effect(Kind.PASS, inputs)
    return Effect(Kind.ACTIVATION, inputs, function)


def _of_one_argument(call: Call) -> Any:
    others = keras.tree.flatten((call.arguments, call.keywords))
    if len(others) == 1:
        return call.layer

    def applied(x: Any) -> Any:
        arguments, keywords = keras.tree.map_structure(
            lambda a: x if isinstance(a, Value) else a, (call.arguments, call.keywords)
        )
        return call.layer(*arguments, **keywords)

    applied.__name__ = type(call.layer).__name__
    return applied
