"""An object of Keras made again from its configuration, and compared with it.

A configuration holds a function by its name, and Keras looks the name up among its own
first: `tanh` of somebody else's comes back as Keras'. A class that is not registered
does not come back at all. So what an object holds is handed over as it is, and the
configuration says no more than where it belongs.
"""

import contextlib
import functools
import inspect
import numbers
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras

from keras_convinit._registry import PACKAGE
from keras_convinit.layers._attributes import attributes

Config = dict[str, Any]


def made_again(
    original: Any,
    part: Callable[[Any], Any],
    reseed: Callable[[Any, bool], Any],
    as_class: Any = None,
    change: Callable[[Config], Config] = dict,
) -> Any:
    """Makes a layer, or what a layer holds, again from its configuration.

    Args:
        original: A layer, an initializer, or anything else with `get_config`.
        part: Gives what takes the place of a layer, an initializer, or another such
            object that `original` holds. Functions are taken as they are.
        reseed: Gives a new seed for each seed in the configuration, from the old one
            and whether it is that of an initializer.
        as_class: The class of what is made, if not that of the original.
        change: Changes the configuration, in which handed over are what `part` has
            given.

    Returns:
        The new object.

    Raises:
        ValueError: It cannot be made, or holds other functions than the original, or
            other arguments.
    """
    cls: Any = as_class or type(original)
    handed_over = _HandedOver(part, reseed)
    try:
        with warnings.catch_warnings():
            # That of functions without a name: they are not looked up by one.
            warnings.filterwarnings("ignore", message="The object being serialized")
            config = original.get_config()
        with _scope_of(original):
            of_initializer = isinstance(original, keras.initializers.Initializer)
            config = change(handed_over.in_place_of(config, original, of_initializer))
            with keras.saving.custom_object_scope(handed_over.objects):
                copy = cls.from_config(config)
    except CannotBeMadeAgain:
        raise
    # Layers of others may fail in any way when they are made again.
    except Exception as error:
        # Keras says the whole configuration first.
        (*_, reason) = str(error).splitlines() or [repr(error)]
        raise CannotBeMadeAgain(
            _complaint(original, f"of which Keras says: {reason}")
        ) from error
    if as_class is None and type(copy) is not type(original):
        raise CannotBeMadeAgain(_complaint(original, f"whose copy is {copy!r}"))
    for name in _differences(original, copy, handed_over.replaced):
        raise CannotBeMadeAgain(
            _complaint(original, f"whose copy has another `{name}`")
        )
    return copy


class CannotBeMadeAgain(ValueError):
    """Says which layer it was, so that what holds the layer need not say it again."""


def _complaint(original: Any, reason: str) -> str:
    return (
        "A layer must be one that can be made again from its configuration, with the "
        "same functions: register what it holds with "
        "`keras.saving.register_keras_serializable`, and write all arguments into "
        "`get_config`. Where a stack needs copies of it, a `ScaledResidual` for each "
        f"block needs none. Received: {original!r}, {reason}"
    )


class _HandedOver:
    """Objects, under names for a configuration to call them by."""

    def __init__(
        self, part: Callable[[Any], Any], reseed: Callable[[Any, bool], Any]
    ) -> None:
        self.objects: dict[str, Any] = {}
        # Identity of what the original holds -> that, and what the copy holds instead.
        self.replaced: dict[int, tuple[Any, Any]] = {}
        self._part = part
        self._reseed = reseed

    def in_place_of(self, config: Config, held: Any, of_initializer: bool) -> Config:
        """A configuration with what it stands for handed over.

        Args:
            config: A configuration, or a part of one.
            held: The object that it is of, or None where that is not known.
            of_initializer: Whether it is that of an initializer.
        """
        return {
            key: self._reseed(value, of_initializer)
            if key == "seed"
            else self._value(value, _attribute(held, key))
            for key, value in config.items()
        }

    def _value(self, node: Any, held: Any) -> Any:
        if isinstance(node, list | tuple):
            fits = isinstance(held, list | tuple) and len(held) == len(node)
            pairs = zip(node, held if fits else [None] * len(node), strict=True)
            return type(node)(self._value(item, each) for item, each in pairs)
        if _is_object(node, held):
            # A layer may be held in two places; other objects have seeds to change.
            if id(held) not in self.replaced or not _is_layer(held):
                self.replaced[id(held)] = (held, self._part(held))
            return self._called(self.replaced[id(held)][1])
        if _is_function(node, held):
            return self._called(held)
        if not isinstance(node, dict):
            return node
        if isinstance(node.get("config"), dict) and "class_name" in node:
            inner = self.in_place_of(node["config"], None, _is_initializer(node))
            return {**node, "config": inner}
        return self.in_place_of(node, held, of_initializer=False)

    def _called(self, value: Any) -> Config:
        name = f"{PACKAGE}>handed_over_{len(self.objects)}"
        self.objects[name] = value
        # Keras takes what it finds under such a name, be it a function or not.
        return {
            "class_name": "function",
            "config": name,
            "module": None,
            "registered_name": name,
        }


def _is_object(node: Any, held: Any) -> bool:
    """Whether a configuration stands for an object that is known and can be copied."""
    return (
        isinstance(node, dict)
        and node.get("class_name") == type(held).__name__
        and hasattr(held, "get_config")
        and hasattr(type(held), "from_config")
    )


def _is_layer(held: Any) -> bool:
    return isinstance(held, keras.layers.Layer)


def _is_function(node: Any, held: Any) -> bool:
    """Whether a configuration stands for a function, and Keras might take another."""
    if not isinstance(node, str | dict) or isinstance(held, type) or _is_layer(held):
        return False
    if not callable(held):
        return False
    return getattr(keras.activations, str(node), None) is not held


def _is_initializer(node: Config) -> bool:
    registered = keras.saving.get_registered_object(node.get("registered_name"))
    if isinstance(registered, type):
        return issubclass(registered, keras.initializers.Initializer)
    return node.get("module") == "keras.initializers"


def _attribute(held: Any, name: str) -> Any:
    if isinstance(held, Mapping):
        return held.get(name)
    try:
        return getattr(held, name, None)
    # A property of somebody else's may not be there to be asked yet.
    except Exception:
        return None


def _scope_of(original: Any) -> Any:
    # What is built while a layer is made has the layer in its path, as it had.
    if isinstance(original, keras.layers.Layer):
        return keras.name_scope(original.name)
    return contextlib.nullcontext()


def _differences(
    original: Any, copy: Any, replaced: Mapping[int, tuple[Any, Any]]
) -> Iterator[str]:
    """Names of attributes that should be the same and are not.

    Functions are compared wherever they are, and of classes that are not Keras' the
    arguments that they keep under their own names.
    """
    seen: dict[int, Any] = {}

    def compare(name: str, one: Any, other: Any, is_argument: bool) -> Iterator[str]:
        _, one = replaced.get(id(one), (one, one))
        if one is other or other is None:
            return
        if isinstance(one, bool | numbers.Number | str):
            if is_argument and one != other:
                yield name
            return
        if id(one) in seen:
            return
        seen[id(one)] = one
        if isinstance(one, types.FunctionType) and isinstance(other, type(one)):
            if one.__code__ is not other.__code__:
                yield name
            else:
                yield from compare(name, _bound(one), _bound(other), True)
        elif isinstance(one, types.MethodType) and isinstance(other, type(one)):
            yield from compare(name, one.__func__, other.__func__, False)
        elif isinstance(one, functools.partial) and isinstance(other, type(one)):
            pair = [[f.func, f.args, f.keywords] for f in (one, other)]
            yield from compare(name, pair[0], pair[1], True)
        elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
            if len(one) == len(other):
                for a, b in zip(one, other, strict=True):
                    yield from compare(name, a, b, is_argument)
            elif is_argument:
                yield name
        elif isinstance(one, Mapping) and isinstance(other, Mapping):
            for key in one:
                if key in other:
                    yield from compare(name, one[key], other[key], is_argument)
        elif callable(one) or hasattr(one, "get_config"):
            if type(one) is not type(other) or not hasattr(one, "__dict__"):
                yield name
            else:
                yield from of_attributes(f"{name}.", one, other)

    def of_attributes(prefix: str, one: Any, other: Any) -> Iterator[str]:
        if isinstance(one, keras.Model) and isinstance(other, keras.Model):
            yield from compare(f"{prefix}layers", one.layers, other.layers, True)
        theirs = attributes(other)
        arguments = _own_arguments(type(one))
        for name, value in attributes(one).items():
            # Those are for whoever makes the copy to change.
            if name in theirs and not name.endswith("seed"):
                is_argument = name.lstrip("_") in arguments
                yield from compare(f"{prefix}{name}", value, theirs[name], is_argument)

    yield from of_attributes("", original, copy)


def _bound(function: types.FunctionType) -> list[Any]:
    cells = function.__closure__ or ()
    filled = [cell.cell_contents for cell in cells if cell != types.CellType()]
    return [filled, list(function.__defaults__ or ())]


def _own_arguments(cls: Any) -> set[str]:
    if cls.__module__.split(".")[0] == "keras":
        return set()
    parameters = inspect.signature(cls.__init__).parameters
    return set(parameters) - {"name"}
