"""The precision in which norms, gains and statistics are computed."""

from typing import Any

import keras


def at_least_float32(dtype: Any) -> str:
    """The dtype itself, or float32 where that is wider.

    `keras.backend.result_type` does not say that: of float64 and float32 it makes
    float32, except on TensorFlow.

    Args:
        dtype: A floating dtype of Keras, or its name.

    Returns:
        `"float64"` or `"float32"`.
    """
    name = keras.backend.standardize_dtype(dtype)
    return name if name == "float64" else "float32"
