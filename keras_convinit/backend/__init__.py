"""The only place that names TensorFlow, JAX or PyTorch: one file for each.

Every file offers the same functions; the module attributes of this package are those
of the backend that Keras runs on, imported when first used.
"""

import importlib
from typing import Any

import keras

SUPPORTED = ("tensorflow", "jax", "torch")


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    backend = keras.backend.backend()
    if backend not in SUPPORTED:
        raise NotImplementedError(
            f"This needs automatic differentiation, from one of {', '.join(SUPPORTED)}."
            f" Received: keras.backend.backend()={backend!r}"
        )
    return getattr(importlib.import_module(f"{__name__}.{backend}"), name)
