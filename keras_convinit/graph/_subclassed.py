"""The calls of layers that a model makes in a `call` of its own."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from keras_convinit.graph._stand_in import StandIn, output_specs


class NotOnSymbolsError(Exception):
    """A model does something that cannot be done to symbols."""


def graph_of_calls(model: Any, args: Any, kwargs: Any) -> Any:
    """Runs a model's `call` on symbols, while its layers are watched.

    Args:
        model: A built model that is not functional.
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
    left = iter(fresh)
    args, kwargs = keras.tree.map_structure(
        lambda x: next(left) if isinstance(x, keras.KerasTensor) else x, (args, kwargs)
    )
    try:
        with _watched(list(_parts(model))):
            outputs = model.call(*args, **kwargs)
        flat = [
            x for x in keras.tree.flatten(outputs) if isinstance(x, keras.KerasTensor)
        ]
        return keras.Model(fresh, flat, name=model.name), symbols, outputs
    except Exception as error:
        raise NotOnSymbolsError(model) from error


def _parts(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _parts(layer)


@contextlib.contextmanager
def _watched(layers: list[Any]) -> Iterator[None]:
    """Has the layers answer symbols with stand-ins, and leaves no trace on them."""
    classes = [(layer, type(layer)) for layer in {id(x): x for x in layers}.values()]
    try:
        for layer, cls in classes:
            # `__call__` is looked up in the class, so it has to be another one.
            object.__setattr__(layer, "__class__", _watching(cls))
        yield
    finally:
        for layer, cls in classes:
            object.__setattr__(layer, "__class__", cls)


def _watching(cls: type) -> type:
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        flat = keras.tree.flatten((args, kwargs))
        if not any(isinstance(x, keras.KerasTensor) for x in flat):
            return cls.__call__(self, *args, **kwargs)
        return StandIn(self, output_specs(self, args, kwargs))(*args, **kwargs)

    return type(cls.__name__, (cls,), {"__call__": __call__, "__module__": __name__})
