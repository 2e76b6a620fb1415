"""TensorFlow, imported when something of it is first used.

Whoever only names an augmentation, or trains on another backend with arrays, does not
wait for it. Written as `from keras_convinit.lab.data import _tensorflow as tf`.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    import tensorflow

    return getattr(tensorflow, name)
