"""What kind of model a model is."""

import functools
from typing import Any

import keras


def is_sequential(model: Any) -> bool:
    """Whether a model is its layers in a row."""
    return (
        isinstance(model, keras.Sequential)
        and type(model).call is keras.Sequential.call
    )


def is_functional(model: Any) -> bool:
    """Whether a model is a graph of layers, and has no `call` of its own."""
    functional = _functional_class()
    return isinstance(model, functional) and type(model).call is functional.call


@functools.cache
def _functional_class() -> Any:
    # It has no public name.
    inputs = keras.Input((1,), name="inputs")
    outputs = keras.layers.Identity(name="outputs")(inputs)
    return type(keras.Model(inputs, outputs, name="model"))
