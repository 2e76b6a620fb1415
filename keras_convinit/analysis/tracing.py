"""Reads a model as a program of calls."""

import collections
import dataclasses
import functools
import re
from collections.abc import Callable
from typing import Any

import keras

from keras_convinit._data import get_input_names, map_leaves, order_inputs, read_inputs
from keras_convinit._kinds import calls_as, is_functional, is_sequential
from keras_convinit._types import DataLike, KerasLayer, KerasModel, Nest, Tensor
from keras_convinit.analysis._expansion import make_executable
from keras_convinit.analysis._own_layers import is_custom_layer, makes_masks, takes_mask
from keras_convinit.analysis._symbolic import (
    NotOnSymbolsError,
    Placeholder,
    graph_of_calls,
    output_specs,
    with_symbols,
)
from keras_convinit.analysis.composites import (
    Cast,
    apply_block,
    enter_stack,
    find_expander,
    with_mask,
)
from keras_convinit.analysis.program import (
    LayerCall,
    OpenedCall,
    Program,
    TensorRef,
    takes_training,
)


def trace(
    model: KerasModel, data: DataLike = None, *, open_composites: bool = False
) -> Program:
    """Reads a model as a program: which layer is applied to what, in which order.

    Models inside it are written out to the last layer. Wrappers such as
    `TimeDistributed` stay whole. The model is left as it is: no layer is called on
    symbols, which would leave nodes on it.

    A model whose class has a `call` of its own is read by running that once on
    symbols, with `training` at its default. What it does must be done by layers and
    `keras.ops`.

    Args:
        model: A built model.
        data: For a model that is not Functional or Sequential, or not built: what it
            takes, such as an array of a few samples. Of these a model that is not
            built is built; otherwise only shapes and dtypes are read.
        open_composites: Whether layers of ours that are made of layers, and those that
            are registered with `expand`, are opened up as well. A stack is written
            out in blocks with copies of its weights: its values are right, but these
            are not its variables.

    Returns:
        The program. `trace(model).run(x)` equals `model(x)`.

    Raises:
        ValueError: `model` is not a model, is not built, or does in its own `call`
            what cannot be seen.

    Example:
        >>> from keras_convinit.analysis import trace
        >>> dense = keras.layers.Dense(2, name="dense")
        >>> model = keras.Sequential([keras.Input((4,)), dense])
        >>> [call.path for call in trace(model).calls]
        ['dense']
    """
    recorder = Recorder(open_composites, stacks_once=False)
    return make_executable(_recorded(recorder, model, data))


def trace_opened(
    model: KerasModel, data: DataLike = None, training: bool | None = None
) -> Program:
    """Reads a model with all composite layers opened, a stack as one block.

    Its template is called once, and `opened` says for how many blocks. To run such a
    program, rewrite it with `make_executable`.

    Args:
        model: A built model.
        data: As of `trace`.
        training: What the `call` of a model of the user's own is told, if anything.

    Returns:
        The program.

    Raises:
        ValueError: As of `trace`.

    Example:
        >>> from keras_convinit.analysis import trace_opened
        >>> branch = keras.layers.Dense(4, name="dense")
        >>> stack = keras_convinit.layers.ScaledResidualStack(branch, 9, name="stack")
        >>> program = trace_opened(keras.Sequential([keras.Input((4,)), stack]))
        >>> [call.path for call in program.calls]
        ['stack/dense', 'stack/scaled_sum']
    """
    return _recorded(Recorder(True, stacks_once=True), model, data, training)


def _recorded(
    recorder: "Recorder",
    model: KerasModel,
    data: DataLike,
    training: bool | None = None,
) -> Program:
    if not isinstance(model, keras.Model):
        raise ValueError(f"`model` must be a Keras model. Received: model={model!r}")
    inputs = _inputs(model, data)
    values = keras.tree.map_structure(recorder.new, inputs)
    told: dict[str, Any] = {}
    if training is not None and takes_training(model):
        told["training"] = training
    try:
        place = Scope(training=training)
        outputs = calls_of_model(recorder, place, model, inputs, **told)
    except NotOnSymbolsError as error:
        raise ValueError(
            "`model` must be Functional or Sequential, or have a `call` made of layers "
            "and `keras.ops` that runs on `keras.Input`. Put what is neither, such as "
            "a function of the backend or a decision by values, into the `call` of a "
            f"layer, and call that. Received: model={model!r}, whose `call` says: "
            f"{error.__cause__}"
        ) from error.__cause__
    return Program(
        tuple(recorder.calls),
        values,
        keras.tree.map_structure(recorder.value, outputs),
        tuple(recorder.shapes),
        tuple(recorder.dtypes),
        get_input_names(model),
        tuple(recorder.opened),
    )


def _inputs(model: KerasModel, data: DataLike) -> Any:
    known = None
    if is_functional(model):
        known = model.input
    elif is_sequential(model) and model.built and getattr(model, "inputs", None):
        (known,) = model.inputs
    if known is not None:
        return keras.tree.map_structure(
            lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name),
            known,
        )
    if data is None:
        raise ValueError(
            "`data` must be given, a few samples, for a model that is not built or has "
            "a `call` of its own: it does not say what it takes. "
            f"Received: model={model!r} with built={model.built}, data=None"
        )
    data = read_inputs(data)
    if not model.built:
        model(map_leaves(lambda x: x[:1], data))
        return _inputs(model, data)
    return map_leaves(lambda x: _input_like(model, x), data)


def _input_like(model: KerasModel, x: Tensor) -> Any:
    dtype = keras.backend.standardize_dtype(x.dtype)
    if keras.backend.is_float_dtype(dtype) and model.autocast:
        dtype = model.input_dtype
    return keras.Input(batch_shape=(None, *x.shape[1:]), dtype=dtype, name="data")


@dataclasses.dataclass(frozen=True)
class Scope:
    """The scope of a call: path prefix and inherited arguments.

    Args:
        prefix: What its path begins with.
        training: What the models around it were told, if anything.
        fixed: Whether that holds whatever the model as a whole is told.
        watched: Whether the model around it has a `call` of its own.
    """

    prefix: str = ""
    training: bool | None = None
    fixed: bool = False
    watched: bool = False

    def of(self, name: str, keywords: dict[str, Any]) -> "Scope":
        """Returns the scope of a call that is made in this one.

        Args:
            name: The name of what is called.
            keywords: What it is told there.
        """
        place = dataclasses.replace(self, prefix=f"{self.prefix}{name}")
        given = keywords.get("training")
        if given in (None, self.training):
            return place
        if self.training is not None and not self.watched:
            # A functional model tells its parts what it is told itself.
            return place
        return dataclasses.replace(place, training=given, fixed=self.watched)

    def inside(self, watched: bool) -> "Scope":
        """Returns the scope of calls inside the layer that is called here.

        Args:
            watched: Whether that has a `call` of its own.
        """
        prefix = self.prefix and f"{self.prefix}/"
        return dataclasses.replace(self, prefix=prefix, watched=watched)


class Recorder:
    """Applies layers to symbols, and keeps what was applied to what.

    No layer is called: that would leave nodes on layers of the user's. What a call
    gives is a new symbol of a stand-in.

    Args:
        opens: Whether composite layers are opened.
        stacks_once: Whether a stack is opened as its template, which is called once;
            otherwise as blocks with copies of its weights.
    """

    def __init__(self, opens: bool, stacks_once: bool) -> None:
        self.calls: list[LayerCall] = []
        self.opened: list[OpenedCall] = []
        self.shapes: list[tuple[int | None, ...]] = []
        self.dtypes: list[str] = []
        self._opens = opens
        self._stacks_once = stacks_once
        self._ids: dict[int, int] = {}
        # An id is taken again when its owner is gone.
        self._symbols: list[Any] = []
        self._names: collections.Counter[str] = collections.Counter()

    def new(self, symbol: Any) -> TensorRef:
        """Numbers a new symbol."""
        self.shapes.append(tuple(symbol.shape))
        self.dtypes.append(keras.backend.standardize_dtype(symbol.dtype))
        return self._note(symbol, len(self.shapes) - 1)

    def same(self, symbol: Any, other: Any) -> TensorRef:
        """Gives a symbol the number of another one."""
        return self._note(symbol, self._ids[id(other)])

    def _note(self, symbol: Any, number: int) -> TensorRef:
        self._symbols.append(symbol)
        self._ids[id(symbol)] = number
        return TensorRef(number)

    def value(self, x: Tensor) -> Any:
        """Returns the `TensorRef` of a symbol; anything else as it is."""
        return TensorRef(self._ids[id(x)]) if isinstance(x, keras.KerasTensor) else x

    def apply(
        self, place: Scope, layer: KerasLayer, /, *args: Any, **kwargs: Any
    ) -> Any:
        """Writes down the call of a layer, or of all that is in it.

        Args:
            place: Where it is called.
            layer: A layer, a model or an operation.
            *args: The arguments, with symbols for tensors.
            **kwargs: Those by keyword.

        Returns:
            Symbols for what it gives.
        """
        if isinstance(layer, Placeholder):
            layer = layer.layer
        name = layer.name
        if place.watched and not isinstance(layer, keras.layers.Layer):
            # The number counts the operations of a session.
            name = re.sub(r"_\d+$", "", name)
        place = place.of(name, kwargs)
        if place.training is not None and takes_training(layer):
            kwargs["training"] = place.training
        if isinstance(layer, keras.Model):
            try:
                outputs = calls_of_model(self, place, layer, *args, **kwargs)
            except NotOnSymbolsError:
                outputs = NotImplemented
            if outputs is not NotImplemented:
                return self._connected(outputs, args, kwargs)
        elif self._opens and not self._may_be_masked(layer):
            outputs = self._open(place, layer, args, kwargs)
            if outputs is not NotImplemented:
                return outputs
        return self._whole(place, layer, args, kwargs)

    def _may_be_masked(self, layer: KerasLayer) -> bool:
        """Returns True if a layer may depend on a mask, which symbols do not show."""
        if not (is_custom_layer(layer) and takes_mask(layer)):
            return False
        return any(makes_masks(call.layer) for call in self.calls)

    def _open(self, place: Scope, layer: KerasLayer, args: Any, kwargs: Any) -> Any:
        first, outer = len(self.calls), self.opened
        apply = functools.partial(
            self.apply, place.inside(watched=is_custom_layer(layer))
        )
        self.opened, block = [], None
        try:
            if calls_as(layer, keras.layers.TimeDistributed):
                outputs = _over_time(layer, apply, *args, **kwargs)
            else:
                outputs, block = self._one_block(layer, apply, args, kwargs)
                if block is None:
                    outputs = find_expander(layer)(layer, apply, *args, **kwargs)
        finally:
            parts, self.opened = tuple(self.opened), outer
        if outputs is NotImplemented:
            return NotImplemented
        linked = self._connected(outputs, args, kwargs)
        whole = self._call(place, layer, first, args, kwargs, linked)
        runs = not isinstance(layer, keras.layers.TimeDistributed)
        self.opened.append(
            OpenedCall(whole, len(self.calls), parts, block, runs, place.prefix)
        )
        return linked

    def _one_block(
        self, layer: KerasLayer, apply: Callable[..., Any], args: Any, kwargs: Any
    ) -> tuple[Any, tuple[int, int, int] | None]:
        x = NotImplemented
        if self._stacks_once:
            x = enter_stack(layer, apply, *args, **kwargs)
        if x is NotImplemented:
            return x, None
        first = len(self.calls)
        outputs = apply_block(layer, apply, x, layer.num_blocks)
        return outputs, (first, self._ids[id(x)], self._ids[id(outputs)])

    def _whole(self, place: Scope, layer: KerasLayer, args: Any, kwargs: Any) -> Any:
        outputs = Placeholder(layer, output_specs(layer, args, kwargs))(*args, **kwargs)
        for symbol in keras.tree.flatten(outputs):
            self.new(symbol)
        index = len(self.calls)
        self.calls.append(self._call(place, layer, index, args, kwargs, outputs))
        return outputs

    def _call(
        self,
        place: Scope,
        layer: KerasLayer,
        index: int,
        args: Any,
        kwargs: Any,
        outputs: Nest,
    ) -> LayerCall:
        arguments, keywords = keras.tree.map_structure(self.value, (args, kwargs))
        inputs = keras.tree.flatten((arguments, keywords))
        self._names[place.prefix] += 1
        count = self._names[place.prefix]
        return LayerCall(
            index,
            layer,
            place.prefix if count == 1 else f"{place.prefix}#{count}",
            arguments,
            keywords,
            tuple(x.id for x in inputs if isinstance(x, TensorRef)),
            tuple(
                self._ids[id(symbol)]
                for symbol in keras.tree.flatten(outputs)
                if isinstance(symbol, keras.KerasTensor)
            ),
            place.fixed,
        )

    def _connected(self, outputs: Nest, args: Any, kwargs: Any) -> Any:
        # What was found in another graph, as symbols of the graph that is asked.
        linked = Placeholder(None, outputs)(*args, **kwargs)
        keras.tree.map_structure(
            lambda new, old: (
                self.same(new, old) if isinstance(new, keras.KerasTensor) else None
            ),
            linked,
            outputs,
        )
        return linked


def calls_of_model(
    recorder: Any, place: Scope, model: KerasModel, /, *args: Any, **kwargs: Any
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
    recorder: Any,
    inside: Scope,
    model: KerasModel,
    /,
    inputs: Nest,
    mask: Tensor = None,
    **_: Any,
) -> Any:
    inputs = _with_mask(recorder, inside, inputs, mask)
    names = get_input_names(model)
    if names is not None:
        inputs = order_inputs("inputs", inputs, names)
        inputs = _cast(recorder, inside, inputs, model.inputs[0])
    for layer in model.layers:
        inputs = recorder.apply(inside, layer, inputs)
    return inputs


def _functional(
    recorder: Any,
    inside: Scope,
    model: KerasModel,
    /,
    inputs: Nest,
    mask: Tensor = None,
    **_: Any,
) -> Any:
    graph = keras.Model(model.inputs, model.outputs, name=model.name)
    names = get_input_names(model)
    given = keras.tree.flatten(order_inputs("inputs", inputs, names))
    if mask is not None:
        masks = keras.tree.flatten(order_inputs("mask", mask, names))
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


def _inlined(recorder: Any, inside: Scope, graph: Any, symbols: list[Any]) -> Any:
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


def _with_mask(recorder: Any, inside: Scope, symbol: Any, mask: Tensor) -> Any:
    return with_mask(functools.partial(recorder.apply, inside), symbol, mask)


def _cast(recorder: Any, inside: Scope, symbol: Any, wanted: Any) -> Any:
    if symbol.dtype == wanted.dtype and len(symbol.shape) == len(wanted.shape):
        return symbol
    return recorder.apply(inside, Cast(wanted.shape, wanted.dtype), symbol)


def _over_time(
    layer: KerasLayer, apply: Callable[..., Any], inputs: Nest, **_: Any
) -> Any:
    batch, time, *sample = inputs.shape
    outputs = apply(layer.layer, apply(Reshaped((batch, *sample)), inputs))
    return apply(Reshaped((batch, time, *outputs.shape[1:])), outputs)


class Reshaped(keras.Operation):
    """Stands for a change of shape.

    Args:
        shape: The shape that comes out.
    """

    def __init__(self, shape: Any) -> None:
        super().__init__(name="reshaped")
        self.shape = shape

    def compute_output_spec(self, x: Tensor) -> Any:
        """Returns the spec of the output."""
        return keras.KerasTensor(self.shape, dtype=x.dtype)
