"""The initial values of many copies of a layer, stacked."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import keras
import numpy as np
from keras import ops

from keras_convinit import backend
from keras_convinit.layers import _parts
from keras_convinit.layers._copies import copy_layer, seeds_for_copies

# Up to here copies are made sooner than a program that does without.
FEW = 48

Result = TypeVar("Result")


def initial_values(layer: Any, input_shape: Any, number: int) -> list[np.ndarray]:
    """What the weights of independent copies of a layer start from.

    Each copy has seeds of its own in place of all that are in the layer's
    configuration, given or not. Otherwise the values are those of copies made and
    built one by one, also where a gain is computed from the kernel of the same copy.

    To make a thousand copies takes most of a minute, so of many only two are made, and
    all are drawn by a program that must come to the same for those two. Where it does
    not, as with an initializer that gets its numbers from numpy, all are made.

    Args:
        layer: A layer or model.
        input_shape: The shape of its inputs.
        number: How many copies.

    Returns:
        For each of the layer's weights an array with a leading axis of `number`.
    """
    seeds = seeds_for_copies(layer, number)
    if number > FEW:
        drawn = _drawn(layer, input_shape, seeds)
        two = _built(layer, input_shape, seeds[:2])
        if drawn is not None and all(map(_agree, two, drawn)):
            return drawn
    return _built(layer, input_shape, seeds)


def _agree(few: np.ndarray, many: np.ndarray) -> bool:
    few, many = few.astype("float64"), many[: len(few)].astype("float64")
    return np.allclose(few, many, rtol=1e-3, atol=1e-6)


def _built(layer: Any, input_shape: Any, seeds: np.ndarray) -> list[np.ndarray]:
    copies = []
    for row in seeds.tolist():
        numbers = iter(row)
        copies.append(copy_layer(layer, lambda *_, numbers=numbers: next(numbers)))

    def build() -> list[list[np.ndarray]]:
        for copy in copies:
            _parts.build(copy, input_shape)
        return [list(map(ops.convert_to_numpy, _values(copy))) for copy in copies]

    return [np.stack(values) for values in zip(*_apart(build), strict=True)]


def _drawn(layer: Any, input_shape: Any, seeds: np.ndarray) -> list[np.ndarray] | None:
    def draw() -> list[np.ndarray]:
        generators = [keras.random.SeedGenerator(0) for _ in range(seeds.shape[1])]
        rest = iter(generators)

        def reseed(seed: Any, of_initializer: bool) -> Any:
            generator = next(rest)
            return generator if of_initializer else seed

        # A variable without a value asks its initializer whenever it is read, and the
        # variables of this copy never get theirs.
        with keras.StatelessScope(initialize_variables=False):
            copy = copy_layer(layer, reseed)
            _parts.build(copy, input_shape)

        def values(row: Any) -> list[Any]:
            (numbers,) = row
            states = ops.stack([numbers, ops.zeros_like(numbers)], axis=-1)
            return _values(
                copy,
                [
                    (generator.state, ops.cast(states[i], generator.state.dtype))
                    for i, generator in enumerate(generators)
                ],
            )

        return backend.map_rows(values, [seeds.astype("int32")])

    try:
        return _apart(draw)
    except Exception:
        # Whatever does not like to be treated like that is built as usual.
        return None


def _values(layer: Any, states: Sequence[tuple[Any, Any]] = ()) -> list[Any]:
    values = []
    with keras.StatelessScope(initialize_variables=False) as scope:
        for variable in layer.weights:
            for state in states:
                scope.add_update(state)
            values.append(variable.value)
            # Another initial value may be computed from this one.
            scope.add_update((variable, values[-1]))
    return values


def _apart(function: Callable[[], Result]) -> Result:
    """Calls the function where no scope is open.

    A layer may be built while its model is traced, with variables that have no values
    yet and in the precision of its computation. All of that belongs to the thread.
    """
    with ThreadPoolExecutor(
        max_workers=1,
        initializer=keras.config.set_dtype_policy,
        initargs=(keras.config.dtype_policy(),),
    ) as executor:
        return executor.submit(function).result()
