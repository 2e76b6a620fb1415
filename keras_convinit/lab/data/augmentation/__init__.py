"""Augmentations of a batch: each a function of its seed, vectorized over the images.

What stands in this package is what Keras has not, or has otherwise; each class says
what. Besides, random layers of Keras draw from a generator that counts its calls, while
here an epoch has to be the same wherever training started, and a batch the same however
many processes share it.

Manifold Mixup is not here: it mixes what is inside of a network, and so is a part of
that, not of what happens to images.
"""

from keras_convinit.lab.data.augmentation._draws import Rows
from keras_convinit.lab.data.augmentation.augmentation import (
    STAGES,
    Augmentation,
    ImageAugmentation,
    MixingAugmentation,
)
from keras_convinit.lab.data.augmentation.auto_augment import AutoAugment
from keras_convinit.lab.data.augmentation.crop_flip import CropFlip
from keras_convinit.lab.data.augmentation.cutmix import CutMix
from keras_convinit.lab.data.augmentation.cutout import Cutout
from keras_convinit.lab.data.augmentation.mixup import Mixup
from keras_convinit.lab.data.augmentation.random_erasing import RandomErasing

__all__ = [
    "STAGES",
    "Augmentation",
    "AutoAugment",
    "CropFlip",
    "CutMix",
    "Cutout",
    "ImageAugmentation",
    "MixingAugmentation",
    "Mixup",
    "RandomErasing",
    "Rows",
]
