"""Two images on top of each other."""

import dataclasses
from typing import Any

from keras_convinit._checks import check_positive
from keras_convinit.lab.checks import one_of
from keras_convinit.lab.data import _tensorflow as tf
from keras_convinit.lab.data.augmentation._draws import Draws
from keras_convinit.lab.data.augmentation.augmentation import MixingAugmentation


@dataclasses.dataclass(frozen=True)
class Mixup(MixingAugmentation):
    """lambda times each image, and label, plus 1 - lambda times another of the batch.

    Args:
        alpha: lambda is drawn from Beta(alpha, alpha): uniform for 1, close to 0 or 1
            for small numbers.
        per: `"batch"`, one lambda for all, as in the authors' code and that of
            GradInit; or `"sample"`, one for each image, which is what
            `keras.layers.MixUp` does. That layer is not used: it knows no seed of a
            batch, and no batch that several processes share.

    Example:
        >>> from keras_convinit.lab.data.augmentation import Mixup
        >>> import tensorflow as tf
        >>> images, labels = tf.zeros((2, 32, 32, 3), "uint8"), tf.eye(2, 10)
        >>> images, labels = Mixup()(images, labels, seed=[0, 1])

    Reference:
        Zhang et al. 2018, *mixup: Beyond Empirical Risk Minimization*, eq. 2.
    """

    alpha: float = 1.0
    per: str = "batch"

    def __post_init__(self) -> None:
        check_positive("alpha", self.alpha)
        one_of("per", self.per, ("batch", "sample"))

    def mixed(
        self, images: tuple[Any, Any], labels: tuple[Any, Any], draws: Draws
    ) -> tuple[Any, Any]:
        """The weighted sums."""
        share = draws.beta(self.alpha, self.per)

        def sum_of(own: Any, partner: Any) -> Any:
            weight = share
            if self.per == "sample":
                weight = tf.reshape(share, (-1, *[1] * (len(own.shape) - 1)))
            return weight * own + (1.0 - weight) * partner

        return sum_of(*images), sum_of(*labels)
