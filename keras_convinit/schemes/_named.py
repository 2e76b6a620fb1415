"""Schemes by name."""

from collections.abc import Callable
from typing import Any

import keras

from keras_convinit.schemes._scheme import AbstractScheme
from keras_convinit.schemes.keras_initializer import KerasInitializer

SCHEMES: dict[str, type[AbstractScheme]] = {}


def named(name: str) -> Callable[[type], type]:
    """Makes a class of schemes known by a name."""

    def decorate(cls: type) -> type:
        SCHEMES[name] = cls
        return cls

    return decorate


def resolved(scheme: Any, **arguments: Any) -> AbstractScheme:
    """A scheme by name or initializer.

    Args:
        scheme: A name, a scheme, or a Keras initializer.
        **arguments: Of the scheme's class.

    Returns:
        The scheme.

    Raises:
        ValueError: There is none of that name, or it takes no such arguments.
    """
    if isinstance(scheme, AbstractScheme):
        if arguments:
            raise ValueError(
                "A scheme that is an object has its arguments already. "
                f"Received: {', '.join(arguments)}, for {type(scheme).__name__}"
            )
        return scheme
    if isinstance(scheme, str) and scheme in SCHEMES:
        return _made(scheme, SCHEMES[scheme], arguments)
    try:
        initializer = keras.initializers.get(scheme)
    except ValueError:
        initializer = None
    if not isinstance(initializer, keras.initializers.Initializer):
        raise ValueError(
            "`scheme` must be the name of a scheme, an object of "
            "`keras_convinit.schemes`, or a Keras initializer. Schemes: "
            f"{', '.join(SCHEMES)}. Received: scheme={scheme!r}"
        )
    return _made(
        str(scheme), lambda **given: KerasInitializer(initializer, **given), arguments
    )


def _made(
    name: str, make: Callable[..., AbstractScheme], arguments: dict[str, Any]
) -> AbstractScheme:
    try:
        return make(**arguments)
    except TypeError as error:
        raise ValueError(
            f"`{name}` must be given arguments that it takes. "
            f"Received: {', '.join(arguments)} ({error})"
        ) from error
