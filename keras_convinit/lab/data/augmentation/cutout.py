"""A hole in every image."""

import dataclasses
from typing import Any, ClassVar

from keras_convinit.lab.checks import whole
from keras_convinit.lab.data import _tensorflow as tf
from keras_convinit.lab.data.augmentation._draws import Draws
from keras_convinit.lab.data.augmentation._rectangle import rectangle
from keras_convinit.lab.data.augmentation.augmentation import ImageAugmentation


@dataclasses.dataclass(frozen=True)
class Cutout(ImageAugmentation):
    """Sets a square of each image to 0, which after standardization is the mean.

    The center may be any pixel, so that part of the square may lie outside; this is
    what the paper found to matter. `keras.layers.RandomErasing` is not used: it never
    crosses the border, and its sizes are shares of the image.

    Args:
        size: Side of the square in pixels: 16 for CIFAR-10, as in the code of both
            papers; the authors of Cutout have 8 for CIFAR-100.

    Example:
        >>> from keras_convinit.lab.data.augmentation import Cutout
        >>> import tensorflow as tf
        >>> images, labels = tf.zeros((2, 32, 32, 3), "uint8"), tf.eye(2, 10)
        >>> images, labels = Cutout()(images, labels, seed=[0, 1])

    Reference:
        DeVries and Taylor 2017, *Improved Regularization of Convolutional Neural
        Networks with Cutout*, section 3.2.
    """

    size: int = 16
    stage: ClassVar[str] = "standardized"

    def __post_init__(self) -> None:
        whole("size", self.size, 1)

    def changed(self, images: Any, draws: Draws) -> Any:
        """The images, with holes."""
        top = draws.integers(images.shape[1]) - self.size // 2
        left = draws.integers(images.shape[2]) - self.size // 2
        hole = rectangle(top, left, self.size, self.size, images)
        return tf.where(hole, tf.zeros((), images.dtype), images)
