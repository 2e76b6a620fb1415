"""The sizes of variables, as what is searched for: a positive number for each."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_convinit.layers import stacked_variables_of
from keras_convinit.schemes._other_variables import leaves


@dataclasses.dataclass(frozen=True)
class Scaled:
    """A variable that is multiplied by a number.

    Args:
        variable: The variable, one of those that are trained.
        position: Its place among these.
        copies: In a stack, how many rows there are, each with a number of its own.
        is_bias: Whether it is added to what its layer gives.
        layer: The class of its layer.
    """

    variable: Any
    position: int
    copies: int
    is_bias: bool
    layer: str


class Scales:
    """Which variables are multiplied by the entries of a vector, one for each copy.

    Args:
        model: A built model.
        chosen: Whether a variable is to be among them, by it and the rank of one copy.
    """

    def __init__(self, model: keras.Model, chosen: Callable[[Any, int], bool]) -> None:
        positions = {id(v): i for i, v in enumerate(model.trainable_variables)}
        self.entries: list[Scaled] = []
        for variable, copies, rank, is_bias, layer in _described(model):
            if id(variable) in positions and chosen(variable, rank):
                position = positions.pop(id(variable))
                self.entries.append(Scaled(variable, position, copies, is_bias, layer))
        ends = np.cumsum([entry.copies for entry in self.entries], dtype=int)
        self._parts = [
            slice(int(end) - entry.copies, int(end))
            for entry, end in zip(self.entries, ends, strict=True)
        ]
        self.size = int(ends[-1]) if self.entries else 0

    def each(self, numbers: Sequence[Any]) -> np.ndarray:
        """A vector with that number of each entry for all its copies."""
        pairs = zip(self.entries, numbers, strict=True)
        return np.concatenate([np.full(entry.copies, x) for entry, x in pairs])

    def applied(self, values: list[Any], scales: Any) -> list[Any]:
        """The values of the trained variables, scaled."""
        values = list(values)
        for entry, part in zip(self.entries, self._parts, strict=True):
            value = values[entry.position]
            factor = ops.cast(scales[part], value.dtype)
            values[entry.position] = value * _like_rows(factor, value, entry.copies)
        return values

    def slopes(self, values: list[Any], gradients: list[Any]) -> Any:
        """The derivatives by the scales: <gradient, value>, where both are unscaled."""
        return ops.concatenate(
            [
                _row_sums(values[e.position] * gradients[e.position], e.copies)
                for e in self.entries
            ]
        )

    def norms(self) -> np.ndarray:
        """The norms of the variables as they are, of each copy."""
        found = []
        for entry in self.entries:
            value = ops.convert_to_numpy(entry.variable).astype("float64")
            rows = value.reshape(entry.copies, -1)
            found.append(np.linalg.norm(rows, axis=1))
        return np.concatenate(found)

    def scaled(self, scales: np.ndarray) -> Iterator[tuple[Scaled, np.ndarray]]:
        """Each entry with the value of its variable, multiplied."""
        for entry, factors in self.of(scales):
            value = ops.convert_to_numpy(entry.variable)
            shape = (-1,) + (1,) * (value.ndim - 1) if entry.copies > 1 else ()
            yield entry, (value * factors.reshape(shape)).astype(value.dtype)

    def of(self, scales: np.ndarray) -> Iterator[tuple[Scaled, np.ndarray]]:
        """Each entry with its scales."""
        for entry, part in zip(self.entries, self._parts, strict=True):
            yield entry, scales[part]


def _like_rows(factor: Any, value: Any, copies: int) -> Any:
    ranks = len(value.shape)
    return ops.reshape(factor, (copies, *[1] * (ranks - 1)) if copies > 1 else ())


def _row_sums(products: Any, copies: int) -> Any:
    axes = tuple(range(1, len(products.shape))) if copies > 1 else None
    sums = ops.cast(ops.sum(products, axis=axes), "float32")
    return ops.reshape(sums, (copies,))


def _described(model: keras.Model) -> Iterator[tuple[Any, int, int, bool, str]]:
    """Each variable of the model, its rows, the rank of one, and what it is of.

    The latter are whether it is a bias, and the class of its layer.
    """
    done: set[int] = set()
    for layer in leaves(model):
        name = type(layer).__name__
        stacked = stacked_variables_of(layer)
        if stacked:
            biases = _biases(layer.branch)
            rows = [
                (
                    pair.variable,
                    layer.num_blocks,
                    len(pair.template.shape),
                    id(pair.template) in biases,
                    name,
                )
                for pair in stacked
            ]
        else:
            biases = _biases(layer)
            rows = [(v, 1, len(v.shape), id(v) in biases, name) for v in layer.weights]
        for row in rows:
            if id(row[0]) not in done:
                done.add(id(row[0]))
                yield row
    for variable in model.weights:
        if id(variable) not in done:
            yield variable, 1, len(variable.shape), False, type(model).__name__


def _biases(layer: Any) -> set[int]:
    """Identities of what is added: `bias` of linear layers, `beta` of normalisation."""
    parts = [part for leaf in leaves(layer) for part in _with_parts(leaf)]
    found = [getattr(part, name, None) for part in parts for name in ("bias", "beta")]
    return {id(variable) for variable in found if variable is not None}


def _with_parts(layer: Any) -> Iterator[Any]:
    yield layer
    if isinstance(layer, keras.layers.Wrapper):
        yield from _with_parts(layer.layer)
