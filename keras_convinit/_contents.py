"""Objects that a layer holds, found through its attributes."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import keras


def get_attributes(thing: object) -> dict[str, Any]:
    """Returns the attributes of an object but those that every Keras layer has.

    Args:
        thing: A layer, or an object that a layer holds.

    Returns:
        Values by name; empty for a number, a string, or what has no attributes.
    """
    found = dict(getattr(thing, "__dict__", {}))
    if isinstance(thing, keras.layers.Layer):
        found = {name: found[name] for name in found if name not in _of_every_layer()}
        # PyTorch keeps layers apart from other attributes.
        children = getattr(thing, "named_children", dict)
        found.update(children())
    return found


def iterate_contents(thing: object) -> Iterator[Any]:
    """Yields an object and all that it holds, at any depth, each object once.

    Lists, tuples, sets and dicts are searched; functions, tensors and variables are
    not.

    Args:
        thing: A layer or a model.

    Yields:
        The object itself, then what it holds.
    """
    seen: dict[int, Any] = {}
    waiting = [thing]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        # Kept, so that no other object can come by its identity.
        seen[id(one)] = one
        yield one
        if isinstance(one, dict):
            waiting.extend(one.values())
        elif isinstance(one, list | tuple | set | frozenset):
            waiting.extend(one)
        elif isinstance(one, keras.Model):
            waiting.extend([*one.layers, *get_attributes(one).values()])
        elif _may_hold_layers(one):
            waiting.extend(get_attributes(one).values())


def _may_hold_layers(thing: object) -> bool:
    if isinstance(thing, type | keras.Variable | keras.KerasTensor):
        return False
    # Objects of the frameworks lead to everything there is.
    of_keras = isinstance(thing, keras.Operation) or hasattr(thing, "get_config")
    return of_keras or type(thing).__module__.split(".")[0] not in _FRAMEWORKS


_FRAMEWORKS = {"keras", "numpy", "tensorflow", "jax", "jaxlib", "torch", "builtins"}


@cache
def _of_every_layer() -> frozenset[str]:
    return frozenset(
        {*vars(keras.layers.Layer(name="layer")), *vars(keras.Model(name="model"))}
    )
