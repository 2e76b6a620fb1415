"""Operations of ours that take the place of a layer in a graph of symbols."""

import itertools
from typing import Any

import keras

_numbers = itertools.count()


class StandIn(keras.Operation):
    """Gives symbols for what a layer would give.

    Args:
        layer: The layer that it stands for, which is not touched.
        specs: Shapes and dtypes of its outputs.
    """

    def __init__(self, layer: Any, specs: Any) -> None:
        # Names must differ within a graph.
        super().__init__(name=f"keras_convinit_stand_in_{next(_numbers)}")
        self.layer = layer
        self.specs = specs

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs: new symbols, as those of the layer belong to it."""
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

    def __init__(self, layer: Any) -> None:
        super().__init__(name="keras_convinit_traced")
        self.layer = layer

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the layer with what the backend has for a symbol."""
        return self.layer(*args, **kwargs)


def output_specs(layer: Any, args: Any, kwargs: Any) -> Any:
    """Shapes and dtypes of what a layer gives, without a call where that is known."""
    try:
        return layer.compute_output_spec(*args, **kwargs)
    except Exception:
        # It may be known only inside a call, where arguments have been prepared.
        return Traced(layer).compute_output_spec(*args, **kwargs)
