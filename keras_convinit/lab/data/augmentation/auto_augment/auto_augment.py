"""The augmentation policy that was learned on CIFAR-10."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from keras_convinit.lab.checks import one_of, whole
from keras_convinit.lab.data import _tensorflow as tf
from keras_convinit.lab.data.augmentation._draws import Draws
from keras_convinit.lab.data.augmentation.augmentation import ImageAugmentation
from keras_convinit.lab.data.augmentation.auto_augment import _affine, _lookup
from keras_convinit.lab.data.augmentation.auto_augment._enhance import color, sharpness
from keras_convinit.lab.data.augmentation.auto_augment.policy import (
    CIFAR,
    Operation,
    Policy,
)

Function = Callable[[Any, Any], Any]

# What is done to many images at once, with an argument for each.
AFFINE = "affine"
TABLE = "table"
WITH_FACTOR: dict[str, Function] = {
    "Contrast": _lookup.contrast,
    "Color": color,
    "Sharpness": sharpness,
}
WITHOUT: dict[str, Function] = {
    "AutoContrast": _lookup.auto_contrast,
    "Equalize": _lookup.equalize,
}
OPERATIONS = (*_affine.AFFINE, *_lookup.FIXED, *WITH_FACTOR, *WITHOUT)


@dataclasses.dataclass(frozen=True)
class AutoAugment(ImageAugmentation):
    """Two operations on each image, of a pair that is drawn for it.

    Keras has no AutoAugment; its `RandAugment` draws one operation for all images of a
    batch, and computes all of them. Here each image has its own, and only what was
    drawn is computed, for all images that drew it together.

    Levels, colors and rounding are those of the authors' code for CIFAR, which uses
    the Python Imaging Library. It differs from Table 6 of the paper in posterising to
    2 bits at level 7, in translations by up to 10 pixels of 32, and in that it fills
    with the mean color of CIFAR, to which a fill of 128 is close.

    Args:
        policy: Pairs of `Operation`; the default is that of the paper for CIFAR.
        fill: What comes into view from outside the image, 0 to 255.

    Example:
        >>> from keras_convinit.lab.data.augmentation import AutoAugment
        >>> import tensorflow as tf
        >>> images, labels = tf.zeros((2, 32, 32, 3), "uint8"), tf.eye(2, 10)
        >>> images, labels = AutoAugment()(images, labels, seed=[0, 1])

    Reference:
        Cubuk et al. 2019, *AutoAugment: Learning Augmentation Strategies from Data*,
        Table 7.
    """

    policy: Policy = dataclasses.field(default=CIFAR, repr=False)
    fill: int = 128
    stage: ClassVar[str] = "pixels"
    eight_bit: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= whole("fill", self.fill, 0) <= 255:
            raise ValueError(
                f"`fill` must be an integer from 0 to 255. Received: fill={self.fill}"
            )
        _check(self.policy)

    def changed(self, images: Any, draws: Draws) -> Any:
        """The images, as the drawn pairs would have them."""
        if images.shape[3] not in (1, 3):
            raise ValueError(
                "`images` must be gray or of three colors: 1 or 3 channels. "
                f"Received: images.shape={tuple(images.shape)}"
            )
        dtype = images.dtype
        if dtype != tf.uint8:
            images = tf.cast(tf.round(tf.clip_by_value(images, 0, 255)), tf.uint8)
        pair = draws.integers(len(self.policy))
        for operations in zip(*self.policy, strict=True):
            chance = tf.constant([o.probability for o in operations])
            acts = draws.uniform() < tf.gather(chance, pair)
            direction = draws.integers(2)
            images = self._step(images, operations, acts, pair, direction)
        return tf.cast(images, dtype)

    def _step(
        self,
        images: Any,
        operations: Sequence[Operation],
        acts: Any,
        which: Any,
        direction: Any,
    ) -> Any:
        """One of the operations on each image for which `acts` is true."""
        groups = sorted({_group(o.name) for o in operations})
        # Number 0 is to be left alone.
        number_of = [1 + groups.index(_group(o.name)) for o in operations]
        numbers = tf.where(acts, tf.gather(number_of, which), 0)

        def parts(values: Any) -> Any:
            return tf.dynamic_partition(values, numbers, 1 + len(groups))

        places = parts(tf.range(tf.shape(images)[0]))
        done, *todo = parts(images)
        rows = parts(2 * which + direction)[1:]
        results = [done]
        for group, some, row in zip(groups, todo, rows, strict=True):
            arguments = _arguments(group, operations, images.shape[1], images.shape[2])
            results.append(self._function(group)(some, tf.gather(arguments, row)))
        return tf.ensure_shape(tf.dynamic_stitch(places, results), images.shape)

    def _function(self, group: str) -> Function:
        if group == AFFINE:
            return functools.partial(_affine.transformed, fill=self.fill)
        if group == TABLE:
            return _lookup.by_fixed_table
        return {**WITH_FACTOR, **WITHOUT}[group]


def _group(name: str) -> str:
    """Operations of one group are done by one function."""
    if name in _affine.AFFINE:
        return AFFINE
    return TABLE if name in _lookup.FIXED else name


def _arguments(
    group: str, operations: Sequence[Operation], height: int, width: int
) -> np.ndarray:
    """What the function of a group needs for each operation, there and back again.

    Returns:
        `(2 operations, ...)`, of which the rows of other groups are never asked for.
    """

    def argument(operation: Operation, sign: int) -> Any:
        mine = _group(operation.name) == group
        name, _, level = operation
        if group == AFFINE:
            return _affine.matrix(name, level, sign, height, width) if mine else [0] * 6
        if group == TABLE:
            return _lookup.fixed_table(name if mine else "Invert", level)
        return _lookup.factor(level)

    values = [argument(o, sign) for o in operations for sign in (1, -1)]
    return np.array(values, np.int32 if group == AFFINE else None)


def _check(policy: Any) -> None:
    """Says what is wrong with a policy."""
    try:
        hash(policy)
        pairs = [(Operation(*first), Operation(*second)) for first, second in policy]
    except (TypeError, ValueError):
        pairs = []  # What is wrong with it matters less than what would be right.
    if not pairs:
        raise ValueError(
            "`policy` must be a tuple of pairs of operations, each a name, a "
            f"probability and a level. Received: policy={policy!r}"
        )
    for name, probability, level in itertools.chain(*pairs):
        one_of("name", name, OPERATIONS)
        if not 0 <= probability <= 1:
            raise ValueError(
                "`probability` must be a number from 0 to 1. "
                f"Received: probability={probability!r}"
            )
        if whole("level", level, 0) > 10:
            raise ValueError(
                f"`level` must be an integer from 0 to 10. Received: level={level}"
            )
