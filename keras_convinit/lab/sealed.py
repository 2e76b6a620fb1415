"""JSON that tells whether it still is what was written."""

import json
import zlib
from collections.abc import Mapping
from typing import Any

CHECKSUM = "checksum"


def sealed(values: Mapping[str, Any], indent: int | None = None) -> str:
    """Values as JSON, with a checksum of them as the last entry.

    Args:
        values: What `json.dumps` takes, without numbers that are not finite.
        indent: Of `json.dumps`.

    Returns:
        The text, without a line end.

    Raises:
        ValueError: A number is not finite.
    """
    plain = json.loads(json.dumps(values, allow_nan=False))
    return json.dumps({**plain, CHECKSUM: _checksum(plain)}, indent=indent)


def unsealed(text: str) -> dict[str, Any]:
    """What `sealed` made a text of.

    Spaces and the order of entries do not matter. What has no checksum, as files of
    earlier versions, is taken as it is.

    Args:
        text: The text.

    Returns:
        The values.

    Raises:
        ValueError: It is something else, or was changed since.

    Example:
        >>> from keras_convinit.lab.sealed import sealed, unsealed
        >>> unsealed(sealed({"accuracy": 0.5}))
        {'accuracy': 0.5}
    """
    try:
        values = json.loads(text, parse_constant=_refused)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(values, dict):
        raise ValueError(f"it must be an object of JSON, not {_short(values)}")
    if CHECKSUM in values and values.pop(CHECKSUM) != _checksum(values):
        raise ValueError(
            "its content is not what its checksum is of: damaged, or changed by hand"
        )
    return values


def _checksum(values: Mapping[str, Any]) -> str:
    # Numbers come back as they were: Python writes as many digits as that takes.
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return f"{zlib.crc32(text.encode()):08x}"


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
