"""What a graph says about each kernel."""

import dataclasses
from typing import Any

from keras_convinit.graph.program import Trace
from keras_convinit.kernels import Kernel


@dataclasses.dataclass(frozen=True)
class Site:
    """A kernel, and where in the model it stands.

    Args:
        layer: The layer that it belongs to.
        path: The path of the layer's first call, as in `Call`.
        kernel: The kernel: name, variable, geometry, and of how many copies.
        preceding: The activation that its inputs have gone through since the kernel or
            the sum before: a function, layer or operation such as `forward_scale`
            takes. None for none, or where a normalisation came after it.
        preceded_by_normalization: Whether a normalisation stands between the kernel or
            sum before and this one, be it before the activation or without one.
        following: The activation that its outputs go through: its layer's own, or one
            behind normalisation, dropout, pooling, reshaping and the like. None for
            none.
        normalized: Whether its outputs are normalised before any activation.
        first: Whether no kernel and no activation comes before it.
        classifier: Whether its outputs become an output of the model, with no kernel,
            no sum and no normalisation behind it.
        branch: The number of the residual branch that it is in; None for none.
        last_in_branch: Whether it is the last kernel of the branch.
        branch_factor: What the model itself multiplies the outputs of the branch by.
        absorbed: What its gain is to hold in place of such a factor: 1 / sqrt(B) of the
            last one in a `ScaledResidual` with `absorb`.
        projection: Whether it is the kernel on a shortcut.
        stage: The number of the stage of its residual block; None outside of any.
        block: The place of the block in the stage, from 0; of a stack's first block.
        blocks: B, the number of blocks in the stage; None outside of any.

    Example:
        >>> from keras_convinit.graph import read
        >>> x = keras.Input((4,))
        >>> model = keras.Model(x, x + keras.layers.Dense(4)(x))
        >>> (site,) = read(model).sites
        >>> site.first, site.last_in_branch, site.blocks
        (True, True, 1)
    """

    layer: Any
    path: str
    kernel: Kernel
    preceding: Any = None
    preceded_by_normalization: bool = False
    following: Any = None
    normalized: bool = False
    first: bool = False
    classifier: bool = False
    branch: int | None = None
    last_in_branch: bool = False
    branch_factor: float = 1.0
    absorbed: float = 1.0
    projection: bool = False
    stage: int | None = None
    block: int | None = None
    blocks: int | None = None


@dataclasses.dataclass(frozen=True)
class Conflict:
    """Two answers to one question about a kernel. The first one is in its `Site`.

    Args:
        path: The path of the layer.
        name: The name of the attribute of `Site`.
        values: The answers.
        reason: Where they come from.

    Example:
        >>> from keras_convinit.graph import read
        >>> layer = keras.layers.Dense(4, name="shared")
        >>> x = keras.Input((4,))
        >>> twice = keras.Model(x, layer(layer(x)))
        >>> [conflict.name for conflict in read(twice).conflicts]
        ['first', 'classifier']
    """

    path: str
    name: str
    values: tuple[Any, ...]
    reason: str


@dataclasses.dataclass(frozen=True)
class Unread:
    """A layer that could not be read for certain.

    Args:
        layer: The layer.
        path: The path of its first call.
        reason: What is the matter, and what was assumed.

    Example:
        >>> from keras_convinit.graph import read
        >>> centre = keras.layers.Lambda(lambda x: x - keras.ops.mean(x), name="centre")
        >>> model = keras.Sequential([keras.Input((4,)), centre])
        >>> [entry.reason for entry in read(model).unread]
        ['Lambda is not elementwise, and is taken to be linear']
    """

    layer: Any
    path: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Graph:
    """A model as its kernels, and how they stand to each other.

    Args:
        sites: One for each kernel variable, in the order in which they are first used.
        stages: B, the number of residual blocks, of each stage.
        conflicts: Kernels that are asked for different things.
        unread: Layers that could not be read for certain.
        program: The calls of the model with all composite layers opened.

    Example:
        >>> from keras_convinit.graph import read
        >>> x = inputs = keras.Input((4,))
        >>> for _ in range(3):
        ...     x = x + keras.layers.Dense(4)(x)
        >>> read(keras.Model(inputs, x)).stages
        (3,)
    """

    sites: tuple[Site, ...]
    stages: tuple[int, ...]
    conflicts: tuple[Conflict, ...]
    unread: tuple[Unread, ...]
    program: Trace = dataclasses.field(repr=False, compare=False)
