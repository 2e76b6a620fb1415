"""Residual blocks: sums whose terms come from one signal."""

import dataclasses
from collections.abc import Iterator

import keras

from keras_convinit.graph._effect import Effect, Kind, is_addition
from keras_convinit.graph._flow import Origin, factors_of
from keras_convinit.graph.composites import ScaledSum
from keras_convinit.graph.program import Call, Trace, Value
from keras_convinit.kernels import Kernel


@dataclasses.dataclass(frozen=True)
class Block:
    """A sum of a shortcut and one or several branches.

    Args:
        end: The index of the call that adds up.
        fork: The number of the value that both begin with.
        shortcut: The indices of the calls with kernels on the shortcut: one at most.
        branches: The indices of the calls of each branch.
        last: The indices of the calls with the last kernels of each branch.
        factor: What the branches are multiplied by behind their last kernels.
        count: How many such blocks there are in a row, of which this is the pattern.
    """

    end: int
    fork: int
    shortcut: tuple[int, ...]
    branches: tuple[frozenset[int], ...]
    last: tuple[frozenset[int], ...]
    factor: float
    count: int


def blocks_of(
    program: Trace,
    effects: list[Effect],
    origins: dict[int, Origin],
    kernels: list[tuple[Kernel, ...]],
) -> list[Block]:
    """The residual blocks of a program, in order of their sums.

    A block is a sum of which all terms come from one value, and one of them, the
    shortcut, by no more than one kernel. A product, as with a gate, makes no block.

    Args:
        program: The program.
        effects: What each of its calls does.
        origins: What each of its values has gone through.
        kernels: The kernels of the layer of each call.

    Returns:
        The blocks.
    """
    return list(_Finder(program, effects, origins, kernels).blocks())


class _Finder:
    def __init__(
        self,
        program: Trace,
        effects: list[Effect],
        origins: dict[int, Origin],
        kernels: list[tuple[Kernel, ...]],
    ) -> None:
        self.program = program
        self.calls = program.calls
        self.effects = effects
        self.origins = origins
        self.kernels = kernels
        self.producer = {n: c.index for c in self.calls for n in c.outputs}
        # The values that each value is computed from, itself included, as bits.
        self.sources = {n: 1 << n for n in range(len(program.shapes))}
        self.uses = dict.fromkeys(self.sources, 0)
        for call, effect in zip(self.calls, effects, strict=True):
            before = 0
            for number in effect.inputs:
                before |= self.sources[number]
                self.uses[number] += 1
            for number in call.outputs:
                self.sources[number] |= before
        for output in keras.tree.flatten(program.outputs):
            if isinstance(output, Value):
                self.uses[output.id] += 1

    def blocks(self) -> Iterator[Block]:
        for call, effect in zip(self.calls, self.effects, strict=True):
            if effect.kind is Kind.SUM and is_addition(call.layer):
                block = self._block(call)
                if block is not None:
                    yield block

    def _block(self, call: Call) -> Block | None:
        terms = list(self._terms(call))
        common = self.sources[terms[0]]
        for term in terms[1:]:
            common &= self.sources[term]
        if not common:
            return None
        fork = common.bit_length() - 1
        paths = [self._path(fork, term) for term in terms]
        if None in paths:
            return None
        shortcut, branches = self._sides(call, [path or frozenset() for path in paths])
        if shortcut is None:
            return None
        scaled = isinstance(call.layer, ScaledSum)
        factor = [call.layer.factor if scaled else 1.0]
        last = tuple(
            frozenset(self._last(terms[i], paths[i], factor)) for i in branches
        )
        return Block(
            call.index,
            fork,
            tuple(sorted(self._with_kernels(paths[shortcut]))),
            tuple(paths[i] or frozenset() for i in branches),
            last,
            factor[0],
            call.layer.count if scaled else 1,
        )

    def _terms(self, call: Call) -> Iterator[int]:
        """What is added up, also where that is done by one plus after the other."""
        for number in self.effects[call.index].inputs:
            index = self.producer.get(number)
            inner = None if index is None else self.calls[index]
            if (
                inner is not None
                and self.uses[number] == 1
                and self.effects[inner.index].kind is Kind.SUM
                and is_addition(inner.layer)
                and not isinstance(inner.layer, ScaledSum)
            ):
                yield from self._terms(inner)
            else:
                yield number

    def _path(self, fork: int, term: int) -> frozenset[int] | None:
        """The calls from a fork to a term, unless something else is added on the way.

        What comes in by a kernel, such as what an attention looks at, is no harm.
        """
        inside = self.sources[term] & ~self.sources[fork]
        values = [n for n in _bits(inside) if self.sources[n] >> fork & 1]
        allowed = {fork, *values}
        calls = frozenset(self.producer[n] for n in values)
        for index in calls:
            effect = self.effects[index]
            if effect.kind is not Kind.KERNEL and not allowed.issuperset(effect.inputs):
                return None
        return calls

    def _sides(
        self, call: Call, paths: list[frozenset[int]]
    ) -> tuple[int | None, list[int]]:
        """Which term is the shortcut, and which ones are branches."""
        order = range(len(paths))
        counts = [len(self._with_kernels(path)) for path in paths]
        if 0 in counts:
            branches = [i for i in order if counts[i]]
            return (counts.index(0) if branches else None), branches
        if isinstance(call.layer, ScaledSum):
            return 0, [1]
        fields = [self._field(path) for path in paths]
        first, second, *_ = sorted(zip(counts, fields, order, strict=True))
        # Of two that are alike neither is a shortcut.
        if first[0] > 1 or first[:2] == second[:2]:
            return None, []
        return first[2], [i for i in order if i != first[2]]

    def _with_kernels(self, path: frozenset[int] | None) -> list[int]:
        return [i for i in path or () if self.effects[i].kind is Kind.KERNEL]

    def _field(self, path: frozenset[int]) -> int:
        return sum(k.geometry.receptive_field for i in path for k in self.kernels[i])

    def _last(
        self, number: int, path: frozenset[int] | None, factor: list[float]
    ) -> Iterator[int]:
        index = self.producer.get(number)
        if index is None or index not in (path or ()):
            return
        effect = self.effects[index]
        if effect.kind is Kind.KERNEL:
            yield index
            return
        layer = self.calls[index].layer
        if isinstance(layer, keras.layers.Rescaling):
            factor[0] *= layer.scale
        before = effect.inputs
        if effect.kind is Kind.PRODUCT:
            before = factors_of(effect, self.origins, self.program)
        for inner in before:
            yield from self._last(inner, path, factor)


def _bits(number: int) -> Iterator[int]:
    while number:
        low = number & -number
        yield low.bit_length() - 1
        number ^= low
