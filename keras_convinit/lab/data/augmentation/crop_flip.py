"""The translations and reflections that nearly every CIFAR result has."""

import dataclasses
from typing import Any, ClassVar

from keras_convinit.lab.checks import whole
from keras_convinit.lab.data import _tensorflow as tf
from keras_convinit.lab.data.augmentation._draws import Draws
from keras_convinit.lab.data.augmentation._pixels import pixels_at
from keras_convinit.lab.data.augmentation.augmentation import ImageAugmentation


@dataclasses.dataclass(frozen=True)
class CropFlip(ImageAugmentation):
    """Pads with black, crops to the size that was, and flips every other image.

    Position and flip are drawn for each image. `keras.layers.RandomCrop` is not used:
    it has one position for a whole batch, and does not pad.

    Args:
        padding: Pixels on each side; all `(2 padding + 1)^2` positions are equally
            likely. They are 0 before standardization, as in the papers' code.
        flip: Whether to reflect left and right. Digits and letters do not bear it.

    Example:
        >>> from keras_convinit.lab.data.augmentation import CropFlip
        >>> import tensorflow as tf
        >>> images, labels = tf.zeros((2, 32, 32, 3), "uint8"), tf.eye(2, 10)
        >>> images, labels = CropFlip()(images, labels, seed=[0, 1])

    Reference:
        He et al. 2016, *Deep Residual Learning*, section 4.2.
    """

    padding: int = 4
    flip: bool = True
    stage: ClassVar[str] = "pixels"

    def __post_init__(self) -> None:
        whole("padding", self.padding, 0)

    def changed(self, images: Any, draws: Draws) -> Any:
        """The images, shifted and flipped."""
        height, width = images.shape[1:3]
        corner = draws.integers(2 * self.padding + 1, 2) - self.padding
        y = tf.range(height) + corner[:, :1]
        x = tf.range(width) + corner[:, 1:]
        if self.flip:
            # Crops of padded images are flipped, which makes as many different ones
            # as crops of flipped images.
            x = tf.where(draws.uniform(1) < 0.5, x[:, ::-1], x)
        return pixels_at(images, y[:, :, None], x[:, None, :], fill=0)
