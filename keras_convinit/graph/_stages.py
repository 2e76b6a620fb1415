"""Stages: residual blocks of one width and size, one after the other."""

from typing import Any

import keras

from keras_convinit.graph._blocks import Block
from keras_convinit.graph._effect import Effect, OpKind
from keras_convinit.graph.program import Program, Shape
from keras_convinit.kernels import Kernel


def stages_of(
    program: Program,
    effects: list[Effect],
    blocks: list[Block],
    kernels: list[tuple[Kernel, ...]],
) -> list[int]:
    """To which stage each residual block belongs.

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
    """For each value the block that gave it, if there was no kernel since."""
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
