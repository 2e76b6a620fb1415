"""Calls written in one line of text: NAME, or NAME:ARGUMENT,KEY=VALUE,..."""

import ast
import difflib
import re
from collections.abc import Iterable
from typing import Any

FORM = "NAME, NAME:VALUE or NAME:VALUE,KEY=VALUE,..."


def parsed_call(text: str, known: Iterable[str], kind: str) -> Any:
    """The parts of a call.

    Behind a colon come arguments as in a call in Python, where a word needs no quotes;
    a colon behind a whole number is as good as a comma.

    Args:
        text: Such as `"wide_resnet:28,k=10,normalization=weight"`.
        known: The names that there are.
        kind: What they are names of.

    Returns:
        The name, a list of values without a name, and pairs of names and values.

    Raises:
        ValueError: It is not of that form, or there is no such name.

    Example:
        >>> from keras_convinit.lab.call_text import parsed_call
        >>> parsed_call("lsuv:tolerance=0.1", ["lsuv"], "scheme")
        ('lsuv', [], [('tolerance', 0.1)])
    """
    if not isinstance(text, str):
        raise ValueError(f"A {kind} must be {FORM}. Received: {text!r}")
    known = tuple(known)
    name, _, rest = (part.strip() for part in text.partition(":"))
    if name not in known:
        raise ValueError(
            f"There is no {kind} {name!r}{like(name, known)}; there are "
            f"{', '.join(known)}. Received: {text!r}"
        )
    # Behind the depth a colon may stand for the comma.
    rest = re.sub(r"^(\d+)\s*:", r"\1,", rest)
    try:
        call = ast.parse(f"name({rest})", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError("It is more than the arguments of a call")
        values = [_value(node) for node in call.args]
        named = [(_key(word), _value(word.value)) for word in call.keywords]
    except (SyntaxError, ValueError) as error:
        raise ValueError(
            f"A {kind} must be {FORM}, with values as in Python. Received: {text!r}"
        ) from error
    return name, values, named


def split_calls(text: str) -> list[str]:
    """Several calls in one line, with commas between them and within them.

    Args:
        text: Such as `"auto,gradinit:iterations=100,learning_rate=0.1,lsuv"`. What has
            an equals sign before any colon goes with what is before it.

    Returns:
        The calls.

    Example:
        >>> from keras_convinit.lab.call_text import split_calls
        >>> split_calls("auto,gradinit:iterations=9,learning_rate=0.1,lsuv")
        ['auto', 'gradinit:iterations=9,learning_rate=0.1', 'lsuv']
    """
    calls: list[str] = []
    for piece in filter(None, (part.strip() for part in text.split(","))):
        if calls and "=" in piece.partition(":")[0]:
            calls[-1] += f",{piece}"
        else:
            calls.append(piece)
    return calls


def _key(word: ast.keyword) -> str:
    if word.arg is None:
        raise ValueError("Arguments must have names")
    return word.arg


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return node.id
    # The name of a preset, such as zhang2022/cifar100/resnet110.
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return "/".join(str(_value(part)) for part in (node.left, node.right))
    return ast.literal_eval(node)


def like(word: str, known: Iterable[str]) -> str:
    """A question for a word that is not known, naming the nearest ones that are."""
    close = difflib.get_close_matches(word, list(known), n=3)
    return f" (did you mean {' or '.join(close)}?)" if close else ""
