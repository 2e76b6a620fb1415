"""Argument validation with uniform error messages."""

import difflib
import math
import numbers
from collections.abc import Iterable, Mapping
from typing import Any


def check_positive(name: str, value: Any) -> float:
    """Returns `value` as a float; raises unless it is a finite positive number."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not 0 < float(value) < math.inf:
        raise ValueError(
            f"`{name}` must be a finite number greater than 0. "
            f"Received: {name}={value!r}"
        )
    return float(value)


def check_positive_int(name: str, value: Any) -> int:
    """Returns `value` as an int; raises unless it is a positive integer."""
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_integer or int(value) < 1:
        raise ValueError(
            f"`{name}` must be a positive integer. Received: {name}={value!r}"
        )
    return int(value)


def look_up(name: str, value: Any, table: Mapping[str, Any], allowed: str) -> Any:
    """Looks a name up in a table; raises with similar names if it is not there.

    Args:
        name: The name of the argument.
        value: The value of the argument.
        table: The objects by name.
        allowed: A description of what the argument may be.

    Returns:
        The object.

    Raises:
        ValueError: `table` has no such name.
    """
    if value not in table:
        close = difflib.get_close_matches(str(value), table, n=3) or list(table)
        raise ValueError(
            f"`{name}` must be {allowed}, such as {', '.join(close)}. "
            f"Received: {name}={value!r}"
        )
    return table[value]


def check_kernel_shape(shape: object) -> tuple[int, ...]:
    """Returns the shape of a kernel as integers; raises unless it is one."""
    dimensions = tuple(shape) if isinstance(shape, Iterable) else ()
    whole = all(isinstance(d, numbers.Integral) and int(d) > 0 for d in dimensions)
    if len(dimensions) < 2 or not whole:
        raise ValueError(
            "`shape` must be that of a kernel: at least two dimensions, "
            "(..., inputs, outputs), each a positive integer. "
            f"Received: shape={shape!r}"
        )
    return tuple(int(d) for d in dimensions)
