"""In what two nested structures of plain data differ."""

from typing import Any


def differences(there: Any, here: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """The smallest parts that are not equal.

    Args:
        there: Numbers, words, and lists and dictionaries of these.
        here: Others.
        path: Where they stand in something larger.

    Returns:
        The place, one value and the other; None for what is missing.

    Example:
        >>> from keras_convinit.lab.differences import differences
        >>> differences({"a": {"b": 1}}, {"a": {"b": 2}})
        [('a.b', 1, 2)]
    """
    if isinstance(there, dict) and isinstance(here, dict):
        pairs = {name: (there.get(name), here.get(name)) for name in {**there, **here}}
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        pairs = {str(i): pair for i, pair in enumerate(zip(there, here, strict=True))}
    else:
        return [] if there == here else [(path, there, here)]
    return [
        difference
        for name, (one, other) in pairs.items()
        for difference in differences(one, other, f"{path}.{name}".strip("."))
    ]


def changed(earlier: Any, now: Any) -> list[str]:
    """One clause for each setting that is not what it was when a file was made."""
    return [
        f"{name} is {there} in the file, {here} now"
        for name, there, here in differences(earlier, now)
    ]
