"""Rectangles in images."""

from typing import Any

from keras_convinit.lab.data import _tensorflow as tf


def rectangle(top: Any, left: Any, height: Any, width: Any, images: Any) -> Any:
    """Where a rectangle is; what of it lies outside the image is cut off.

    Args:
        top: Int32, of any shape: the first row.
        left: The first column.
        height: Number of rows.
        width: Number of columns.
        images: `(..., height, width, channels)`, for their size.

    Returns:
        Booleans, `(*shape, height, width, channels)`.
    """
    channels = images.shape[-1]

    def within(first: Any, length: Any, place: Any) -> Any:
        place = place - tf.expand_dims(first, -1)
        return (place >= 0) & (place < tf.expand_dims(length, -1))

    # Full rows of values at once: a broadcast over the few channels is slow.
    place = tf.repeat(tf.range(images.shape[-2]), channels)
    columns = within(left, tf.convert_to_tensor(width), place)
    rows = within(top, tf.convert_to_tensor(height), tf.range(images.shape[-3]))
    inside = rows[..., :, None] & columns[..., None, :]
    shape = tf.concat([tf.shape(top), images.shape[-3:]], axis=0)
    return tf.reshape(inside, shape)
