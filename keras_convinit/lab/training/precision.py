"""The numbers that a training computes in."""

import contextlib
from collections.abc import Iterator

import keras

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Layers that are made within compute in this precision.

    Weights stay in float32, and so do the logits of the lab's networks.

    Args:
        precision: One of `PRECISIONS`.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
