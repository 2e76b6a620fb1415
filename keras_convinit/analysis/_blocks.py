"""Finds residual blocks and the stages that they make up."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras

from keras_convinit.analysis._effect import Effect, OpKind, is_addition
from keras_convinit.analysis._flow import Upstream, find_factors
from keras_convinit.analysis.composites import ScaledSum
from keras_convinit.analysis.program import LayerCall, Program, Shape, TensorRef
from keras_convinit.kernels import Kernel


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
        """Returns the last common ancestor of values, if there is one."""
        common = self._sources[values[0]]
        for number in values[1:]:
            common &= self._sources[number]
        # Numbers are given in the order of execution.
        return common.bit_length() - 1 if common else None

    def path(self, fork: int, end: int) -> frozenset[int] | None:
        """Returns the calls from a fork to a value; None if others come in between.

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
        absorbed: What the gains of the last kernels hold in place of a factor.
    """

    end: int
    fork: int
    shortcut: tuple[int, ...]
    branches: tuple[frozenset[int], ...]
    last: tuple[frozenset[int], ...]
    factor: float
    count: int
    absorbed: float


def find_blocks(
    program: Program,
    effects: list[Effect],
    origins: dict[int, Upstream],
    kernels: list[tuple[Kernel, ...]],
) -> list[Block]:
    """Finds the residual blocks of a program, in order of their sums.

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
    return _Finder(program, effects, origins, kernels).blocks()


class _Finder:
    def __init__(
        self,
        program: Program,
        effects: list[Effect],
        origins: dict[int, Upstream],
        kernels: list[tuple[Kernel, ...]],
    ) -> None:
        self.program = program
        self.calls = program.calls
        self.effects = effects
        self.origins = origins
        self.kernels = kernels
        self.ancestry = Ancestry(program, effects)

    def blocks(self) -> list[Block]:
        found: list[Block] = []
        within: set[int] = set()
        for call, effect in zip(
            reversed(self.calls), reversed(self.effects), strict=True
        ):
            is_sum = effect.kind is OpKind.SUM and is_addition(call.layer)
            if not is_sum or call.index in within:
                continue
            # One plus after the other may be one sum, or sums one after the other.
            terms, sums = self._terms(call)
            block = self._block(call, terms)
            if block is not None:
                within |= sums
            elif sums:
                block = self._block(call, list(effect.inputs))
            if block is not None:
                found.append(block)
        return found[::-1]

    def _terms(self, call: LayerCall) -> tuple[list[int], set[int]]:
        """Returns the terms of a nested sum, and the sums that it consists of."""
        terms: list[int] = []
        sums: set[int] = set()
        for number in self.effects[call.index].inputs:
            index = self.ancestry.producer.get(number)
            inner = None if index is None else self.calls[index]
            if (
                inner is not None
                and self.ancestry.uses[number] == 1
                and self.effects[inner.index].kind is OpKind.SUM
                and is_addition(inner.layer)
                and not isinstance(inner.layer, ScaledSum)
            ):
                further, deeper = self._terms(inner)
                terms += further
                sums |= {inner.index, *deeper}
            else:
                terms.append(number)
        return terms, sums

    def _block(self, call: LayerCall, terms: list[int]) -> Block | None:
        fork = self.ancestry.fork(terms)
        if fork is None:
            return None
        found = [self.ancestry.path(fork, term) for term in terms]
        paths = [path for path in found if path is not None]
        if len(paths) < len(terms):
            return None
        shortcut, branches = self._sides(call, paths)
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
            tuple(paths[i] for i in branches),
            last,
            factor[0],
            call.layer.count if scaled else 1,
            call.layer.absorbed if scaled else 1.0,
        )

    def _sides(
        self, call: LayerCall, paths: list[frozenset[int]]
    ) -> tuple[int | None, list[int]]:
        """Splits the terms of a sum into shortcut and branches."""
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

    def _with_kernels(self, path: frozenset[int]) -> list[int]:
        return [i for i in path if self.effects[i].kind is OpKind.KERNEL]

    def _field(self, path: frozenset[int]) -> int:
        return sum(k.geometry.receptive_field for i in path for k in self.kernels[i])

    def _last(
        self, number: int, path: frozenset[int], factor: list[float]
    ) -> Iterator[int]:
        index = self.ancestry.producer.get(number)
        if index is None or index not in path:
            return
        effect = self.effects[index]
        if effect.kind is OpKind.KERNEL:
            yield index
            return
        factor[0] *= 1.0 if effect.factor is None else effect.factor
        before = effect.inputs
        if effect.kind is OpKind.PRODUCT:
            before = find_factors(effect, self.origins, self.program)
        for inner in before:
            yield from self._last(inner, path, factor)


def find_stages(
    program: Program,
    effects: list[Effect],
    blocks: list[Block],
    kernels: list[tuple[Kernel, ...]],
) -> list[int]:
    """Assigns each residual block to a stage.

    A stage goes on as long as a block begins with what the one before gives, without a
    kernel in between. A block opens another one if it begins with another size than
    the one before gave, if it has another width, or if it changes the size by a
    projection. So it is with its projection that it opens it. Where a size is changed
    without a kernel and behind the fork, as by pooling on the shortcut, the stage goes
    on, as in the second version of ResNet.

    Args:
        program: The program.
        effects: What each of its calls does.
        blocks: Its residual blocks.
        kernels: The kernels of the layer of each call.

    Returns:
        The index of its stage for each block.
    """
    stream = _streams(
        program, effects, {block.end: i for i, block in enumerate(blocks)}
    )
    stages: list[int] = []
    for block in blocks:
        before = stream.get(block.fork)
        if before is None or _opens(program, blocks[before], block, kernels):
            stages.append(max(stages, default=-1) + 1)
        else:
            stages.append(stages[before])
    return stages


def _streams(
    program: Program, effects: list[Effect], ends: dict[int, int]
) -> dict[int, Any]:
    """Returns the block of each value that has passed no kernel since."""
    stream: dict[int, Any] = {}
    for call, effect in zip(program.calls, effects, strict=True):
        before = None
        if call.index in ends:
            before = ends[call.index]
        elif effect.kind is not OpKind.KERNEL and len(effect.inputs) == 1:
            before = stream.get(effect.inputs[0])
        stream.update(dict.fromkeys(call.outputs, before))
    return stream


def _opens(
    program: Program, before: Block, block: Block, kernels: list[tuple[Kernel, ...]]
) -> bool:
    given, begun, given_on = (
        program.shapes[number]
        for number in (
            program.calls[before.end].outputs[0],
            block.fork,
            program.calls[block.end].outputs[0],
        )
    )
    if begun != given or _width(given_on) != _width(given):
        return True
    # A size may be unknown, but not a stride.
    strides = [k.geometry.stride for i in block.shortcut for k in kernels[i]]
    projects = bool(block.shortcut)
    return projects and (given_on != given or any(stride > 1 for stride in strides))


def _width(shape: Shape) -> int | None:
    first = keras.config.image_data_format() == "channels_first" and len(shape) > 2
    return shape[1 if first else -1]
