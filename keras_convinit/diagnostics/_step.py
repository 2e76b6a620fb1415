"""A layer at work, without numbers."""

import dataclasses
from typing import Any

from keras_convinit.kernels import Kernel


@dataclasses.dataclass(frozen=True)
class Step:
    """A layer at work: all that is known of it without numbers.

    Args:
        path: Its name, with those of the models around it.
        layer: The layer or operation.
        sources: Where its inputs come from: the indices of earlier steps, and -1, -2
            and so on for the inputs of the model.
        channels: Channels of its output.
        positions: Positions of its output, in one sample.
        kernels: Its kernels.
        points: Which of the values that can be trained belong to it.
        block: Where it is one of a stack: the stack, and the number of the block.
        unread: Whether it has matrices of weights of which nothing is known.
        infinite: Whether it is given an infinite number, as for padding before pooling.
    """

    path: str
    layer: Any
    sources: tuple[int, ...]
    channels: int
    positions: int
    kernels: tuple[Kernel, ...]
    points: tuple[int, ...]
    block: tuple[Any, int] | None
    unread: bool = False
    infinite: bool = False
