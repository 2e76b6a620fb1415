"""Pixels taken from elsewhere in their image, or from outside of it."""

from typing import Any

from keras_convinit.lab.data import _tensorflow as tf


def pixels_at(images: Any, y: Any, x: Any, fill: int) -> Any:
    """Images whose pixels come from given places, by one gather for the whole batch.

    Args:
        images: `(count, height, width, channels)`.
        y: Int32, broadcast to `(count, new height, new width)`: the row to take from.
        x: Likewise the column.
        fill: The value of what lies outside.

    Returns:
        `(count, new height, new width, channels)`.
    """
    height, width, channels = images.shape[1:]
    first = tf.range(tf.shape(images)[0])[:, None, None] * (height * width)
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    # What lies outside is taken from one more pixel, in front of all others.
    index = tf.where(inside, first + y * width + x + 1, 0)
    pixels = tf.reshape(images, (-1, channels))
    outside = tf.fill((1, channels), tf.cast(fill, images.dtype))
    return tf.gather(tf.concat([outside, pixels], axis=0), index)
