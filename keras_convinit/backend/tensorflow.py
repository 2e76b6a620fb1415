"""What we need of TensorFlow and Keras does not offer."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

Function = Callable[[Any], Any]
Derivative = Callable[[np.ndarray], np.ndarray | None]


def evaluate(function: Function, points: np.ndarray) -> np.ndarray:
    """The function at the points, computed now, also while a graph is being traced."""
    with tf.init_scope(), tf.device("cpu"):
        return np.asarray(function(tf.constant(points)))


def derivative_of(function: Function) -> Derivative:
    """The derivative of an elementwise function, computed at once like `evaluate`.

    It gives None where TensorFlow cannot derive the function.
    """

    # Inside `init_scope` no tape records, so the graph is asked.
    @tf.function(autograph=False, reduce_retracing=True)
    def slope(x: tf.Tensor) -> list[tf.Tensor | None]:
        y = function(x)
        return tf.gradients(y, x) if tf.is_tensor(y) else [None]

    def derivative(points: np.ndarray) -> np.ndarray | None:
        with tf.init_scope(), tf.device("cpu"):
            try:
                (value,) = slope(tf.constant(points))
            except NotImplementedError:
                # numpy was asked to read a symbolic tensor.
                return None
            return None if value is None else np.asarray(value)

    return derivative


def to_numpy(variable: Any) -> np.ndarray:
    """The value of a variable, also while a graph is being traced."""
    with tf.init_scope():
        return np.asarray(tf.convert_to_tensor(variable))
