"""Writes down the calls of a model while it is run on symbols."""

import collections
import functools
import re
from collections.abc import Callable
from typing import Any

import keras

from keras_convinit.graph._models import calls_of_model
from keras_convinit.graph._own_layers import is_own, makes_masks, takes_mask
from keras_convinit.graph._place import Place
from keras_convinit.graph._stand_in import StandIn, output_specs
from keras_convinit.graph._subclassed import NotOnSymbolsError
from keras_convinit.graph.program import Call, Value, takes_training


class Recorder:
    """Applies layers to symbols, and keeps what was applied to what.

    No layer is called: that would leave nodes on layers of the user's. What a call
    gives is a new symbol of a stand-in.

    Args:
        opens: `opens(layer, apply, *args, **kwargs)` writes the call of a layer as
            calls of its parts, or gives `NotImplemented`.
    """

    def __init__(self, opens: Callable[..., Any]) -> None:
        self.calls: list[Call] = []
        self.shapes: list[tuple[int | None, ...]] = []
        self.dtypes: list[str] = []
        self._opens = opens
        self._ids: dict[int, int] = {}
        # An id is taken again when its owner is gone.
        self._symbols: list[Any] = []
        self._names: collections.Counter[str] = collections.Counter()

    def new(self, symbol: Any) -> Value:
        """A number for a symbol that comes out of nothing that is known."""
        self.shapes.append(tuple(symbol.shape))
        self.dtypes.append(keras.backend.standardize_dtype(symbol.dtype))
        return self._note(symbol, len(self.shapes) - 1)

    def same(self, symbol: Any, other: Any) -> Value:
        """Gives a symbol the number of another one."""
        return self._note(symbol, self._ids[id(other)])

    def _note(self, symbol: Any, number: int) -> Value:
        self._symbols.append(symbol)
        self._ids[id(symbol)] = number
        return Value(number)

    def value(self, x: Any) -> Any:
        """The `Value` of a symbol; anything else as it is."""
        return Value(self._ids[id(x)]) if isinstance(x, keras.KerasTensor) else x

    def apply(self, place: Place, layer: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Writes down the call of a layer, or of all that is in it.

        Args:
            place: Where it is called.
            layer: A layer, a model or an operation.
            *args: The arguments, with symbols for tensors.
            **kwargs: Those by keyword.

        Returns:
            Symbols for what it gives.
        """
        if isinstance(layer, StandIn):
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
        elif self._may_be_masked(layer):
            outputs = NotImplemented
        else:
            opened = functools.partial(self.apply, place.inside(watched=is_own(layer)))
            outputs = self._opens(layer, opened, *args, **kwargs)
        if outputs is NotImplemented:
            return self._whole(place, layer, args, kwargs)
        return self._connected(outputs, args, kwargs)

    def _may_be_masked(self, layer: Any) -> bool:
        """Whether a layer does what a mask says, which nobody sees on symbols."""
        if not (is_own(layer) and takes_mask(layer)):
            return False
        return any(makes_masks(call.layer) for call in self.calls)

    def _whole(self, place: Place, layer: Any, args: Any, kwargs: Any) -> Any:
        arguments, keywords = keras.tree.map_structure(self.value, (args, kwargs))
        inputs = keras.tree.flatten((arguments, keywords))
        outputs = StandIn(layer, output_specs(layer, args, kwargs))(*args, **kwargs)
        numbers = [self.new(symbol).id for symbol in keras.tree.flatten(outputs)]
        self._names[place.prefix] += 1
        count = self._names[place.prefix]
        self.calls.append(
            Call(
                len(self.calls),
                layer,
                place.prefix if count == 1 else f"{place.prefix}#{count}",
                arguments,
                keywords,
                tuple(x.id for x in inputs if isinstance(x, Value)),
                tuple(numbers),
                place.fixed,
            )
        )
        return outputs

    def _connected(self, outputs: Any, args: Any, kwargs: Any) -> Any:
        # What was found in another graph, as symbols of the graph that is asked.
        linked = StandIn(None, outputs)(*args, **kwargs)
        keras.tree.map_structure(
            lambda new, old: (
                self.same(new, old) if isinstance(new, keras.KerasTensor) else None
            ),
            linked,
            outputs,
        )
        return linked
