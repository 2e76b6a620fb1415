"""AutoAugment: the policy as data, and each kind of operation in a file of its own."""

from keras_convinit.lab.data.augmentation.auto_augment.auto_augment import AutoAugment
from keras_convinit.lab.data.augmentation.auto_augment.policy import CIFAR, Operation

__all__ = ["CIFAR", "AutoAugment", "Operation"]
