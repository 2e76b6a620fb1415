"""Runs the `call` of a model or layer on symbols, and leaves no trace on its layers."""

import contextlib
import itertools
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import keras
from keras import ops

from keras_convinit._contents import iterate_contents
from keras_convinit._types import KerasLayer, KerasModel, Nest

_numbers = itertools.count()


class Placeholder(keras.Operation):
    """Gives symbols for what a layer would give.

    Args:
        layer: The layer that it stands for, which is not touched.
        specs: Shapes and dtypes of its outputs.
    """

    def __init__(self, layer: KerasLayer, specs: Any) -> None:
        # Names must differ within a graph.
        super().__init__(name=f"keras_convinit_stand_in_{next(_numbers)}")
        self.layer = layer
        self.specs = specs

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Returns new symbols, since those of the layer belong to it."""
        return keras.tree.map_structure(_like, self.specs)


def _like(spec: Any) -> Any:
    if not isinstance(spec, keras.KerasTensor):
        return spec
    return keras.KerasTensor(spec.shape, dtype=spec.dtype, sparse=spec.sparse)


class Traced(keras.Operation):
    """Finds out what a layer gives by a call in which there are no symbols of Keras.

    Args:
        layer: The layer.
    """

    def __init__(self, layer: KerasLayer) -> None:
        super().__init__(name="keras_convinit_traced")
        self.layer = layer

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the layer with what the backend has for a symbol."""
        return self.layer(*args, **kwargs)


def output_specs(layer: KerasLayer, args: Any, kwargs: Any) -> Any:
    """Shapes and dtypes of what a layer gives, without a call where that is known."""
    try:
        return layer.compute_output_spec(*args, **kwargs)
    except Exception:
        # It may be known only inside a call, where arguments have been prepared.
        return Traced(layer).compute_output_spec(*args, **kwargs)


# One for all models: a layer may be in several.
WATCHING = threading.RLock()


class NotOnSymbolsError(Exception):
    """A model does something that cannot be done to symbols."""


def graph_of_calls(model: KerasModel, args: Any, kwargs: Any) -> Any:
    """Runs the `call` of a model or layer on symbols, while its layers are watched.

    Args:
        model: A built layer, or a model that is not functional.
        args: Its arguments, with symbols for tensors.
        kwargs: Those by keyword.

    Returns:
        A functional model of stand-ins and operations; the symbols among the
        arguments that it takes; and what `call` gave.

    Raises:
        NotOnSymbolsError: There is something in `call` that cannot be done to symbols.
    """
    symbols = [
        x
        for x in keras.tree.flatten((args, kwargs))
        if isinstance(x, keras.KerasTensor)
    ]
    fresh = [
        keras.Input(batch_shape=x.shape, dtype=x.dtype, name=f"input_{i}")
        for i, x in enumerate(symbols)
    ]
    args, kwargs = with_symbols((args, kwargs), fresh)
    try:
        layers = [x for x in _layers_in(model) if x is not model]
        with _watched(layers, model.variables):
            outputs = model.call(*args, **kwargs)
        flat = [
            x for x in keras.tree.flatten(outputs) if isinstance(x, keras.KerasTensor)
        ]
        return keras.Model(fresh, flat, name=model.name), symbols, outputs
    except Exception as error:
        raise NotOnSymbolsError(model) from error


def with_symbols(structure: Nest, symbols: Iterable[Any]) -> Any:
    """Replaces the symbols of a structure, in the order of flattening."""
    left = iter(symbols)
    # Not the order in which it is mapped: that of a dict is another one.
    return keras.tree.pack_sequence_as(
        structure,
        [
            next(left) if isinstance(x, keras.KerasTensor) else x
            for x in keras.tree.flatten(structure)
        ],
    )


def _layers_in(model: KerasModel) -> list[Any]:
    return [
        part for part in iterate_contents(model) if isinstance(part, keras.layers.Layer)
    ]


@contextlib.contextmanager
def _watched(layers: list[Any], variables: list[Any]) -> Iterator[None]:
    """Has the layers answer symbols with stand-ins, and leaves no trace on them.

    Variables leave what is done with a symbol on their right to `keras.ops`: they would
    take their own value for it, which no symbol can be added to.

    One thread at a time: another one would take the class that watches for the layer's
    own. To threads that only call or save the model meanwhile the layers are what they
    were, except to `type`.
    """
    with WATCHING:
        thread = threading.get_ident()
        classes = [
            (thing, type(thing), watching)
            for things, watching in ((layers, _watching), (variables, _operating))
            for thing in {id(x): x for x in things}.values()
        ]
        try:
            for thing, cls, watching in classes:
                # Methods are looked up in the class, so it has to be another one.
                _set_class(thing, watching(cls, thread))
            yield
        finally:
            for thing, cls, _ in classes:
                _set_class(thing, cls)


def _set_class(thing: Any, cls: type) -> None:
    # Past what a class says of it: `__class__` of those that watch names another.
    object.__dict__["__class__"].__set__(thing, cls)


# What Python asks the thing on the left for.
_OPERATORS = {
    "__add__": ops.add,
    "__and__": ops.logical_and,
    "__eq__": ops.equal,
    "__floordiv__": ops.floor_divide,
    "__ge__": ops.greater_equal,
    "__gt__": ops.greater,
    "__le__": ops.less_equal,
    "__lt__": ops.less,
    "__matmul__": ops.matmul,
    "__mod__": ops.mod,
    "__mul__": ops.multiply,
    "__ne__": ops.not_equal,
    "__or__": ops.logical_or,
    "__pow__": ops.power,
    "__sub__": ops.subtract,
    "__truediv__": ops.true_divide,
    "__xor__": ops.logical_xor,
}


def _operating(cls: type, thread: int) -> type:
    def method(name: str, operation: Any) -> Any:
        def operator(self: Any, other: Any) -> Any:
            symbolic = isinstance(other, keras.KerasTensor)
            if not symbolic or threading.get_ident() != thread:
                return getattr(cls, name)(self, other)
            return operation(self, other)

        return operator

    said = {name: method(name, operation) for name, operation in _OPERATORS.items()}
    # Without a word of its own a class that compares cannot be hashed.
    return type(
        cls.__name__, (cls,), {**_said_of(cls), **said, "__hash__": cls.__hash__}
    )


def _said_of(cls: type) -> dict[str, Any]:
    return {
        # By it Keras names the class in a file.
        "__class__": property(lambda self: cls),
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
    }


def _watching(cls: type, thread: int) -> type:
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        flat = keras.tree.flatten((args, kwargs))
        symbolic = any(isinstance(x, keras.KerasTensor) for x in flat)
        if not symbolic or threading.get_ident() != thread:
            return cls.__call__(self, *args, **kwargs)
        return Placeholder(self, output_specs(self, args, kwargs))(*args, **kwargs)

    return type(cls.__name__, (cls,), {**_said_of(cls), "__call__": __call__})
