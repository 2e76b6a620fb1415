"""Batches of inputs and labels without end, from data as people have them."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_convinit import _sample

Pair = tuple[Any, Any]


class Stream:
    """Hands out samples, however many are asked for, and begins again at the end.

    Arrays are shuffled anew each time they are gone through; a data set gives its
    samples in its own order.

    Args:
        data: A pair of inputs and labels as arrays, or a data set of batches of such.
        scheme: What the scheme is called.

    Raises:
        ValueError: It is nothing of the kind, or has not two samples at least.
    """

    def __init__(self, data: Any, scheme: str) -> None:
        self._scheme = scheme
        self._generator = np.random.default_rng()
        self._is_set = _sample.is_set(data)
        if self._is_set:
            self._parts = self._of_set(data)
        else:
            self._parts = self._of_arrays(data)
        self._rest: Pair = next(self._parts)
        if self._is_set and _sample.size_of(self._rest) < 2:
            self._rest = joined([self._rest, next(self._parts)])

    def begin(self, seed: int) -> None:
        """Shuffles arrays by that seed, the samples that are next among them."""
        self._generator = np.random.default_rng(seed)
        if not self._is_set:
            self._rest = self._shuffled(self._rest)

    def peek(self) -> Pair:
        """Samples that are next: all of arrays, the first batch of a data set."""
        return self._rest

    def next(self, count: int) -> Pair:
        """The next samples: inputs and labels, nests of numpy arrays.

        Raises:
            ValueError: They are not finite, or the data are at their end for good.
        """
        parts = [self._rest]
        held = _sample.size_of(self._rest)
        while held < count:
            parts.append(next(self._parts))
            held += _sample.size_of(parts[-1])
        everything = joined(parts)
        self._rest = _cut(everything, slice(count, None))
        batch = _cut(everything, slice(count))
        _sample.check_finite("data", batch)
        return batch

    def _shuffled(self, pair: Pair) -> Pair:
        return _cut(pair, self._generator.permutation(_sample.size_of(pair)))

    def _of_arrays(self, data: Any) -> Iterator[Pair]:
        x, y = self._pair(data)
        count = _sample.size_of(x)
        if count < 2:
            raise ValueError(
                f"`data` must have two samples at least for the scheme {self._scheme}. "
                f"Received: data of shape {_sample.shapes((x, y))}"
            )
        yield x, y
        while True:
            yield self._shuffled((x, y))

    def _of_set(self, data: Any) -> Iterator[Pair]:
        seen = 0
        while True:
            before = seen
            for batch in _sample.batches_of_set(data):
                pair = self._pair(batch)
                seen += _sample.size_of(pair)
                yield pair
            if isinstance(data, keras.utils.PyDataset):
                data.on_epoch_end()
            if seen == before:
                raise ValueError(
                    "`data` must have at least one batch, and begin again when it is "
                    "at its end, unless it has enough samples. "
                    f"Received: data={data!r}, at its end after {seen} samples"
                )
            if seen < 2:
                raise ValueError(
                    f"`data` must have two samples at least for the scheme "
                    f"{self._scheme}. Received: data={data!r}, with {seen}"
                )

    def _pair(self, batch: Any) -> Pair:
        if not isinstance(batch, tuple | list) or not 2 <= len(batch) <= 3:
            raise ValueError(
                f"`data` must be inputs and labels for the scheme {self._scheme}: a "
                "pair of arrays, or a data set of batches that are such pairs. "
                f"Received: {type(batch).__name__}"
            )
        x, y = (_sample.arrays("data", part) for part in batch[:2])
        _sample.check_same_size(x, y)
        return x, y


def joined(parts: list[Pair]) -> Pair:
    """Batches as one."""
    if len(parts) == 1:
        return parts[0]
    return keras.tree.map_structure(lambda *leaves: np.concatenate(leaves), *parts)


def _cut(pair: Pair, chosen: Any) -> Pair:
    return keras.tree.map_structure(lambda leaf: leaf[chosen], pair)
