"""Writes out a stack in blocks that all run its own template, row by row."""

from typing import Any

import keras

from keras_convinit._masks import HandsMaskOn
from keras_convinit.graph import ScaledSum, open_up
from keras_convinit.graph.composites import Cast, with_mask
from keras_convinit.layers import ScaledResidualStack


class BlockBegins(HandsMaskOn):
    """Stands where a block of a stack begins; lets the signal pass.

    Args:
        stack: The stack.
        index: The number of the block, from 0.
    """

    def __init__(self, stack: ScaledResidualStack, index: int) -> None:
        super().__init__(name="block_begins")
        self.stack = stack
        self.index = index

    def call(self, x: Any) -> Any:
        """What comes in."""
        return x

    def compute_output_spec(self, x: Any) -> Any:
        """The shape of what comes in."""
        return keras.KerasTensor(x.shape, dtype=x.dtype)

    def pairs(self) -> list[tuple[Any, Any]]:
        """Variables of the template, and those of the stack that hold their rows."""
        template = self.stack._branch
        return list(zip(template.weights, self.stack._stacked, strict=True))


class BlockEnds(BlockBegins):
    """Stands where a block of a stack ends; lets the signal pass."""


def open_in_blocks(layer: Any, apply: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Writes a call as calls of parts, as `open_up` does.

    The blocks of a stack are not copies: all are the template that the stack holds,
    between a `BlockBegins`, where it has to be given its row of each variable, and a
    `BlockEnds`.
    """
    if not isinstance(layer, ScaledResidualStack):
        return open_up(layer, apply, *args, **kwargs)
    x = args[0] if args else kwargs["inputs"]
    x = with_mask(apply, x, kwargs.get("mask"))
    if x.dtype != layer.compute_dtype:
        x = apply(Cast(x.shape, layer.compute_dtype), x)
    for index in range(layer.num_blocks):
        x = apply(BlockBegins(layer, index), x)
        total = ScaledSum(layer.branch_factor, layer.compute_dtype)
        x = apply(total, x, apply(layer._branch.layer, x))
        x = apply(BlockEnds(layer, index), x)
    return x
