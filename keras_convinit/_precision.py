"""Precision of norms, gains and statistics."""

import keras

from keras_convinit._types import DTypeLike


def promote_to_float32(dtype: DTypeLike) -> str:
    """Returns the wider of a dtype and float32.

    `keras.backend.result_type` does not: for float64 and float32 it is float32, except
    on TensorFlow.

    Args:
        dtype: A floating dtype of Keras, or its name.

    Returns:
        `"float64"` or `"float32"`.
    """
    name = keras.backend.standardize_dtype(dtype)
    return name if name == "float64" else "float32"
