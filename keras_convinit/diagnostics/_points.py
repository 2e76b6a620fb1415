"""The values to derive for: those of variables, of a stack one for each block."""

from collections.abc import Iterator, Sequence
from typing import Any

from keras import ops


class Points:
    """Values of trainable variables, of which a stack's are taken apart into rows.

    Args:
        trainable: The trainable variables of a model.
        stacks: The stacks in it.
        values: The values of its variables, those first that are trained.
    """

    def __init__(
        self, trainable: Sequence[Any], stacks: Sequence[Any], values: Sequence[Any]
    ) -> None:
        self._trainable = list(trainable)
        self._blocks = {
            id(variable): stack.num_blocks
            for stack in stacks
            for variable in stack.weights
        }
        self.values: list[Any] = []
        self._index: dict[tuple[int, int | None], int] = {}
        for variable, value in zip(trainable, values, strict=False):
            blocks = self._blocks.get(id(variable))
            if blocks is None:
                self._index[id(variable), None] = len(self.values)
                self.values.append(value)
                continue
            for number, row in enumerate(ops.unstack(value, blocks, axis=0)):
                self._index[id(variable), number] = len(self.values)
                self.values.append(row)

    def at(self, values: Sequence[Any]) -> "Points":
        """The same points with other values."""
        other = object.__new__(Points)
        other.__dict__.update(self.__dict__, values=list(values))
        return other

    def stacks(self) -> Iterator[tuple[Any, list[Any]]]:
        """The variables of stacks that are trained and regularized, with their rows."""
        for variable in self._trainable:
            blocks = self._blocks.get(id(variable))
            if blocks is not None and variable.regularizer is not None:
                numbers = (self._index[id(variable), n] for n in range(blocks))
                yield variable, [self.values[number] for number in numbers]

    def index(self, variable: Any, number: int | None = None) -> int | None:
        """Where the value of a variable is, or its row for a block."""
        return self._index.get((id(variable), number))

    def row(self, variable: Any, number: int, whole: Any) -> Any:
        """The row of a variable of a stack: a point, or one of its whole value."""
        index = self.index(variable, number)
        return whole[number] if index is None else self.values[index]

    def whole(self, values: Sequence[Any]) -> list[Any]:
        """The values of all variables, with those that are points in their place."""
        found = list(values)
        for place, variable in enumerate(self._trainable):
            index = self.index(variable)
            if index is not None:
                found[place] = self.values[index]
        return found
