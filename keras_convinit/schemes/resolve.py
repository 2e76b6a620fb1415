"""Schemes by name, by object or by Keras initializer."""

from collections.abc import Callable
from typing import Any

import keras

from keras_convinit.schemes.base import SCHEMES, Scheme
from keras_convinit.schemes.per_kernel import KerasInitializer


def resolve_scheme(scheme: Any, **arguments: Any) -> Scheme:
    """Returns a scheme from a name, an object or a Keras initializer.

    Args:
        scheme: A name, a scheme, or a Keras initializer.
        **arguments: Arguments of the class of the scheme.

    Returns:
        The scheme.

    Raises:
        ValueError: No scheme has the name, or it does not take the arguments.

    Example:
        >>> from keras_convinit.schemes import resolve_scheme
        >>> resolve_scheme("zhang_backward", gamma=0.4).gamma
        0.4
    """
    if isinstance(scheme, Scheme):
        if arguments:
            raise ValueError(
                "A scheme that is an object has its arguments already. "
                f"Received: {', '.join(arguments)}, for {type(scheme).__name__}"
            )
        return scheme
    if isinstance(scheme, str) and scheme in SCHEMES:
        return _make(scheme, SCHEMES[scheme], arguments)
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
    return _make(
        str(scheme), lambda **given: KerasInitializer(initializer, **given), arguments
    )


def _make(name: str, make: Callable[..., Scheme], arguments: dict[str, Any]) -> Scheme:
    try:
        return make(**arguments)
    except TypeError as error:
        raise ValueError(
            f"`{name}` must be given arguments that it takes. "
            f"Received: {', '.join(arguments)} ({error})"
        ) from error
