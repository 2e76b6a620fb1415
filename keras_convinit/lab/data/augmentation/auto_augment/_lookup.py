"""What depends on the value of a pixel alone: tables of 256 entries, in one gather."""

from typing import Any

import numpy as np

from keras_convinit.lab.data import _tensorflow as tf

FIXED = ("Posterize", "Solarize", "Invert", "Brightness")


def fixed_table(name: str, level: int) -> np.ndarray:
    """What becomes of each value, whatever the image.

    Args:
        name: One of `FIXED`.
        level: From 0 to 10.

    Returns:
        256 numbers, uint8.
    """
    values = np.arange(256)
    if name == "Posterize":
        bits = 4 - int(level * 4 / 10)
        table = values & (256 - 2 ** (8 - bits))
    elif name == "Solarize":
        table = np.where(values < 256 - int(level * 256 / 10), values, 255 - values)
    elif name == "Invert":
        table = 255 - values
    else:
        table = np.clip(factor(level) * values.astype(np.float32), 0, 255)
    return table.astype(np.uint8)


def factor(level: int) -> np.float32:
    """Of brightness, contrast, color and sharpness: from 0.1 to 1.9."""
    return np.float32(level * 1.8 / 10 + 0.1)


def by_fixed_table(images: Any, tables: Any) -> Any:
    """Images through one table each, `(count, 256)`, uint8."""
    return _through(images, tables[:, None, :])


def contrast(images: Any, factors: Any) -> Any:
    """Images, their distance from their mean gray times factors, `(count,)`."""
    mean = tf.reduce_mean(tf.cast(gray(images), tf.float64), axis=(1, 2, 3))
    mean = tf.floor(mean + 0.5)[:, None]
    values = tf.range(256, dtype=tf.float32)
    tables = blended(tf.cast(mean, tf.float32), values, factors[:, None])
    return _through(images, tables[:, None, :])


def auto_contrast(images: Any, _: Any) -> Any:
    """Images whose channels reach from 0 to 255 each."""
    pixels = tf.cast(images, tf.float64)
    low = tf.reduce_min(pixels, axis=(1, 2))[..., None]
    high = tf.reduce_max(pixels, axis=(1, 2))[..., None]
    # Where all is of one value, nothing happens.
    flat = high <= low
    low = tf.where(flat, tf.zeros_like(low), low)
    high = tf.where(flat, 255 * tf.ones_like(high), high)
    scale = 255.0 / (high - low)
    stretched = tf.range(256, dtype=tf.float64) * scale - low * scale
    return _through(images, tf.cast(tf.clip_by_value(stretched, 0, 255), tf.uint8))


def equalize(images: Any, _: Any) -> Any:
    """Images in whose channels all values are about equally frequent."""
    count, channels = tf.shape(images)[0], images.shape[3]
    pixels = tf.cast(images, tf.int32)
    histogram = tf.math.bincount(
        tf.reshape(_first(count, channels) + pixels, (-1,)),
        minlength=count * channels * 256,
    )
    histogram = tf.reshape(histogram, (count, channels, 256))
    below_highest = pixels < tf.reduce_max(pixels, axis=(1, 2), keepdims=True)
    step = tf.reduce_sum(tf.cast(below_highest, tf.int32), axis=(1, 2)) // 255
    step = step[..., None]
    before = tf.cumsum(histogram, axis=-1, exclusive=True)
    tables = (step // 2 + before) // tf.maximum(step, 1)
    tables = tf.where(step == 0, tf.range(256), tf.minimum(tables, 255))
    return _through(images, tf.cast(tables, tf.uint8))


def gray(images: Any) -> Any:
    """How bright pixels are: int32, one channel."""
    pixels = tf.cast(images, tf.int32)
    if images.shape[3] == 1:
        return pixels
    # ITU-R 601-2, in 16 bits, rounded.
    weights = tf.constant([19595, 38470, 7471])
    luma = tf.reduce_sum(pixels * weights, axis=3, keepdims=True)
    return tf.bitwise.right_shift(luma + 2**15, 16)


def blended(start: Any, end: Any, factors: Any) -> Any:
    """`start` for a factor of 0, `end` for 1, and on; uint8, rounded down."""
    mixed = start + factors * (end - start)
    return tf.cast(tf.clip_by_value(mixed, 0.0, 255.0), tf.uint8)


def _through(images: Any, tables: Any) -> Any:
    """Images through tables, `(count, channels or 1, 256)`, uint8."""
    first = _first(tf.shape(images)[0], tables.shape[1])
    return tf.gather(tf.reshape(tables, (-1,)), first + tf.cast(images, tf.int32))


def _first(count: Any, channels: int) -> Any:
    """Where each table begins, `(count, 1, 1, channels)`."""
    return tf.reshape(tf.range(count * channels) * 256, (count, 1, 1, channels))
