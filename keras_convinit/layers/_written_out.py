"""Blocks of a stack as layers of their own."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_convinit.layers._copies import copy_layer, seeds_for_copies
from keras_convinit.layers.scaled_residual import ScaledResidual


def written_out(
    branch: Any,
    input_shape: Any,
    num_blocks: int,
    stage_blocks: int,
    values: Mapping[int, Sequence[np.ndarray]],
    name: str,
    dtype: Any,
) -> list[ScaledResidual]:
    """Some blocks of a stack, built.

    Args:
        branch: The layer that is in each block.
        input_shape: The shape of its inputs.
        num_blocks: How many blocks the stack has.
        stage_blocks: How many the stage has.
        values: Number of a block -> the values of its weights.
        name: That of the stack.
        dtype: The dtype policy of the stack.

    Returns:
        A block for each of the values. Where the branch has seeds that are given, each
        has its own.
    """
    seeds = seeds_for_copies(branch, num_blocks)
    blocks = []
    for index, row in values.items():
        numbers = iter(seeds[index].tolist())

        def reseed(seed: Any, _: bool, numbers: Any = numbers) -> Any:
            number = next(numbers)
            return seed if seed is None else number

        block_name = f"{name}_block_{index}"
        # Parts that are built as they are copied have the block in their paths.
        with keras.name_scope(block_name):
            copy = copy_layer(branch, reseed)
        block = ScaledResidual(copy, stage_blocks, name=block_name, dtype=dtype)
        block.build(input_shape)
        for variable, value in zip(block.branch.weights, row, strict=True):
            variable.assign(value)
        blocks.append(block)
    return blocks
