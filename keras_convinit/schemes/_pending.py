"""Values that variables are to have, before they have them."""

from typing import Any

import keras
from keras import ops


class Pending:
    """A scope in which a model has other values, so that all or nothing is assigned.

    Args:
        variables: All variables of the model.
    """

    def __init__(self, variables: list[Any]) -> None:
        # Cut from what they come from: PyTorch would keep every activation for the
        # gradient of a weight.
        values = [(v, ops.stop_gradient(v.value)) for v in variables]
        self.scope = keras.StatelessScope(values, initialize_variables=False)
        self._set: dict[int, tuple[Any, Any]] = {}

    def get(self, variable: Any) -> Any:
        """The value, in float32 or the wider dtype of the variable."""
        value = self.scope.get_current_value(variable)
        if value is None:
            value = variable.value
        dtype = keras.backend.result_type(variable.dtype, "float32")
        return ops.cast(value, dtype)

    def put(self, variable: Any, value: Any) -> None:
        """Sets the value."""
        value = ops.cast(value, variable.dtype)
        self.scope.add_update((variable, value))
        # What a layer updates on the way, such as averages, is not for the model.
        self._set[id(variable)] = variable, value

    def lend(self, variable: Any, value: Any) -> None:
        """Sets a value that is not for the model: that of a template."""
        self.scope.add_update((variable, value))

    def commit(self) -> None:
        """Assigns what was set."""
        for variable, value in self._set.values():
            variable.assign(value)
