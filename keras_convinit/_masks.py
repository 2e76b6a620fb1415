"""Masks that tensors carry, where Keras alone would lose them.

A mask is an attribute of a tensor that only the call of a layer reads and writes. So
there are layers here, which do nothing else.
"""

import functools
from collections.abc import Callable
from typing import Any

import keras


def keep_mask(x: Any, function: Callable[[Any], Any]) -> Any:
    """What a function makes of a tensor, with the mask that the tensor has.

    Args:
        x: A tensor.
        function: From it to another one.

    Returns:
        What the function gives.
    """
    return _layers()[0](x, function=function)


def get_mask(x: Any) -> Any:
    """The mask of a tensor, None for none."""
    return _layers()[1](x)


def attach_mask(x: Any, mask: Any) -> Any:
    """A tensor with a mask, unless that is None or the tensor has one."""
    return x if mask is None else _layers()[2](x, mask=mask)


def make_repeatable(
    function: Callable[..., Any], args: Any, kwargs: dict[str, Any]
) -> Callable[[], Any]:
    """A call that can be made several times.

    Some layers, such as attention, take the masks off the tensors that they are given.

    Args:
        function: What is called.
        args: Its arguments.
        kwargs: Those by keyword.

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
    """Lets everything pass as it is, in whatever precision."""

    def __init__(self) -> None:
        # At the root of a graph, TensorFlow refuses names that begin as the classes do.
        name = f"keras_convinit{type(self).__name__}"
        super().__init__(autocast=False, dtype="float32", name=name)
        self.supports_masking = True


class _HandOn(_Plain):
    def call(self, x: Any, function: Callable[[Any], Any]) -> Any:
        return function(x)


class _MaskOf(_Plain):
    def call(self, x: Any, mask: Any = None) -> Any:
        return mask

    def compute_mask(self, x: Any, previous_mask: Any = None) -> Any:
        return None


class _Masked(_Plain):
    def call(self, x: Any, mask: Any = None) -> Any:
        return x


@functools.cache
def _layers() -> tuple[_HandOn, _MaskOf, _Masked]:
    # When they are asked for: a layer cannot be made before there is a backend.
    return _HandOn(), _MaskOf(), _Masked()


class MaskPreservingOperation(keras.Operation):
    """An operation whose outputs have the mask of its first argument."""

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls it."""
        call = super().__call__
        return keep_mask(x, lambda x: call(x, *args, **kwargs))
