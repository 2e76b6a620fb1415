"""Keeps the masks of tensors where Keras alone would lose them.

A mask is an attribute of a tensor that only the call of a layer reads and writes. So
there are layers here, which do nothing else.
"""

import functools
from collections.abc import Callable
from typing import Any

import keras

from keras_convinit._types import Tensor, TensorFunction


def keep_mask(x: Tensor, function: TensorFunction) -> Tensor:
    """Applies a function to a tensor, and gives the result the tensor's mask.

    Args:
        x: A tensor.
        function: Function from a tensor to a tensor.

    Returns:
        The result.
    """
    return _get_layers()[0](x, function=function)


def get_mask(x: Tensor) -> Tensor | None:
    """Returns the mask of a tensor; None for none."""
    return _get_layers()[1](x)


def attach_mask(x: Tensor, mask: Tensor | None) -> Tensor:
    """Returns a tensor with a mask, unless that is None or the tensor has one."""
    return x if mask is None else _get_layers()[2](x, mask=mask)


def make_repeatable(
    function: Callable[..., Any], args: Any, kwargs: dict[str, Any]
) -> Callable[[], Any]:
    """Binds arguments with their masks, for a call that can be made several times.

    Some layers, such as attention, take the masks off the tensors that they are given.

    Args:
        function: Layer or function to call.
        args: Its positional arguments.
        kwargs: Its keyword arguments.

    Returns:
        A function without arguments.
    """
    flat = keras.tree.flatten((args, kwargs))
    masks = [get_mask(x) if keras.ops.is_tensor(x) else None for x in flat]

    def call() -> Any:
        given = [attach_mask(*pair) for pair in zip(flat, masks, strict=True)]
        again, keywords = keras.tree.pack_sequence_as((args, kwargs), given)
        return function(*again, **keywords)

    return call


class _Plain(keras.layers.Layer):
    """Layer that passes its inputs on in the precision that they have."""

    def __init__(self) -> None:
        # At the root of a graph, TensorFlow refuses names that begin as the classes do.
        name = f"keras_convinit{type(self).__name__}"
        super().__init__(autocast=False, dtype="float32", name=name)
        self.supports_masking = True


class _KeepMask(_Plain):
    def call(self, x: Tensor, function: TensorFunction) -> Tensor:
        return function(x)


class _GetMask(_Plain):
    def call(self, x: Tensor, mask: Tensor | None = None) -> Tensor | None:
        return mask

    def compute_mask(self, x: Tensor, previous_mask: Tensor | None = None) -> None:
        return None


class _AttachMask(_Plain):
    def call(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return x


@functools.cache
def _get_layers() -> tuple[_KeepMask, _GetMask, _AttachMask]:
    # Made at the first use: there is no layer before there is a backend.
    return _KeepMask(), _GetMask(), _AttachMask()


class MaskPreservingOperation(keras.Operation):
    """Operation whose outputs have the mask of its first argument."""

    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Calls the operation."""
        call = super().__call__
        return keep_mask(x, lambda x: call(x, *args, **kwargs))
