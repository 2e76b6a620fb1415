"""Opens custom layers by running their `call` on symbols."""

import contextlib
import inspect
import types
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_convinit._contents import get_attributes, iterate_contents
from keras_convinit._masks import attach_mask, get_mask
from keras_convinit._types import KerasLayer, Nest, Tensor, Variable
from keras_convinit.analysis._symbolic import (
    WATCHING,
    NotOnSymbolsError,
    Placeholder,
    graph_of_calls,
    with_symbols,
)
from keras_convinit.analysis.composites import (
    Apply,
    Cast,
    expand,
    find_expander,
    is_rewritten,
)
from keras_convinit.analysis.program import LayerCall, Program, TensorRef
from keras_convinit.kernels import kernels_of
from keras_convinit.layers import ScaledResidual


def is_custom_layer(layer: KerasLayer) -> bool:
    """Returns True if the class of a layer is not Keras', not ours, and not registered.

    A subclass of a layer whose kernels are known is known itself, but one of
    `ScaledResidual` with a `call` of its own is custom.

    Args:
        layer: A layer, a model or an operation.

    Example:
        >>> from keras_convinit.analysis import is_custom_layer
        >>> class Mine(keras.layers.Layer):
        ...     pass
        >>> is_custom_layer(Mine()), is_custom_layer(keras.layers.Dense(4))
        (True, False)
    """
    cls = type(layer)
    return (
        isinstance(layer, keras.layers.Layer)
        and not isinstance(layer, keras.Model)
        and (
            kernels_of.dispatch(cls) is kernels_of.dispatch(object)
            or (isinstance(layer, ScaledResidual) and is_rewritten(layer))
        )
        and find_expander(layer) is expand.dispatch(keras.layers.Layer)
        and getattr(keras.layers, cls.__name__, None) is not cls
        and cls.__module__.partition(".")[0] != "keras_convinit"
    )


def is_custom_composite(layer: KerasLayer) -> bool:
    """Returns True for a custom layer that is made of layers.

    Args:
        layer: A layer, a model or an operation.

    Example:
        >>> from keras_convinit.analysis import is_custom_composite
        >>> class Mine(keras.layers.Layer):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.dense = keras.layers.Dense(4)
        >>> is_custom_composite(Mine())
        True
    """
    return is_rewritten(layer) or (is_custom_layer(layer) and bool(_parts(layer)))


def takes_mask(layer: KerasLayer) -> bool:
    """Returns True if Keras passes masks to the `call` of a layer."""
    names = inspect.signature(layer.call).parameters
    return "mask" in names or any(f"{name}_mask" in names for name in names)


def makes_masks(layer: KerasLayer) -> bool:
    """Returns True if the outputs of a layer may have a mask of its own making."""
    if isinstance(layer, keras.layers.Embedding):
        return bool(layer.mask_zero)
    if not isinstance(layer, keras.layers.Layer):
        return False
    plain = type(layer).compute_mask is keras.layers.Layer.compute_mask
    return isinstance(layer, keras.layers.Masking) or (
        is_custom_layer(layer) and not plain
    )


@expand.register
def _(layer: keras.layers.Layer, apply: Apply, /, *args: Any, **kwargs: Any) -> Any:
    if not (is_custom_layer(layer) and _is_worth_opening(layer, args, kwargs)):
        return NotImplemented
    given = [x for x in keras.tree.flatten((args, kwargs)) if ops.is_tensor(x)]
    if takes_mask(layer) and any(get_mask(x) is not None for x in given):
        return NotImplemented
    training = kwargs.pop("training", None)

    def converted(x: Tensor) -> Any:
        if not _is_tensor(x) or not layer.autocast:
            return x
        if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype)):
            return x
        wanted = layer.input_dtype
        return x if x.dtype == wanted else apply(Cast(x.shape, wanted), x)

    try:
        program = program_of_call(layer, args, kwargs)
    except NotOnSymbolsError:
        return NotImplemented
    args, kwargs = keras.tree.map_structure(converted, (args, kwargs))
    tensors = [x for x in keras.tree.flatten((args, kwargs)) if _is_tensor(x)]
    outputs = program.run(
        tensors, lambda step, *a, **k: apply(step.layer, *a, **k), training
    )
    if not layer.supports_masking:
        return outputs
    first = args[0] if args else next(iter(kwargs.values()))
    return keras.tree.map_structure(
        lambda x: (
            apply(MaskedBy(layer, x.shape, x.dtype), x, first) if _is_tensor(x) else x
        ),
        outputs,
    )


class MaskedBy(Cast):
    """Gives what comes out of a layer the mask that the layer would give it.

    Args:
        layer: The layer.
        shape: The shape of what comes out.
        dtype: Its dtype.
    """

    def __init__(self, layer: KerasLayer, shape: Any, dtype: Any) -> None:
        super().__init__(shape, keras.backend.standardize_dtype(dtype))
        self.layer = layer

    def call(self, x: Tensor, inputs: Nest = None) -> Any:
        """Returns the tensor with the mask that the layer computes."""
        before = keras.tree.map_structure(get_mask, inputs)
        if get_mask(x) is not None or keras.tree.flatten(before).count(None):
            return x
        masks = keras.tree.flatten(self.layer.compute_mask(inputs, before))
        return attach_mask(x, masks[0]) if len(masks) == 1 else x

    def compute_output_spec(self, x: Tensor, inputs: Nest = None) -> Any:
        """Returns the spec of the tensor."""
        return super().compute_output_spec(x)


def explain_whole(layer: KerasLayer, args: Any, kwargs: Any) -> str | None:
    """Returns why a custom layer was not opened, None if it has no parts.

    Args:
        layer: The layer.
        args: The arguments of its call, with symbols for tensors.
        kwargs: Those by keyword.
    """
    if not is_custom_composite(layer):
        return None
    try:
        program_of_call(layer, args, {**kwargs, "training": None})
    except NotOnSymbolsError as error:
        lines = str(error.__cause__ or error).strip().splitlines()
        return lines[0] if lines else type(error.__cause__).__name__
    return "a mask may come in"


def _is_worth_opening(layer: KerasLayer, args: Any, kwargs: Any) -> bool:
    if _parts(layer):
        return True
    # What does something to one signal, and has no parts, is one thing for its
    # neighbors; of several signals it may be a sum.
    signals = [x for x in keras.tree.flatten((args, kwargs)) if _is_tensor(x)]
    return len(signals) > 1 and not layer.variables


def _parts(layer: KerasLayer) -> list[Any]:
    return [
        part
        for part in iterate_contents(layer)
        if isinstance(part, keras.layers.Layer) and part is not layer
    ]


def _is_tensor(x: Tensor) -> bool:
    return isinstance(x, keras.KerasTensor) or ops.is_tensor(x)


def program_of_call(layer: KerasLayer, args: Any, kwargs: Any) -> Program:
    """Records the call of a custom layer, if its outputs are all that it has.

    Its `call` runs on symbols, once as in inference and once as in training.

    Args:
        layer: A built layer.
        args: The arguments, with tensors or symbols.
        kwargs: Those by keyword; `training` is passed over.

    Returns:
        A program whose inputs are the tensors among the arguments.

    Raises:
        NotOnSymbolsError: It does what cannot be done to symbols, or more than its
            outputs show: it adds losses, changes variables or itself, draws random
            numbers, or does something else in training than its parts.
    """
    # Another thread may be watching this layer: it then has another class.
    with WATCHING:
        return _program(layer, args, kwargs)


def _program(layer: KerasLayer, args: Any, kwargs: Any) -> Program:
    if type(layer).__call__ is not keras.layers.Layer.__call__:
        raise NotOnSymbolsError("it has a `__call__` of its own")
    if layer.activity_regularizer is not None:
        raise NotOnSymbolsError("it has an activity regularizer")
    parameters = inspect.signature(layer.call).parameters
    kwargs = {name: x for name, x in kwargs.items() if name != "training"}
    told = [False, True] if "training" in parameters else [None, None]
    if "training" in parameters and parameters["training"].default is True:
        raise NotOnSymbolsError("it is told to train unless it is told otherwise")
    inference, train = (
        _told(layer, args, kwargs if each is None else {**kwargs, "training": each})
        for each in told
    )
    if not _same(inference, train):
        raise NotOnSymbolsError("it does something else in training, or at random")
    return Program(
        tuple(
            _with_training(*pair)
            for pair in zip(inference.calls, train.calls, strict=True)
        ),
        inference.inputs,
        inference.outputs,
        inference.shapes,
        inference.dtypes,
    )


def _told(layer: KerasLayer, args: Any, kwargs: Any) -> Program:
    with _nothing_else(layer):
        graph, _, outputs = graph_of_calls(layer, *_symbols((args, kwargs)))
    try:
        return _recorded(graph, outputs)
    except NotOnSymbolsError:
        raise
    # What can be called on symbols once may still refuse to be called again.
    except Exception as error:
        raise NotOnSymbolsError(layer) from error


def _symbols(arguments: Any) -> Any:
    return keras.tree.map_structure(
        lambda x: (
            keras.KerasTensor(x.shape, keras.backend.standardize_dtype(x.dtype))
            if _is_tensor(x)
            else x
        ),
        arguments,
    )


class _NoValues(keras.StatelessScope):
    """A scope in which no variable has a value: it would stay what it was."""

    def get_current_value(self, variable: Variable) -> Any:
        if variable.name == "seed_generator_state":
            raise NotOnSymbolsError("it draws random numbers itself")
        raise NotOnSymbolsError(
            f"it computes with the value of {variable.path} outside of `keras.ops`"
        )


@contextlib.contextmanager
def _nothing_else(layer: KerasLayer) -> Iterator[None]:
    """Refuses what a call does apart from giving its outputs."""
    before = get_attributes(layer)
    scope = _NoValues(collect_losses=True, initialize_variables=False)
    try:
        with scope:
            yield
    finally:
        after = get_attributes(layer)
        changed = [k for k in after if after[k] is not before.get(k, after)]
        for name in changed:
            if name in before:
                object.__setattr__(layer, name, before[name])
            else:
                object.__delattr__(layer, name)
    if changed:
        raise NotOnSymbolsError(f"it changes its attribute {changed[0]}")
    if scope.losses:
        raise NotOnSymbolsError("it adds losses")
    if scope.state_mapping:
        raise NotOnSymbolsError("it changes variables")


def _recorded(graph: Any, outputs: Nest) -> Program:
    """Records the calls of a functional model of placeholders and operations."""
    numbers: dict[int, int] = {}
    symbols: list[Any] = []
    calls: list[LayerCall] = []

    def new(symbol: Any) -> TensorRef:
        numbers[id(symbol)] = len(symbols)
        symbols.append(symbol)
        return TensorRef(len(symbols) - 1)

    def value(x: Tensor) -> Any:
        return TensorRef(numbers[id(x)]) if isinstance(x, keras.KerasTensor) else x

    def record(operation: Any, /, *args: Any, **kwargs: Any) -> Any:
        given = operation(*args, **kwargs)
        arguments, keywords = keras.tree.map_structure(value, (args, kwargs))
        flat = keras.tree.flatten((arguments, keywords))
        if any(isinstance(x, types.FunctionType | types.MethodType) for x in flat):
            raise NotOnSymbolsError(f"it gives {operation.name} a function")
        layer = operation.layer if isinstance(operation, Placeholder) else operation
        calls.append(
            LayerCall(
                len(calls),
                layer,
                layer.name,
                arguments,
                keywords,
                tuple(x.id for x in flat if isinstance(x, TensorRef)),
                tuple(new(symbol).id for symbol in keras.tree.flatten(given)),
            )
        )
        return given

    inputs = [
        keras.Input(batch_shape=x.shape, dtype=x.dtype, name=f"input_{i}")
        for i, x in enumerate(graph.inputs)
    ]
    values = [new(symbol) for symbol in inputs]
    cloned = keras.models.clone_model(
        graph,
        input_tensors=inputs,
        clone_function=lambda layer: layer,
        call_function=record,
    )
    structure = keras.tree.map_structure(value, with_symbols(outputs, cloned.outputs))
    return Program(
        tuple(calls),
        values,
        structure,
        tuple(tuple(symbol.shape) for symbol in symbols),
        tuple(keras.backend.standardize_dtype(symbol.dtype) for symbol in symbols),
    )


def _same(first: Program, second: Program) -> bool:
    """Returns True if two programs are equal up to their `training` arguments."""
    if len(first.calls) != len(second.calls):
        return False
    for one, other in zip(first.calls, second.calls, strict=True):
        if not _alike(one.layer, other.layer):
            return False
        if not _equal(one.arguments, other.arguments):
            return False
        if not _equal(_without_training(one), _without_training(other)):
            return False
    return _equal(first.outputs, second.outputs)


def _alike(first: Any, second: Any) -> bool:
    if first is second:
        return True
    if isinstance(first, keras.layers.Layer) or type(first) is not type(second):
        return False
    return _settings(first) == _settings(second)


def _settings(operation: Any) -> list[Any]:
    return sorted(
        (name, repr(value))
        for name, value in vars(operation).items()
        if not name.startswith("_") and name != "name"
    )


def _without_training(call: LayerCall) -> dict[str, Any]:
    return {name: x for name, x in call.keywords.items() if name != "training"}


def _equal(first: Any, second: Any) -> bool:
    try:
        keras.tree.assert_same_structure(first, second)
    except (TypeError, ValueError):
        return False
    pairs = zip(keras.tree.flatten(first), keras.tree.flatten(second), strict=True)
    return all(_same_leaf(*pair) for pair in pairs)


def _same_leaf(first: Any, second: Any) -> bool:
    if first is second:
        return True
    if isinstance(first, keras.Variable) or type(first) is not type(second):
        return False
    if ops.is_tensor(first) or isinstance(first, np.ndarray):
        first, second = ops.convert_to_numpy(first), ops.convert_to_numpy(second)
        return np.array_equal(first, second)
    return bool(first == second)


def _with_training(inference: LayerCall, training: LayerCall) -> LayerCall:
    """Returns the call with `training` as the layer has it, unless that is fixed."""
    keywords = _without_training(inference)
    told = inference.keywords.get("training"), training.keywords.get("training")
    fixed = told[0] is not None and told[0] == told[1]
    if fixed:
        keywords["training"] = told[0]
    return LayerCall(
        inference.index,
        inference.layer,
        inference.path,
        inference.arguments,
        keywords,
        inference.inputs,
        inference.outputs,
        fixed,
    )
