"""Dataclasses out of what comes back from a file, which may be anything."""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

Kind = TypeVar("Kind")


@dataclasses.dataclass(frozen=True)
class Between:
    """What a number of a file must be at least and at most."""

    least: float
    most: float = math.inf


# In float32 a mean of ones may come out above 1.
Share = Annotated[float, Between(0, 1 + 1e-6)]
Seconds = Annotated[float, Between(0)]
Count = Annotated[int, Between(0)]


def from_plain(kind: type[Kind], values: Any) -> Kind:
    """The dataclass that `dataclasses.asdict` made the values of.

    Entries, their types and, where a field says `Between`, their size are looked at; a
    field with a default may be missing.

    Args:
        kind: A dataclass, of numbers, words, tuples, mappings and dataclasses.
        values: Dictionaries, lists, words, numbers and None.

    Returns:
        The object.

    Raises:
        ValueError: The values are not those of such an object; the message says where.

    Example:
        >>> from keras_convinit.lab.comparison.plan import Case
        >>> from keras_convinit.lab.plain_data import from_plain
        >>> from_plain(Case, {"scheme": "auto", "learning_rate": 0.1, "seed": 0})
        Case(scheme='auto', learning_rate=0.1, seed=0)
    """
    return _read(kind, values, "")


def _read(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, where)
    if origin is Annotated:
        number = _read(arguments[0], value, where)
        limits = arguments[1]
        if not limits.least <= number <= limits.most:
            raise _wrong(where, f"from {limits.least:g} to {limits.most:g}", value)
        return number
    if origin in (typing.Union, types.UnionType):
        (other,) = (one for one in arguments if one is not types.NoneType)
        return None if value is None else _read(other, value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise _wrong(where, "a list", value)
        return tuple(
            _read(arguments[0], one, f"{where}.{number}")
            for number, one in enumerate(value)
        )
    if origin is Mapping:
        if not isinstance(value, dict):
            raise _wrong(where, "an object", value)
        return {
            name: _read(arguments[1], one, f"{where}.{name}")
            for name, one in value.items()
        }
    if kind is float:
        if type(value) not in (int, float) or not math.isfinite(value):
            raise _wrong(where, "a number", value)
        return float(value)
    if type(value) is not kind:
        raise _wrong(where, f"of the type {kind.__name__}", value)
    return value


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    hints = typing.get_type_hints(kind, include_extras=True)
    needed = {
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    }
    for name in (*sorted(needed - value.keys()), *sorted(value.keys() - hints.keys())):
        what = "there" if name in needed else "left out, as nothing has that name"
        raise ValueError(f"`{_place(f'{where}.{name}')}` must be {what}")
    return kind(
        **{
            name: _read(hints[name], one, f"{where}.{name}")
            for name, one in value.items()
        }
    )


def _wrong(where: str, what: str, value: Any) -> ValueError:
    text = repr(value)
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    return ValueError(f"`{_place(where)}` must be {what}. Received: {shown}")


def _place(where: str) -> str:
    return where.strip(".") or "it"
