"""Registration of classes with Keras. A released name is never changed."""

from collections.abc import Callable
from typing import TypeVar

import keras

PACKAGE = "keras_convinit"

Class = TypeVar("Class", bound=type)


def register(*aliases: str) -> Callable[[Class], Class]:
    """Registers a class as `"keras_convinit>Name"` and under short string aliases.

    Files record the full name; an alias is for users, as in
    `Conv2D(kernel_initializer="zhang_backward")`.

    Args:
        *aliases: Names in snake_case that no built-in of Keras has. The class must be
            callable without arguments if there are any.

    Returns:
        A class decorator.
    """

    def decorate(cls: Class) -> Class:
        keras.saving.get_custom_objects().update(dict.fromkeys(aliases, cls))
        return keras.saving.register_keras_serializable(PACKAGE)(cls)

    return decorate
