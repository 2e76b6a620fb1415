"""Values that variables are to have, before they have them."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_convinit._precision import at_least_float32


class Pending:
    """What is to become of a model, so that all of it is assigned or nothing.

    Schemes put values here, and read here what schemes before them have put.

    Args:
        model: The model.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._set: dict[int, tuple[Any, Any]] = {}
        self._scope: keras.StatelessScope | None = None

    def __len__(self) -> int:
        return len(self._set)

    def variables(self) -> list[Any]:
        """The variables that have a value here, in the order in which they got it."""
        return [variable for variable, _ in self._set.values()]

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """While it lasts, the model computes with the values that were put.

        What layers update meanwhile, such as averages, is not for the model.
        """
        # Cut from what they come from: PyTorch would keep every activation for the
        # gradient of a weight.
        values = [(v, ops.stop_gradient(self._now(v))) for v in self._model.variables]
        self._scope = keras.StatelessScope(values, initialize_variables=False)
        try:
            with self._scope:
                yield
        finally:
            self._scope = None

    def value(self, variable: Any) -> Any:
        """What a variable has: what was put or lent, or what it has been."""
        lent = None if self._scope is None else self._scope.get_current_value(variable)
        return self._now(variable) if lent is None else lent

    def get(self, variable: Any) -> Any:
        """The value, in float32 or the wider dtype of the variable."""
        dtype = at_least_float32(variable.dtype)
        return ops.cast(self.value(variable), dtype)

    def put(self, variable: Any, value: Any) -> None:
        """Sets the value."""
        value = ops.stop_gradient(ops.cast(value, variable.dtype))
        self._set[id(variable)] = variable, value
        if self._scope is not None:
            self._scope.add_update((variable, value))

    def lend(self, variable: Any, value: Any) -> None:
        """Sets a value that is not for the model: that of a template."""
        assert self._scope is not None
        self._scope.add_update((variable, value))

    @contextlib.contextmanager
    def assigned(self) -> Iterator[None]:
        """While it lasts, the variables have the values; then they have their own."""
        before = _values(self._model.variables)
        try:
            self._assign()
            yield
        finally:
            _restore(before)

    def commit(self) -> None:
        """Assigns what was put, all of it or nothing."""
        before = _values(variable for variable, _ in self._set.values())
        try:
            self._assign()
        except BaseException:
            _restore(before)
            raise

    def _now(self, variable: Any) -> Any:
        known = self._set.get(id(variable))
        return variable.value if known is None else known[1]

    def _assign(self) -> None:
        for variable, value in self._set.values():
            variable.assign(value)


def _values(variables: Iterable[Any]) -> list[tuple[Any, np.ndarray]]:
    return [(v, np.array(ops.convert_to_numpy(v))) for v in variables]


def _restore(before: list[tuple[Any, np.ndarray]]) -> None:
    for variable, value in before:
        variable.assign(value)
