"""Reads a model as a program of calls."""

from collections.abc import Callable
from typing import Any

import keras

from keras_convinit._data import inputs_of, map_leaves, names_of
from keras_convinit._kinds import is_functional, is_sequential
from keras_convinit.graph._models import calls_of_model
from keras_convinit.graph._place import Place
from keras_convinit.graph._recorder import Recorder
from keras_convinit.graph._subclassed import NotOnSymbolsError
from keras_convinit.graph.composites import open_up
from keras_convinit.graph.program import Trace, takes_training


def trace(model: Any, data: Any = None, *, open_composites: bool = False) -> Trace:
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
            are registered with `open_up`, are opened up as well. A stack is written
            out in blocks with copies of its weights: its values are right, but these
            are not its variables.

    Returns:
        The program. `trace(model).run(x)` equals `model(x)`.

    Raises:
        ValueError: `model` is not a model, is not built, or does in its own `call`
            what cannot be seen.

    Example:
        >>> from keras_convinit.graph import trace
        >>> dense = keras.layers.Dense(2, name="dense")
        >>> model = keras.Sequential([keras.Input((4,)), dense])
        >>> [call.path for call in trace(model).calls]
        ['dense']
    """
    return trace_with(model, data, open_up if open_composites else _stay_whole)


def trace_with(
    model: Any, data: Any, opens: Callable[..., Any], training: bool | None = None
) -> Trace:
    """Reads a model as `trace` does.

    Args:
        model: The model.
        data: What it takes.
        opens: What opens composite layers, with the arguments of `open_up`.
        training: What the `call` of a model of the user's own is told, if anything.

    Returns:
        The program.
    """
    if not isinstance(model, keras.Model):
        raise ValueError(f"`model` must be a Keras model. Received: model={model!r}")
    inputs = _inputs(model, data)
    recorder = Recorder(opens)
    values = keras.tree.map_structure(recorder.new, inputs)
    told: dict[str, Any] = {}
    if training is not None and takes_training(model):
        told["training"] = training
    try:
        place = Place(training=training)
        outputs = calls_of_model(recorder, place, model, inputs, **told)
    except NotOnSymbolsError as error:
        raise ValueError(
            "`model` must be Functional or Sequential, or have a `call` made of layers "
            "and `keras.ops` that runs on `keras.Input`. Put what is neither, such as "
            "a function of the backend or a decision by values, into the `call` of a "
            f"layer, and call that. Received: model={model!r}, whose `call` says: "
            f"{error.__cause__}"
        ) from error.__cause__
    return Trace(
        tuple(recorder.calls),
        values,
        keras.tree.map_structure(recorder.value, outputs),
        tuple(recorder.shapes),
        tuple(recorder.dtypes),
        names_of(model),
    )


def _inputs(model: Any, data: Any) -> Any:
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
            "`model` must be built, and be Functional or Sequential, unless `data` is "
            "given: build it, or pass a few samples of what it takes. "
            f"Received: model={model!r} with built={model.built}, data=None"
        )
    data = inputs_of(data)
    if not model.built:
        model(map_leaves(lambda x: x[:1], data))
        return _inputs(model, data)
    return map_leaves(lambda x: _input_like(model, x), data)


def _input_like(model: Any, x: Any) -> Any:
    dtype = keras.backend.standardize_dtype(x.dtype)
    if keras.backend.is_float_dtype(dtype) and model.autocast:
        dtype = model.input_dtype
    return keras.Input(batch_shape=(None, *x.shape[1:]), dtype=dtype, name="data")


def _stay_whole(*_: Any, **__: Any) -> Any:
    return NotImplemented
