"""What each call with kernels is in its model."""

import dataclasses
from typing import Any

import keras

from keras_convinit.graph._blocks import Block, blocks_of
from keras_convinit.graph._effect import Effect
from keras_convinit.graph._factors import with_factors
from keras_convinit.graph._flow import (
    Downstream,
    Upstream,
    fates,
    joined,
    origins,
    together,
)
from keras_convinit.graph._stages import stages_of
from keras_convinit.graph.program import LayerCall, Program, TensorRef
from keras_convinit.kernels import Kernel


@dataclasses.dataclass(frozen=True)
class Role:
    """What a call is in its model.

    Args:
        origin: What its inputs have gone through.
        fate: What becomes of its outputs.
        place: The attributes of a `KernelContext` that tell of residual blocks.
    """

    origin: Upstream
    fate: Downstream
    place: dict[str, Any]


def roles_of(
    program: Program, effects: list[Effect], kernels: list[tuple[Kernel, ...]]
) -> tuple[list[Role], tuple[int, ...], list[tuple[LayerCall, str]]]:
    """What each call is in its model.

    Args:
        program: The program.
        effects: What each of its calls does.
        kernels: The kernels of the layer of each call.

    Returns:
        A role for each call, the number of blocks of each stage, and the calls of which
        something is not counted, with the reason.
    """
    inputs = _numbers(program.inputs)
    before = origins(program, effects, inputs)
    effects, doubts = with_factors(program, effects, before)
    before = origins(program, effects, inputs)
    after = fates(program, effects, _numbers(program.outputs), before)
    blocks = blocks_of(program, effects, before, kernels)
    stages = stages_of(program, effects, blocks, kernels)
    sizes = [0] * len(set(stages))
    places: dict[int, dict[str, Any]] = {}
    firsts = []
    for block, stage in zip(blocks, stages, strict=True):
        firsts.append(sizes[stage])
        sizes[stage] += block.count
    branches = 0
    # What is inside of two blocks belongs to the inner one, whose sum comes first.
    for block, stage, first in zip(blocks, stages, firsts, strict=True):
        of_block = {"stage": stage, "block": first, "blocks": sizes[stage]}
        for index, place in _places(block, branches):
            places.setdefault(index, {**of_block, **place})
        branches += len(block.branches)
    roles = [
        Role(
            joined([before[n] for n in effect.inputs]),
            together([after[n] for n in call.outputs if n in after]),
            places.get(call.index, {}),
        )
        for call, effect in zip(program.calls, effects, strict=True)
    ]
    return roles, tuple(sizes), doubts


def _places(block: Block, number: int) -> Any:
    for index in block.shortcut:
        yield index, {"projection": True}
    for offset, (branch, last) in enumerate(
        zip(block.branches, block.last, strict=True)
    ):
        for index in branch:
            is_last = index in last
            yield (
                index,
                {
                    "branch": number + offset,
                    "last_in_branch": is_last,
                    "branch_factor": block.factor,
                    "absorbed": block.absorbed if is_last else 1.0,
                },
            )


def _numbers(structure: Any) -> set[int]:
    flat = keras.tree.flatten(structure)
    return {value.id for value in flat if isinstance(value, TensorRef)}
