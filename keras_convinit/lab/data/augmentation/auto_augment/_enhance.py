"""Color and sharpness: each image blended with a poorer version of itself."""

from typing import Any

from keras_convinit.lab.data import _tensorflow as tf
from keras_convinit.lab.data.augmentation.auto_augment._lookup import blended, gray


def color(images: Any, factors: Any) -> Any:
    """Images, their distance from gray times factors, `(count,)`."""
    return _from(gray(images), images, factors)


def sharpness(images: Any, factors: Any) -> Any:
    """Images, their distance from a smooth version times factors, `(count,)`.

    That has weights of 1 for the eight pixels around and 5 for the pixel itself; at
    the border it is the image.
    """
    pixels = tf.cast(images, tf.int32)
    rows = pixels[:, :-2] + pixels[:, 1:-1] + pixels[:, 2:]
    square = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    inner = pixels[:, 1:-1, 1:-1]
    # Rounded to the nearest: 13 is odd, there are no ties.
    smooth = (2 * (square + 4 * inner) + 13) // 26
    difference = tf.pad(smooth - inner, [[0, 0], [1, 1], [1, 1], [0, 0]])
    return _from(pixels + difference, images, factors)


def _from(poor: Any, images: Any, factors: Any) -> Any:
    start, end = tf.cast(poor, tf.float32), tf.cast(images, tf.float32)
    return blended(start, end, factors[:, None, None, None])
