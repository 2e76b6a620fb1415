"""The names under which Keras knows our classes. A released name is never changed."""

from collections.abc import Callable
from typing import TypeVar

import keras

PACKAGE = "keras_convinit"

Class = TypeVar("Class", bound=type)


def register(*aliases: str) -> Callable[[Class], Class]:
    """Registers a class as `"keras_convinit>Name"` and under short string aliases.

    The full name is what files record; an alias is only what people type, such as
    `Conv2D(kernel_initializer="zhang_backward")`.

    Args:
        *aliases: snake_case words that no built-in of Keras uses. Only a class that
            can be made without arguments may have one.

    Returns:
        The decorator.
    """

    def decorate(cls: Class) -> Class:
        keras.saving.get_custom_objects().update(dict.fromkeys(aliases, cls))
        return keras.saving.register_keras_serializable(PACKAGE)(cls)

    return decorate
