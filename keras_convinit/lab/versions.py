"""What numbers depend on, besides the settings: versions and the machine."""

import importlib
import os
import platform

import keras
import numpy as np

import keras_convinit
from keras_convinit.backend import get_accelerator


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


def machine() -> str:
    """Kind and number of processors, and what computes in their place, if anything."""
    names = [platform.machine(), f"{os.cpu_count()} cores", get_accelerator()]
    return ", ".join(name for name in names if name)
