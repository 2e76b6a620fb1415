"""Batches of inputs and labels without end."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_convinit import _data
from keras_convinit._data import Batch, concatenate_batches


class Stream:
    """Hands out samples, however many are asked for, and begins again at the end.

    Arrays are shuffled anew each time they are gone through; a data set gives its
    samples in its own order.

    Args:
        model: The model that takes them.
        data: A pair of inputs and labels as arrays, or a data set of batches of such.
        scheme: What the scheme is called.

    Raises:
        ValueError: It is nothing of the kind, or has not two samples at least.
    """

    def __init__(self, model: Any, data: Any, scheme: str) -> None:
        self._model = model
        self._scheme = scheme
        self._generator = np.random.default_rng()
        self._is_set = _data.is_dataset(data)
        self._parts = self._of_set(data) if self._is_set else self._of_arrays(data)
        self._rest = next(self._parts)
        least = _data.get_batch_size(model) or 2
        while self._is_set and self._rest.size < least:
            self._rest = concatenate_batches([self._rest, next(self._parts)])

    def begin(self, seed: int) -> None:
        """Shuffles arrays by that seed, the samples that are next among them."""
        self._generator = np.random.default_rng(seed)
        if not self._is_set:
            self._rest = self._shuffled(self._rest)

    def peek(self) -> Batch:
        """Samples that are next: all of arrays, the first batch of a data set."""
        return self._rest

    def next(self, count: int) -> Batch:
        """The next samples.

        Raises:
            ValueError: They are not finite, or the data are at their end for good.
        """
        parts = [self._rest]
        held = self._rest.size
        while held < count:
            parts.append(next(self._parts))
            held += parts[-1].size
        everything = concatenate_batches(parts)
        self._rest = everything.rows(slice(count, None))
        batch = everything.rows(slice(count))
        _data.check_finite("data", (batch.x, batch.y, batch.weights))
        return batch

    def _shuffled(self, batch: Batch) -> Batch:
        return batch.rows(self._generator.permutation(batch.size))

    def _of_arrays(self, data: Any) -> Iterator[Batch]:
        batch = self._with_labels(
            _data.take_first_batch(self._model, data, name="data", at_once=False)
        )
        if batch.size < 2:
            raise ValueError(
                f"`data` must have two samples at least for the scheme {self._scheme}. "
                f"Received: data of shape {_data.show_shapes((batch.x, batch.y))}"
            )
        yield batch
        while True:
            yield self._shuffled(batch)

    def _of_set(self, data: Any) -> Iterator[Batch]:
        seen = 0
        while True:
            before = seen
            for batch in _data.iterate_batches(self._model, data, "data"):
                seen += batch.size
                yield self._with_labels(batch)
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

    def _with_labels(self, batch: Batch) -> Batch:
        if batch.y is None:
            raise ValueError(
                f"`data` must be inputs and labels for the scheme {self._scheme}: a "
                "pair of arrays, or a data set of batches that are such pairs. "
                f"Received: data of shape {_data.show_shapes(batch.x)}, without labels"
            )
        return batch
