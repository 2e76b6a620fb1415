"""Regularizers and constraints of a block, applied to a stack of blocks."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

# Sums over the weights, which do not mind an axis more.
SUMS = (keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2)


def regularizer_per_block(regularizer: Any) -> Callable[[Any], Any] | None:
    """The sum over the blocks of what the regularizer gives for each."""
    if regularizer is None or type(regularizer) in SUMS:
        return regularizer
    return lambda stack: ops.sum(_map(regularizer, stack))


def constraint_per_block(constraint: Any) -> Callable[[Any], Any] | None:
    """Constrains each block by itself."""
    if constraint is None:
        return None
    return lambda stack: _map(constraint, stack)


def _map(function: Callable[[Any], Any], stack: Any) -> Any:
    return ops.vectorized_map(function, ops.convert_to_tensor(stack))
