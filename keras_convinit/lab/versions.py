"""What numbers depend on, besides the settings."""

import importlib

import keras
import numpy as np

import keras_convinit


def versions() -> dict[str, str]:
    """Names and versions of what the numbers depend on."""
    backend = keras.backend.backend()
    return {
        "keras_convinit": keras_convinit.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "backend": backend,
        backend: importlib.import_module(backend).__version__,
    }
