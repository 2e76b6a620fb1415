"""Type aliases for what Keras takes and returns.

Keras ships no complete types, so that a type checker takes most of them for `Any`; to
a reader they say what is passed. They are for annotations: what runs names the classes
of Keras.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import keras

# A tensor of the backend, a `KerasTensor`, or a numpy array where one is converted.
Tensor: TypeAlias = Any
Variable: TypeAlias = keras.Variable
KerasLayer: TypeAlias = keras.layers.Layer
KerasModel: TypeAlias = keras.Model
Initializer: TypeAlias = keras.initializers.Initializer
# Where an initializer is asked for: an object, a name, a configuration, a function.
InitializerLike: TypeAlias = Any
# Where an activation is asked for: None, a name, an activation layer, a function.
ActivationLike: TypeAlias = Any
# A shape with None for what is not known, such as the batch.
Shape: TypeAlias = tuple[int | None, ...]
# A dtype by its name, or as the object of a framework; None for Keras' default.
DTypeLike: TypeAlias = Any
# None, an integer, or a `keras.random.SeedGenerator`.
Seed: TypeAlias = Any
# What `get_config` returns.
Config: TypeAlias = dict[str, Any]
# An elementwise function of tensors.
TensorFunction: TypeAlias = Callable[[Tensor], Tensor]
# A tensor or an array, or a nest of lists, tuples and dictionaries of them.
Nest: TypeAlias = Any
# What `fit` takes: arrays, tensors, tables, nests of them, or a data set of batches.
DataLike: TypeAlias = Any
# None, the name of a Keras loss, a `keras.losses.Loss`, or a callable.
LossLike: TypeAlias = Any
