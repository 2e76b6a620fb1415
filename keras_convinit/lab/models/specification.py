"""Networks by a line of text, for the command line and for files of results."""

import ast
import difflib
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

import keras

from keras_convinit.lab.models.densenet import densenet
from keras_convinit.lab.models.mlp import mlp
from keras_convinit.lab.models.plain_cnn import plain_cnn
from keras_convinit.lab.models.residual_cnn import residual_cnn
from keras_convinit.lab.models.resnet34 import resnet34
from keras_convinit.lab.models.resnet_cifar import resnet_cifar
from keras_convinit.lab.models.vgg19 import vgg19
from keras_convinit.lab.models.wide_resnet import wide_resnet

NETWORKS: dict[str, Callable[..., keras.Model]] = {
    network.__name__: network
    for network in (
        densenet,
        mlp,
        plain_cnn,
        residual_cnn,
        resnet34,
        resnet_cifar,
        vgg19,
        wide_resnet,
    )
}
FORM = "NAME, NAME:DEPTH or NAME:DEPTH,KEY=VALUE,..."


def from_spec(spec: str, **arguments: Any) -> keras.Model:
    """Makes a network from its name and arguments in one line.

    The name is that of a function of `keras_convinit.lab.models`. Behind a colon come
    its arguments as in a call in Python, where a word needs no quotes; a colon behind
    the depth is as good as a comma.

    Args:
        spec: Such as `"resnet_cifar:56"` or
            `"wide_resnet:depth=28,k=10,normalization=weight"`.
        **arguments: Further arguments, which go with the data rather than with the
            network: `input_shape`, `num_classes`.

    Returns:
        The network.

    Raises:
        ValueError: There is no such network or argument, something is missing or given
            twice, or the network refuses a value.

    Example:
        >>> from_spec("plain_cnn:50,width=64,strides=(1, 2)", num_classes=100).name
        'plain_cnn'
    """
    name, values, named = parsed(spec)
    network = NETWORKS[name]
    parameters = inspect.signature(network).parameters
    positional = [
        parameter.name
        for parameter in parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    if len(values) > len(positional):
        takes = ", ".join(positional) or "none"
        raise ValueError(
            f"Values without a name must be those of {name}: {takes}. "
            f"Received: spec={spec!r}"
        )
    given: dict[str, Any] = {}
    everything = [*zip(positional, values, strict=False), *named, *arguments.items()]
    for key, value in everything:
        if key not in parameters:
            raise ValueError(
                f"{name} has no argument {key!r}{_like(key, parameters)}; it takes "
                f"{', '.join(parameters)}. Received: spec={spec!r}"
            )
        if key in given:
            raise ValueError(f"`{key}` must be given once. Received: spec={spec!r}")
        given[key] = value
    missing = [
        key
        for key, parameter in parameters.items()
        if parameter.default is parameter.empty and key not in given
    ]
    if missing:
        raise ValueError(
            f"{name} must have {' and '.join(missing)}, as in "
            f"'{name}:{','.join(f'{key}=16' for key in missing)}'. "
            f"Received: spec={spec!r}"
        )
    return network(**given)


def parsed(spec: str) -> tuple[str, list[Any], list[tuple[str, Any]]]:
    """The parts of a specification.

    Args:
        spec: As of `from_spec`.

    Returns:
        The name of the network, values without a name, and pairs of names and values.

    Raises:
        ValueError: It is not of that form, or there is no such network.
    """
    if not isinstance(spec, str):
        raise ValueError(f"`spec` must be {FORM}. Received: spec={spec!r}")
    name, _, rest = (part.strip() for part in spec.partition(":"))
    if name not in NETWORKS:
        raise ValueError(
            f"There is no network {name!r}{_like(name, NETWORKS)}; there are "
            f"{', '.join(NETWORKS)}. Received: spec={spec!r}"
        )
    # Behind the depth a colon may stand for the comma.
    rest = re.sub(r"^(\d+)\s*:", r"\1,", rest)
    try:
        call = ast.parse(f"network({rest})", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError("It is more than the arguments of a call")
        values = [_value(node) for node in call.args]
        named = [(_key(word), _value(word.value)) for word in call.keywords]
    except (SyntaxError, ValueError) as error:
        raise ValueError(
            f"`spec` must be {FORM}, with values as in Python. Received: spec={spec!r}"
        ) from error
    return name, values, named


def _key(word: ast.keyword) -> str:
    if word.arg is None:
        raise ValueError("Arguments must have names")
    return word.arg


def _value(node: ast.expr) -> Any:
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)


def _like(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=3)
    return f" (did you mean {' or '.join(close)}?)" if close else ""
