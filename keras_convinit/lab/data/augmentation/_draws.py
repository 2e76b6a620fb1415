"""Random numbers for a batch that do not depend on who holds which part of it."""

import dataclasses
import itertools
from typing import Any

from keras_convinit.lab.data import _tensorflow as tf


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """Which images of a batch are at hand, where several processes share it.

    Args:
        index: `(count,)`, int32: the number of each of them in the whole batch.
        total: How many images the whole batch has.
    """

    index: Any
    total: int


class Draws:
    """Random numbers for the images of a batch: every call draws new ones.

    They are drawn for the whole batch and then taken for the rows at hand. A few
    numbers an image cost nothing, and so two processes with half a batch each do what
    one would do with all of it.

    Args:
        seed: Two int32. What is drawn depends on it and on the number of the call.
        images: The images at hand.
        rows: Which ones they are; None for the whole batch.
    """

    def __init__(self, seed: Any, images: Any, rows: Rows | None = None) -> None:
        self.seed = seed
        self.rows = rows
        self.total = tf.shape(images)[0] if rows is None else rows.total
        self.number = itertools.count()

    def new_seed(self) -> Any:
        """Two int32 for numbers that nobody else draws."""
        return tf.random.fold_in(self.seed, next(self.number))

    def uniform(self, *shape: int) -> Any:
        """Float32 in [0, 1): `(count, *shape)`."""
        return self._own(
            tf.random.stateless_uniform((self.total, *shape), self.new_seed())
        )

    def normal(self, *shape: int) -> Any:
        """Float32 with mean 0 and deviation 1: `(count, *shape)`."""
        return self._own(
            tf.random.stateless_normal((self.total, *shape), self.new_seed())
        )

    def integers(self, bound: int, *shape: int) -> Any:
        """Int32 from 0 to `bound - 1`: `(count, *shape)`."""
        drawn = tf.random.stateless_uniform(
            (self.total, *shape), self.new_seed(), maxval=bound, dtype=tf.int32
        )
        return self._own(drawn)

    def beta(self, alpha: float, per: str) -> Any:
        """Float32 by Beta(alpha, alpha): `(count,)`, or one for all if per "batch"."""
        shape = () if per == "batch" else (self.total,)

        def log_gamma() -> Any:
            # Gamma(alpha) is Gamma(alpha + 1) times a power of a uniform number; its
            # logarithm is finite where for a small alpha the number itself is 0.
            larger = tf.random.stateless_gamma(shape, self.new_seed(), alpha + 1.0)
            share = 1.0 - tf.random.stateless_uniform(shape, self.new_seed())
            return tf.math.log(larger) + tf.math.log(share) / alpha

        drawn = tf.sigmoid(log_gamma() - log_gamma())
        return drawn if per == "batch" else self._own(drawn)

    def _own(self, drawn: Any) -> Any:
        return drawn if self.rows is None else tf.gather(drawn, self.rows.index)
