"""Which values are computed from which."""

from collections.abc import Iterator

import keras

from keras_convinit.graph._effect import Effect, OpKind
from keras_convinit.graph.program import Program, TensorRef


class Ancestry:
    """Which values of a program are computed from which.

    Args:
        program: The program.
        effects: What each of its calls does.
    """

    def __init__(self, program: Program, effects: list[Effect]) -> None:
        self.effects = effects
        # The index of the call that gives a value, for all but the inputs.
        self.producer = {n: c.index for c in program.calls for n in c.outputs}
        # How often a value is read, or is an output of the model.
        self.uses = dict.fromkeys(range(len(program.shapes)), 0)
        # The values that each value is computed from, itself included, as bits.
        self._sources = {n: 1 << n for n in self.uses}
        for call, effect in zip(program.calls, effects, strict=True):
            before = 0
            for number in effect.inputs:
                before |= self._sources[number]
                self.uses[number] += 1
            for number in call.outputs:
                self._sources[number] |= before
        for output in keras.tree.flatten(program.outputs):
            if isinstance(output, TensorRef):
                self.uses[output.id] += 1

    def fork(self, values: list[int]) -> int | None:
        """The last value that all of some values are computed from, if there is one."""
        common = self._sources[values[0]]
        for number in values[1:]:
            common &= self._sources[number]
        # Numbers are given in the order of execution.
        return common.bit_length() - 1 if common else None

    def path(self, fork: int, end: int) -> frozenset[int] | None:
        """The calls from a fork to a value, unless something else comes in between.

        What comes in by a kernel, such as what an attention looks at, is no harm.

        Args:
            fork: The number of the value where the path begins.
            end: The number of the value where it ends.

        Returns:
            The indices of the calls, or None.
        """
        inside = self._sources[end] & ~self._sources[fork]
        values = [n for n in _bits(inside) if self._sources[n] >> fork & 1]
        allowed = {fork, *values}
        calls = frozenset(self.producer[n] for n in values)
        for index in calls:
            effect = self.effects[index]
            if effect.kind is not OpKind.KERNEL and not allowed.issuperset(
                effect.inputs
            ):
                return None
        return calls


def _bits(number: int) -> Iterator[int]:
    while number:
        low = number & -number
        yield low.bit_length() - 1
        number ^= low
