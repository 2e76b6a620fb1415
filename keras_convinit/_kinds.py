"""Classes of models and layers that several modules distinguish."""

import functools
import inspect
from typing import Any

import keras

from keras_convinit._types import KerasLayer, KerasModel

# f(c x) = c f(x) for c > 0, without variables: a factor passes.
HOMOGENEOUS_LAYERS = (
    keras.layers.Identity,
    keras.layers.InputLayer,
    keras.layers.ActivityRegularization,
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.Flatten,
    keras.layers.Permute,
    keras.layers.Reshape,
    keras.layers.Cropping1D,
    keras.layers.Cropping2D,
    keras.layers.Cropping3D,
    keras.layers.ZeroPadding1D,
    keras.layers.ZeroPadding2D,
    keras.layers.ZeroPadding3D,
    keras.layers.UpSampling1D,
    keras.layers.UpSampling2D,
    keras.layers.UpSampling3D,
    keras.layers.AveragePooling1D,
    keras.layers.AveragePooling2D,
    keras.layers.AveragePooling3D,
    keras.layers.MaxPooling1D,
    keras.layers.MaxPooling2D,
    keras.layers.MaxPooling3D,
)


def calls_as(layer: KerasLayer, cls: type) -> bool:
    """Returns True if a layer is called as a class of layers is.

    What is known of the class is then true of the layer, which may be of a subclass.

    Args:
        layer: Any layer.
        cls: A class of layers.
    """
    # While somebody watches the layer, its type is another.
    own: Any = layer.__class__
    known: Any = cls
    return (
        isinstance(layer, cls)
        and own.call is known.call
        and own.__call__ is known.__call__
    )


def is_sequential(model: KerasModel) -> bool:
    """Returns True if a model is its layers in a row, with no `call` of its own."""
    return (
        isinstance(model, keras.Sequential)
        and type(model).call is keras.Sequential.call
    )


def is_functional(model: KerasModel) -> bool:
    """Returns True if a model is a graph of layers, with no `call` of its own."""
    functional = _functional_class()
    return isinstance(model, functional) and type(model).call is functional.call


def takes_graph(cls: type) -> bool:
    """Returns True if a class of models is made of inputs and outputs, as Keras asks.

    Such a functional model keeps its class when Keras clones it; others do not.
    """
    spec = inspect.getfullargspec(cls.__init__)  # type: ignore[misc]
    expected = inspect.getfullargspec(_functional_class().__init__)
    takes_anything = spec.varargs is not None and spec.varkw is not None
    return spec.args == expected.args or takes_anything


@functools.cache
def _functional_class() -> Any:
    # It has no public name.
    inputs = keras.Input((1,), name="inputs")
    outputs = keras.layers.Identity(name="outputs")(inputs)
    return type(keras.Model(inputs, outputs, name="model"))
