"""Shears, translations and rotations: each image by a matrix of its own."""

import math
from typing import Any

from keras_convinit.lab.data import _tensorflow as tf
from keras_convinit.lab.data.augmentation._pixels import pixels_at

AFFINE = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")

# Numbers have 16 bits after the point, and pixel (x, y) has its center at
# (x + 1/2, y + 1/2): so does the Python Imaging Library, and so the nearest pixel is
# the same one.
BITS = 16


def matrix(
    name: str, level: int, sign: int, height: int, width: int
) -> tuple[int, int, int, int, int, int]:
    """Where a pixel of the new image comes from.

    Args:
        name: One of `AFFINE`.
        level: From 0 to 10: a shear by up to 0.3, a rotation by up to 30 degrees, a
            translation by up to 10 pixels of 32.
        sign: 1 or -1, for either direction.
        height: Of the image.
        width: Of the image.

    Returns:
        a, b, c, d, e, f of x' = a x + b y + c and y' = d x + e y + f, in units of
        2^-16 pixels. x and y are the numbers of the column and of the row.
    """
    a, b, c, d, e, f = 1.0, 0.0, 0.0, 0.0, 1.0, 0.0
    if name == "ShearX":
        b = sign * level * 0.3 / 10
    elif name == "ShearY":
        d = sign * level * 0.3 / 10
    elif name == "TranslateX":
        c = sign * (level * width // 32)
    elif name == "TranslateY":
        f = sign * (level * height // 32)
    else:
        angle = math.radians(sign * int(level * 30 / 10))
        a = e = math.cos(angle)
        d = math.sin(angle)
        b = -d
        # About the center of the image.
        c = width / 2 - a * width / 2 - b * height / 2
        f = height / 2 - d * width / 2 - e * height / 2
    x, y = c + a / 2 + b / 2, f + d / 2 + e / 2
    a, b, x, d, e, y = (math.floor(v * 2**BITS + 0.5) for v in (a, b, x, d, e, y))
    return a, b, x, d, e, y


def transformed(images: Any, matrices: Any, fill: int) -> Any:
    """Images, moved.

    Args:
        images: `(count, height, width, channels)`.
        matrices: `(count, 6)`, int32, what `matrix` returns.
        fill: Value of what comes from outside.

    Returns:
        Images of the same size, made of the nearest pixels.
    """
    row = tf.range(images.shape[1])[:, None]
    column = tf.range(images.shape[2])
    a, b, c, d, e, f = tf.unstack(matrices[:, :, None, None], axis=1)
    x = tf.bitwise.right_shift(a * column + b * row + c, BITS)
    y = tf.bitwise.right_shift(d * column + e * row + f, BITS)
    return pixels_at(images, y, x, fill)
