"""Schemes by what people type."""

import inspect
from collections.abc import Mapping
from typing import Any

import keras

from keras_convinit.lab.call_text import like, parsed_call
from keras_convinit.schemes import SCHEMES, KerasInitializer, Scheme

# Those that show progress would draw over that of a command.
QUIET = {"verbose": False}


def scheme_from(text: str, defaults: Mapping[str, Any] = QUIET) -> Scheme:
    """The scheme that a line of text stands for.

    Args:
        text: As of `scheme_call`.
        defaults: Arguments for schemes that take them.

    Returns:
        The scheme.

    Raises:
        ValueError: There is no such scheme, or it refuses an argument.

    Example:
        >>> from keras_convinit.lab.scheme_source import scheme_from
        >>> scheme_from("lsuv:tolerance=0.1").tolerance
        0.1
    """
    scheme, arguments = scheme_call(text)
    if isinstance(scheme, dict) or scheme not in SCHEMES:
        return KerasInitializer(keras.initializers.get(scheme))
    parameters = inspect.signature(SCHEMES[scheme]).parameters
    given = {key: value for key, value in defaults.items() if key in parameters}
    return SCHEMES[scheme](**given | arguments)


def scheme_call(text: str) -> tuple[Any, dict[str, Any]]:
    """What `keras_convinit.initialize` has to be given for a line of text.

    Args:
        text: The name of a scheme or of a Keras initializer, with arguments by name
            behind a colon: `"gradinit:iterations=100"`, `"he_normal"`,
            `"orthogonal:gain=2"`.

    Returns:
        The name of a scheme and its arguments, or an initializer by name or as data,
        and none.

    Raises:
        ValueError: There is no such scheme or initializer, or it takes no such
            arguments.

    Example:
        >>> from keras_convinit.lab.scheme_source import scheme_call
        >>> scheme_call("gradinit:iterations=100")
        ('gradinit', {'iterations': 100})
    """
    name = text.partition(":")[0].strip() if isinstance(text, str) else text
    if name in SCHEMES:
        _, values, named = parsed_call(text, SCHEMES, "scheme")
        _check_named(text, values)
        parameters = inspect.signature(SCHEMES[name]).parameters
        for key, _ in named:
            if key not in parameters:
                raise ValueError(
                    f"{name} has no argument {key!r}{like(key, parameters)}; it takes "
                    f"{', '.join(parameters) or 'none'}. Received: {text!r}"
                )
        return name, dict(named)
    # Some cannot be made without arguments.
    if name not in _initializers() and _initializer(name) is None:
        raise ValueError(
            f"There is no scheme or Keras initializer {name!r}"
            f"{like(str(name), (*SCHEMES, *_initializers()))}; schemes are "
            f"{', '.join(SCHEMES)}. Received: {text!r}"
        )
    _, values, named = parsed_call(text, [name], "initializer")
    _check_named(text, values)
    _initializer(name, dict(named), text)
    return {"class_name": name, "config": dict(named)} if named else name, {}


def _check_named(text: str, values: list[Any]) -> None:
    if values:
        raise ValueError(
            "Arguments of a scheme must have names, as in lsuv:tolerance=0.1. "
            f"Received: {text!r}"
        )


def _initializers() -> list[str]:
    """The names of Keras' own, as people write them."""
    return [
        name
        for name, thing in vars(keras.initializers).items()
        if name.islower() and isinstance(thing, type)
    ]


def _initializer(name: Any, config: Any = None, text: str = "") -> Any:
    """A Keras initializer; None if there is none of that name."""
    try:
        found = keras.initializers.get({"class_name": name, "config": config or {}})
    # An unknown name is a ValueError, arguments that do not fit anything.
    except Exception as error:
        if config is None:
            return None
        reason = str(error).strip().splitlines()[-1]
        raise ValueError(
            f"{name} must be given arguments that it takes. Received: {text!r} "
            f"({reason})"
        ) from error
    return found if isinstance(found, keras.initializers.Initializer) else None
