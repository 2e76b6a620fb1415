"""Networks by a line of text, for the command line and for files of results."""

import inspect
from collections.abc import Callable
from typing import Any

import keras

from keras_convinit.lab.call_text import like, parsed_call
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
        >>> from keras_convinit.lab.models import from_spec
        >>> from_spec("plain_cnn:50,width=64,strides=(1, 2)", num_classes=100).name
        'plain_cnn'
    """
    name, values, named = parsed_call(spec, NETWORKS, "network")
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
                f"{name} has no argument {key!r}{like(key, parameters)}; it takes "
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
