"""What a layer holds, found by looking at its attributes."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import keras


def attributes(thing: Any) -> dict[str, Any]:
    """The attributes of an object, without those that Keras gives to every layer.

    Args:
        thing: A layer, or whatever a layer holds.

    Returns:
        Name -> value; nothing for a number, a string, or what has no attributes.
    """
    found = dict(getattr(thing, "__dict__", {}))
    if isinstance(thing, keras.layers.Layer):
        found = {name: found[name] for name in found if name not in _of_every_layer()}
        # PyTorch keeps layers apart from other attributes.
        children = getattr(thing, "named_children", dict)
        found.update(children())
    return found


def held(thing: Any) -> Iterator[Any]:
    """All that an object holds, at any depth, each once, itself among it.

    Lists, tuples, sets and dicts are looked into; functions, tensors and variables
    are not.
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
            waiting.extend([*one.layers, *attributes(one).values()])
        elif _may_hold_layers(one):
            waiting.extend(attributes(one).values())


def _may_hold_layers(thing: Any) -> bool:
    if isinstance(thing, type | keras.Variable | keras.KerasTensor):
        return False
    # Objects of the frameworks lead to everything there is.
    of_keras = isinstance(thing, keras.Operation) or hasattr(thing, "get_config")
    return of_keras or type(thing).__module__.split(".")[0] not in _FRAMEWORKS


_FRAMEWORKS = {"keras", "numpy", "tensorflow", "jax", "jaxlib", "torch", "builtins"}


@cache
def _of_every_layer() -> frozenset[str]:
    return frozenset(
        {
            *vars(keras.layers.Layer(name="layer")),
            *vars(keras.Model(name="model")),
        }
    )
