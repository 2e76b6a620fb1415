"""Rectangles of noise in some of the images."""

import dataclasses
import math
from typing import Any, ClassVar

from keras_convinit.lab.checks import one_of
from keras_convinit.lab.data import _tensorflow as tf
from keras_convinit.lab.data.augmentation._draws import Draws
from keras_convinit.lab.data.augmentation._rectangle import rectangle
from keras_convinit.lab.data.augmentation.augmentation import ImageAugmentation

# The paper draws sizes until one fits. Of its own, 95 % do; of squares of the whole
# image, none would for ever.
ATTEMPTS = 10
FILLS = ("noise", "mean")


@dataclasses.dataclass(frozen=True)
class RandomErasing(ImageAugmentation):
    """Covers a rectangle of random size and place, which lies within the image.

    `keras.layers.RandomErasing` is not used: it draws height and width apart from each
    other, so that there is neither an area nor an aspect ratio to set.

    Args:
        probability: Of an image to be changed.
        area: Smallest and largest share of the image.
        aspect: Smallest and largest ratio of height to width; uniform between them, as
            in the paper.
        fill: `"noise"`, a normal number for each pixel and channel, with the mean and
            deviation of the data (the paper's numbers are uniform over all 8-bit
            values, which are not left after standardization); or `"mean"`, 0.

    Example:
        >>> from keras_convinit.lab.data.augmentation import RandomErasing
        >>> import tensorflow as tf
        >>> images, labels = tf.zeros((2, 32, 32, 3), "uint8"), tf.eye(2, 10)
        >>> images, labels = RandomErasing()(images, labels, seed=[0, 1])

    Reference:
        Zhong et al. 2020, *Random Erasing Data Augmentation*, Algorithm 1.
    """

    probability: float = 0.5
    area: tuple[float, float] = (0.02, 0.4)
    aspect: tuple[float, float] = (0.3, 1 / 0.3)
    fill: str = "noise"
    stage: ClassVar[str] = "standardized"

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(
                "`probability` must be a number from 0 to 1. "
                f"Received: probability={self.probability!r}"
            )
        _interval("area", self.area, 1.0)
        _interval("aspect", self.aspect, math.inf)
        one_of("fill", self.fill, FILLS)

    def changed(self, images: Any, draws: Draws) -> Any:
        """The images, some with rectangles."""
        size = tf.constant(images.shape[1:3].as_list(), tf.float32)
        area = _between(self.area, draws.uniform(ATTEMPTS)) * size[0] * size[1]
        aspect = _between(self.aspect, draws.uniform(ATTEMPTS))
        sides = tf.round(tf.stack([area * aspect, area / aspect], axis=-1) ** 0.5)
        fits = tf.reduce_all(sides < size, axis=-1)
        first = tf.argmax(fits, axis=-1, output_type=tf.int32)
        sides = tf.gather(sides, first, batch_dims=1)
        # From 0 to where the rectangle still lies within.
        corner = tf.cast(draws.uniform(2) * (size - sides + 1), tf.int32)
        sides = tf.cast(sides, tf.int32)
        chosen = (draws.uniform() < self.probability) & tf.reduce_any(fits, axis=-1)
        height = tf.where(chosen, sides[:, 0], 0)
        hole = rectangle(corner[:, 0], corner[:, 1], height, sides[:, 1], images)
        cover = (
            tf.zeros((), images.dtype)
            if self.fill == "mean"
            else tf.cast(draws.normal(*images.shape[1:]), images.dtype)
        )
        return tf.where(hole, cover, images)


def _between(interval: tuple[float, float], uniform: Any) -> Any:
    low, high = interval
    return low + (high - low) * uniform


def _interval(name: str, value: Any, most: float) -> None:
    low, high = value if isinstance(value, tuple) and len(value) == 2 else (0, 0)
    if not 0 < low <= high <= most or not math.isfinite(high):
        raise ValueError(
            f"`{name}` must be a pair of finite numbers, 0 < lowest <= highest"
            f"{'' if math.isinf(most) else f' <= {most:g}'}. "
            f"Received: {name}={value!r}"
        )
