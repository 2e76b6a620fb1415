"""What the options of the lab are checked for, in the wording of the package."""

import numbers
from collections.abc import Iterable
from typing import Any


def whole(name: str, value: Any, minimum: int) -> int:
    """Returns `value` as an integer, or says that it is none or too small."""
    is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_whole or value < minimum:
        raise ValueError(
            f"`{name}` must be an integer of at least {minimum}. "
            f"Received: {name}={value!r}"
        )
    return int(value)


def one_of(name: str, value: Any, allowed: Iterable[Any]) -> Any:
    """Returns `value`, or says that it is not among the allowed ones."""
    allowed = tuple(allowed)
    if value not in allowed:
        raise ValueError(
            f"`{name}` must be one of {', '.join(map(str, allowed))}. "
            f"Received: {name}={value!r}"
        )
    return value
