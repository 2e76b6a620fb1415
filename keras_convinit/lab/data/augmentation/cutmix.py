"""A piece of one image in another."""

import dataclasses
from typing import Any

from keras_convinit._checks import check_positive
from keras_convinit.lab.data import _tensorflow as tf
from keras_convinit.lab.data.augmentation._draws import Draws
from keras_convinit.lab.data.augmentation._rectangle import rectangle
from keras_convinit.lab.data.augmentation.augmentation import MixingAugmentation


@dataclasses.dataclass(frozen=True)
class CutMix(MixingAugmentation):
    """Replaces a rectangle of each image by that of another; labels go by the area.

    The rectangle is the same for all images of a batch, as in the authors' code, and
    has the proportions of the image. Its center may be any pixel; what lies outside is
    cut off, and the weight of the labels is the area that is left.
    `keras.layers.CutMix` is not used: it knows no seed of a batch, and no batch that
    several processes share.

    Args:
        alpha: The share that is kept, before anything is cut off, is drawn from
            Beta(alpha, alpha).

    Example:
        >>> from keras_convinit.lab.data.augmentation import CutMix
        >>> import tensorflow as tf
        >>> images, labels = tf.zeros((2, 32, 32, 3), "uint8"), tf.eye(2, 10)
        >>> images, labels = CutMix()(images, labels, seed=[0, 1])

    Reference:
        Yun et al. 2019, *CutMix*, eq. 1 and 2.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_positive("alpha", self.alpha)

    def mixed(
        self, images: tuple[Any, Any], labels: tuple[Any, Any], draws: Draws
    ) -> tuple[Any, Any]:
        """The images with pieces of others in them."""
        size = tf.constant(images[0].shape[1:3].as_list(), tf.float32)
        sides = tf.cast(size * (1.0 - draws.beta(self.alpha, "batch")) ** 0.5, tf.int32)
        # One center, whatever the size of the batch.
        center = tf.random.stateless_uniform((2,), draws.new_seed()) * size
        corner = tf.cast(center, tf.int32) - sides // 2
        piece = rectangle(corner[0], corner[1], sides[0], sides[1], images[0])
        replaced = tf.reduce_mean(tf.cast(piece, tf.float32))
        own, partner = labels
        return (
            tf.where(piece, images[1], images[0]),
            (1.0 - replaced) * own + replaced * partner,
        )
