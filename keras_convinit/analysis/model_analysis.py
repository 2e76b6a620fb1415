"""The analysis of a model: its kernels and their surroundings."""

import dataclasses
import functools
import numbers
from collections.abc import Iterator, Mapping
from typing import Any

from keras_convinit._types import Tensor
from keras_convinit.analysis.program import Program
from keras_convinit.kernels import Kernel


@dataclasses.dataclass(frozen=True)
class KernelContext:
    """A kernel and its surroundings in the model.

    Args:
        layer: The layer that it belongs to.
        path: The path of the layer's first call, as in `LayerCall`.
        kernel: The kernel: name, variable, geometry, and of how many copies.
        preceding: The activation that its inputs have gone through since the kernel or
            the sum before, with the numbers that the model multiplies by: a function,
            layer or operation such as `forward_scale` takes. None for none, or where a
            normalization came after it.
        preceded_by_normalization: Whether a normalization stands between the kernel or
            sum before and this one, be it before the activation or without one.
        following: The activation that its outputs go through: its layer's own, or one
            behind normalization, dropout, pooling, reshaping and the like. None for
            none.
        normalized: Whether its outputs are normalized before any activation.
        first: Whether no kernel and no activation comes before it.
        classifier: Whether its outputs become an output of the model, with no kernel,
            no sum and no normalization behind it.
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
        >>> from keras_convinit.analysis import analyze
        >>> x = keras.Input((4,))
        >>> model = keras.Model(x, x + keras.layers.Dense(4)(x))
        >>> (site,) = analyze(model).kernels
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
    """Two answers to one question about a kernel; its `KernelContext` has the first.

    Args:
        path: The path of the layer.
        name: The name of the attribute of `KernelContext`.
        values: The answers.
        reason: Where they come from.

    Example:
        >>> from keras_convinit.analysis import analyze
        >>> layer = keras.layers.Dense(4, name="shared")
        >>> x = keras.Input((4,))
        >>> twice = keras.Model(x, layer(layer(x)))
        >>> [conflict.name for conflict in analyze(twice).conflicts]
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
        >>> from keras_convinit.analysis import analyze
        >>> center = keras.layers.Lambda(lambda x: x - keras.ops.mean(x), name="center")
        >>> model = keras.Sequential([keras.Input((4,)), center])
        >>> [entry.reason for entry in analyze(model).unread]
        ['Lambda is not elementwise, and is taken to be linear']
    """

    layer: Any
    path: str
    reason: str


@dataclasses.dataclass(frozen=True)
class ModelAnalysis:
    """The analysis of a model: its kernels, and how they are connected.

    Args:
        kernels: A context for each kernel variable, in the order of first use.
        stages: B, the number of residual blocks, of each stage.
        conflicts: Shared kernels whose calls imply different rules.
        unread: Layers that could not be read for certain.
        program: The calls of the model with all composite layers opened.

    Example:
        >>> from keras_convinit.analysis import analyze
        >>> x = inputs = keras.Input((4,))
        >>> for _ in range(3):
        ...     x = x + keras.layers.Dense(4)(x)
        >>> analyze(keras.Model(inputs, x)).stages
        (3,)
    """

    kernels: tuple[KernelContext, ...]
    stages: tuple[int, ...]
    conflicts: tuple[Conflict, ...]
    unread: tuple[Unread, ...]
    program: Program = dataclasses.field(repr=False, compare=False)

    @functools.cached_property
    def branches(self) -> Mapping[int | None, tuple[KernelContext, ...]]:
        """Returns the kernels of each residual branch; under None, all others."""
        branches: dict[int | None, list[KernelContext]] = {}
        for context in self.kernels:
            branches.setdefault(context.branch, []).append(context)
        return {number: tuple(contexts) for number, contexts in branches.items()}

    def describe_doubts(self) -> Iterator[str]:
        """Yields a sentence for each conflict, and for what could not be read."""
        for conflict in self.conflicts:
            values = " or ".join(map(_name, conflict.values))
            yield (
                f"{conflict.path}: {conflict.name} may be {values} "
                f"({conflict.reason}); the first was taken"
            )
        yield from self.describe_unread()

    def describe_unread(self) -> Iterator[str]:
        """Yields a sentence for each reason for which layers could not be read."""
        by_reason: dict[str, list[str]] = {}
        for each in self.unread:
            # Layers of one class are told together, whatever each of them is called.
            of_class = each.reason.replace(f"{each.layer!r} of class ", "")
            by_reason.setdefault(of_class, []).append(each.path)
        for reason, (first, *others) in by_reason.items():
            more = f" and {len(others)} more" if others else ""
            yield f"{first}{more}: {reason}"


def _name(value: Tensor) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, numbers.Real):
        return str(value) if isinstance(value, bool) else f"{float(value):.4g}"
    return getattr(value, "__name__", None) or type(value).__name__
