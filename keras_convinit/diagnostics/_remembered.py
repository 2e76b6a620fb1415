"""Compiled programs, kept as long as the models that they belong to."""

import weakref
from collections.abc import Callable, Hashable
from typing import Any

import keras

_PROGRAMS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()

# Of one model and kind; more would come from losses that are new objects every time.
LIMIT = 4


def remembered(
    model: keras.Model,
    kind: str,
    identity: tuple[Hashable, ...],
    make: Callable[[], Any],
) -> Any:
    """What has been made for a model before, or is made now.

    Args:
        model: The model.
        kind: What the program does.
        identity: Objects that it depends on; equal ones mean the same program.
        make: Makes it. What it makes must not hold the model.

    Returns:
        The program.
    """
    programs = _PROGRAMS.setdefault(model, {}).setdefault(kind, {})
    # The policy of precision is read when a program is traced.
    key = (keras.config.floatx(), *identity)
    if key not in programs:
        if len(programs) == LIMIT:
            del programs[next(iter(programs))]
        programs[key] = make()
    return programs[key]
