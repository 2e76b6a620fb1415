"""Opens layers that are made of layers, so that their parts can be seen at work.

Register third-party layers with `expand.register`.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_convinit._kinds import calls_as
from keras_convinit._masks import MaskPreservingOperation, attach_mask
from keras_convinit._types import KerasLayer, Nest, Tensor
from keras_convinit.analysis.program import as_input
from keras_convinit.kernels import kernels_of
from keras_convinit.layers import ScaledResidual, ScaledResidualStack

Apply = Callable[..., Any]


@functools.singledispatch
def expand(layer: KerasLayer, apply: Apply, /, *arguments: Any, **keywords: Any) -> Any:
    """Writes a call of a composite layer as calls of its parts.

    Known are our residual layers, and layers of any class that is not Keras' whose
    `call` consists of layers and `keras.ops`, gives its outputs and does nothing else.
    A subclass with a `call` of its own is not opened as its base is. For another layer,
    with a part that is a layer, a model or an operation:

        @keras_convinit.analysis.expand.register
        def _(layer: MyBlock, apply, inputs):
            return apply(keras.layers.Add(), [inputs, apply(layer.inner, inputs)])

    Args:
        layer: The layer, built.
        apply: `apply(part, *arguments, **keywords)` stands for a call of a part, and
            gives its outputs.
        *arguments: The positional arguments of the call, tensors among them.
        **keywords: The arguments by keyword.

    Returns:
        The outputs of the layer; `NotImplemented` for a layer that is not known here,
        which then stays whole.

    Example:
        >>> from keras_convinit.analysis import trace
        >>> dense = keras.layers.Dense(4, name="dense")
        >>> block = keras_convinit.layers.ScaledResidual(dense, 2, name="block")
        >>> model = keras.Sequential([keras.Input((4,)), block])
        >>> [call.path for call in trace(model, open_composites=True).calls]
        ['block/dense', 'block/scaled_sum']
    """
    return NotImplemented


@expand.register
def _(layer: ScaledResidual, apply: Apply, inputs: Nest, **_: Any) -> Any:
    inputs = _cast(layer, apply, inputs)
    branch = apply(layer.branch, inputs)
    through = inputs if layer.shortcut is None else apply(layer.shortcut, inputs)
    factor = 1 / math.sqrt(layer.num_blocks)
    absorbed = 1.0
    if layer.absorb:
        factor, absorbed = 1.0, factor
    total = ScaledSum(factor, layer.compute_dtype, absorbed=absorbed)
    return apply(total, through, branch)


@expand.register
def _(
    layer: ScaledResidualStack,
    apply: Apply,
    inputs: Nest,
    mask: Tensor = None,
    **_: Any,
) -> Any:
    # Layers of their own, with copies of the weights: values are right, but what is
    # done to these weights is not done to the stack.
    inputs = with_mask(apply, inputs, mask)
    for block in layer.unrolled():
        inputs = apply(block, inputs)
    return inputs


def find_expander(layer: KerasLayer) -> Callable[..., Any]:
    """Returns the function that `expand` has for a layer and that is true of it.

    A subclass with a `call` of its own is not what its base is: what is registered for
    layers of any class then decides.

    Args:
        layer: A layer or an operation.
    """
    cls: Any = layer.__class__
    known = next(each for each in cls.__mro__ if each in expand.registry)
    general = known in (object, keras.layers.Layer)
    # A base without a `call` is registered for those that its subclasses have.
    abstract = getattr(known, "call", None) is keras.layers.Layer.call
    if general or abstract or calls_as(layer, known):
        return expand.registry[known]
    return expand.dispatch(keras.layers.Layer)


def is_rewritten(layer: KerasLayer) -> bool:
    """Returns True for a residual layer of ours with a `call` of the user's own.

    Its kernels are then known only if they are registered for its class.

    Args:
        layer: A layer or an operation.
    """
    cls: Any = layer.__class__
    return any(
        isinstance(layer, known)
        and not calls_as(layer, known)
        and kernels_of.dispatch(cls) is kernels_of.dispatch(known)
        for known in (ScaledResidual, ScaledResidualStack)
    )


def _cast(layer: KerasLayer, apply: Apply, inputs: Nest) -> Any:
    dtype = layer.compute_dtype
    return inputs if inputs.dtype == dtype else apply(Cast(inputs.shape, dtype), inputs)


@functools.singledispatch
def enter_stack(
    layer: KerasLayer, apply: Apply, /, *arguments: Any, **keywords: Any
) -> Any:
    """Converts the inputs of a stack to those of its first block.

    Together with `apply_block` it opens a stack as calls of its own template.

    Args:
        layer: A layer of any class.
        apply: As of `expand`.
        *arguments: The positional arguments of the call, tensors among them.
        **keywords: The arguments by keyword.

    Returns:
        The inputs of the first block; `NotImplemented` for a layer that is no stack.
    """
    return NotImplemented


@enter_stack.register
def _(
    layer: ScaledResidualStack,
    apply: Apply,
    inputs: Nest,
    mask: Tensor = None,
    **_: Any,
) -> Any:
    if not calls_as(layer, ScaledResidualStack):
        return NotImplemented
    return _cast(layer, apply, with_mask(apply, inputs, mask))


def apply_block(
    stack: ScaledResidualStack, apply: Apply, x: Tensor, count: int = 1
) -> Any:
    """Writes a block of a stack as calls of its template and of a scaled sum.

    Args:
        stack: The stack.
        apply: As of `expand`.
        x: The inputs of the block.
        count: How many blocks in a row it stands for.

    Returns:
        The outputs of the block.
    """
    total = ScaledSum(stack.branch_factor, stack.compute_dtype, count)
    return apply(total, x, apply(stack.branch, x))


def with_mask(apply: Apply, x: Tensor, mask: Tensor) -> Any:
    """Attaches a mask to a tensor, unless it is None."""
    return x if mask is None else apply(Masked(x.shape, x.dtype), x, mask)


class ScaledSum(MaskPreservingOperation):
    """shortcut + factor * branch: how a scaled residual block ends.

    It has the mask of the shortcut.

    Args:
        factor: What the branch is multiplied by.
        dtype: The dtype of the sum.
        count: How many blocks in a row this one stands for.
        absorbed: What the gain of the branch's last kernel holds in place of a factor.

    Example:
        >>> from keras_convinit.analysis import ScaledSum
        >>> float(ScaledSum(0.5, "float32")(np.ones(1), np.ones(1))[0])
        1.5
    """

    def __init__(
        self, factor: float, dtype: str, count: int = 1, absorbed: float = 1.0
    ) -> None:
        super().__init__(name="scaled_sum")
        self.factor = factor
        self.count = count
        self.absorbed = absorbed
        self.dtype = dtype

    def call(self, shortcut: Any, branch: Any) -> Any:
        """Adds up."""
        branch = ops.cast(branch, self.dtype)
        if self.factor != 1:
            branch = branch * self.factor
        return ops.cast(shortcut, self.dtype) + branch

    def compute_output_spec(self, shortcut: Any, branch: Any) -> Any:
        """Returns the spec of the shortcut."""
        return keras.KerasTensor(shortcut.shape, dtype=self.dtype)


class Cast(MaskPreservingOperation):
    """Converts a tensor to what a model or layer takes.

    Args:
        shape: The shape that is taken; a last axis of length 1 is added or removed.
        dtype: The dtype that is taken.

    Example:
        >>> from keras_convinit.analysis import Cast
        >>> tuple(Cast((None, 1), "float32")(np.ones(3)).shape)
        (3, 1)
    """

    def __init__(self, shape: Any, dtype: str) -> None:
        super().__init__(name="cast")
        self.shape = tuple(shape)
        self.dtype = dtype

    def call(self, x: Tensor) -> Any:
        """Converts the tensor."""
        return as_input(x, self.shape, self.dtype)

    def compute_output_spec(self, x: Tensor) -> Any:
        """Returns the spec that is taken, with known dimensions of the tensor."""
        shape = self.shape if len(x.shape) != len(self.shape) else x.shape
        return keras.KerasTensor(shape, dtype=self.dtype)


class Masked(Cast):
    """Gives a tensor a mask, as a call does that is given one for it."""

    def call(self, x: Tensor, mask: Tensor = None) -> Any:
        """Returns the tensor with the mask."""
        return attach_mask(x, mask)

    def compute_output_spec(self, x: Tensor, mask: Tensor = None) -> Any:
        """Returns the spec of the tensor."""
        return super().compute_output_spec(x)
