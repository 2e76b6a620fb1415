"""Regularizers and constraints of a block, applied to a stack of blocks."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

# Sums over the weights, which do not mind an axis more.
SUMS = (keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2)


class _SummedOverBlocks(keras.regularizers.Regularizer):
    """The sum over the blocks of what a regularizer gives for each."""

    def __init__(self, regularizer: Callable[[Any], Any]) -> None:
        self.regularizer = regularizer

    def __call__(self, x: Any) -> Any:
        return ops.sum(_map(self.regularizer, x))


class _EachBlock(keras.constraints.Constraint):
    """Constrains each block by itself."""

    def __init__(self, constraint: Callable[[Any], Any]) -> None:
        self.constraint = constraint

    def __call__(self, w: Any) -> Any:
        return _map(self.constraint, w)


def regularizer_per_block(regularizer: Any) -> Any:
    """The regularizer of a stack, for that of a block."""
    if regularizer is None or type(regularizer) in SUMS:
        return regularizer
    return _SummedOverBlocks(regularizer)


def constraint_per_block(constraint: Any) -> Any:
    """The constraint of a stack, for that of a block."""
    return None if constraint is None else _EachBlock(constraint)


def _map(function: Callable[[Any], Any], stack: Any) -> Any:
    return ops.vectorized_map(function, ops.convert_to_tensor(stack))
