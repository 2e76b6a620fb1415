"""Things by where they stand: `package.module:name`."""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from keras_convinit.lab.call_text import like
from keras_convinit.lab.errors import LabError


def module_of(name: str, known: Iterable[str] = ()) -> Any:
    """Imports a module, which may lie in the current folder.

    Args:
        name: Its name.
        known: What might have been meant instead.

    Returns:
        The module.

    Raises:
        LabError: There is none of that name.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        raise LabError(
            "A module must be named as in an import, such as package.module. "
            f"Received: {name!r}{like(name, known)}"
        )
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise
        raise LabError(
            "A module must be installed, or lie in the current folder. "
            f"Received: {name!r}{like(name, known)}"
        ) from error


def thing_of(source: str, must_be: str, known: Iterable[str] = ()) -> Any:
    """What stands at `package.module:name`.

    Args:
        source: The place; behind the colon there may be dots.
        must_be: How an error begins that says what it must be.
        known: What might have been meant instead of a module.

    Returns:
        The thing.

    Raises:
        LabError: There is nothing.
    """
    name, _, attribute = source.partition(":")
    thing = module_of(name, known)
    try:
        for part in attribute.split("."):
            thing = getattr(thing, part)
    except AttributeError as error:
        near = like(part, [one for one in dir(thing) if not one.startswith("_")])
        raise LabError(f"{must_be} Received: {source!r}, but {error}{near}") from error
    return thing


def made_by(function: Callable[[], Any], source: str, must_be: str) -> Any:
    """What a function without arguments gives.

    Args:
        function: The function.
        source: Where it stands.
        must_be: How an error begins that says what it must be.

    Returns:
        Whatever it returns; what it raises is its own affair.

    Raises:
        LabError: It wants arguments.
    """
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise LabError(
            f"{must_be} It is called without arguments. Received: {source!r}, but "
            f"{error}"
        ) from error
    # Some that are written in C do not tell what they want.
    except ValueError:
        pass
    return function()
