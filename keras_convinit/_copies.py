"""True copies of layers, which differ from their originals in their seeds alone.

A configuration holds a function by its name, and Keras looks the name up among its own
first: a user's `tanh` comes back as Keras'. A class that is not registered does not
come back at all. So the objects that a layer holds are handed over as they are, the
configuration says only where they belong, and the copy is compared with its original.
"""

import contextlib
import functools
import inspect
import numbers
import random
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import keras
import numpy as np
from keras import ops

from keras_convinit import backend
from keras_convinit._contents import get_attributes, iterate_contents
from keras_convinit._kinds import is_functional
from keras_convinit._registry import PACKAGE
from keras_convinit._types import Config, KerasLayer, Shape, Tensor

# Keras takes a seed below this on every backend.
SEED_LIMIT = 2**31 - 1

# Up to here copies are made sooner than a program that does without.
FEW = 48

# From a seed, and whether it is an initializer's, to the seed of a copy.
Reseed = Callable[[Any, bool], Any]

Result = TypeVar("Result")


def keep_seed(seed: Any, of_initializer: bool) -> Any:
    """Returns the seed itself."""
    del of_initializer
    return seed


def copy_layer(layer: Any, reseed: Reseed = keep_seed) -> Any:
    """Copies a layer, with the very functions and classes that it holds.

    Args:
        layer: A layer, a model, or an operation of a functional model.
        reseed: Called with each seed in the configuration and whether it is that of an
            initializer, in an order that is the same for every copy. Returns the seed
            of the copy.

    Returns:
        The copy, not built unless it is a functional model.

    Raises:
        NotCopyableError: The layer cannot be made from its configuration, or the copy
            holds other functions or arguments.
    """
    if type(layer) is keras.Sequential:
        # A part may stand in several places.
        copy_once = functools.cache(lambda part: copy_layer(part, reseed))
        with keras.name_scope(layer.name):
            parts = list(map(copy_once, layer.layers))
        return keras.Sequential(parts, name=layer.name)
    if isinstance(layer, keras.Model) and hasattr(layer, "operations"):
        copy = keras.models.clone_model(
            layer, clone_function=lambda part: copy_layer(part, reseed)
        )
        if not is_functional(layer):
            if type(copy) is not type(layer):
                raise _not_copyable(layer, f"whose copy is {copy!r}")
            check_values(layer, copy)
        return copy

    def copy_part(held: Any) -> Any:
        copy = copy_layer(held, reseed)
        if getattr(held, "built", False) and not copy.built:
            # As Keras does with a layer in the configuration of another one.
            config = held.get_build_config()
            if config is not None:
                copy.build_from_config(config)
        return copy

    return rebuild_from_config(layer, copy_part, reseed)


def list_seeds(layer: KerasLayer) -> list[tuple[Any, bool]]:
    """Returns each seed in the layer's configuration, and if it is an initializer's."""
    seeds = []

    def note(seed: Any, of_initializer: bool) -> Any:
        seeds.append((seed, of_initializer))
        return seed

    copy_layer(layer, note)
    return seeds


def draw_seeds(layer: KerasLayer, number: int) -> np.ndarray:
    """Draws seeds for copies, one for each seed in the layer's configuration.

    No number occurs twice. The numbers for a seed that is given follow from it; the
    others are random, and follow from `keras.utils.set_random_seed`.

    Args:
        layer: A layer or model.
        number: The number of copies.

    Returns:
        An array of integers, `(number, number of seeds)`.
    """
    given = [seed for seed, _ in list_seeds(layer)]
    columns = []
    for index, seed in enumerate(given):
        if isinstance(seed, dict):
            seed = seed["config"]["seed"]
        generator = random.Random(
            random.getrandbits(64) if seed is None else f"{seed} {index}"
        )
        numbers = generator.sample(range(SEED_LIMIT // len(given)), number)
        columns.append(np.array(numbers) * len(given) + index)
    return np.stack(columns, axis=1) if columns else np.empty((number, 0), int)


def rebuild_from_config(
    original: Any,
    copy_part: Callable[[Any], Any],
    reseed: Reseed,
    as_class: Any = None,
    change: Callable[[Config], Config] = dict,
) -> Any:
    """Makes a layer, or what a layer holds, from its configuration.

    Args:
        original: A layer, an initializer, or anything else with `get_config`.
        copy_part: Called with each layer, initializer, or other such object that
            `original` holds; returns what takes its place. Functions are handed over
            as they are.
        reseed: Called with each seed in the configuration and whether it is that of an
            initializer; returns the new seed.
        as_class: The class of the new object, if not that of the original.
        change: Changes the configuration, in which the objects from `copy_part` stand.

    Returns:
        The new object.

    Raises:
        NotCopyableError: It cannot be made, or holds other functions than the original,
            or other arguments or numbers.
    """
    copy, replaced = _make(original, copy_part, reseed, as_class, change)
    for name in _find_differences(original, copy, replaced):
        raise _not_copyable(original, f"whose copy has another `{name}`")
    if as_class is None:
        check_values(original, copy)
    return copy


def _make(
    original: Any,
    copy_part: Callable[[Any], Any],
    reseed: Reseed,
    as_class: Any = None,
    change: Callable[[Config], Config] = dict,
) -> tuple[Any, Mapping[int, tuple[Any, Any]]]:
    """Makes it, whatever it holds; returns what it holds instead of what as well."""
    cls: Any = as_class or type(original)
    substitution = _Substitution(copy_part, reseed)
    try:
        with warnings.catch_warnings():
            # That of functions without a name: they are not looked up by one.
            warnings.filterwarnings("ignore", message="The object being serialized")
            config = original.get_config()
        with _enter_scope_of(original):
            of_initializer = isinstance(original, keras.initializers.Initializer)
            config = change(substitution.apply(config, original, of_initializer))
            with keras.saving.custom_object_scope(substitution.objects):
                copy = cls.from_config(config)
    except NotCopyableError:
        raise
    # Third-party layers may raise anything when they are made from a configuration.
    except Exception as error:
        # Keras says the whole configuration first.
        (*_, reason) = str(error).splitlines() or [repr(error)]
        raise _not_copyable(original, f"of which Keras says: {reason}") from error
    if as_class is None and type(copy) is not type(original):
        raise _not_copyable(original, f"whose copy is {copy!r}")
    return copy, substitution.replaced


def check_values(original: Any, copy: Any) -> None:
    """Raises a `NotCopyableError` if a copy lost a number that no argument names.

    Args:
        original: A layer, or anything else with `get_config`.
        copy: Its copy. It need not be built, as `original` may be.
    """
    if "call" in vars(original):
        raise _not_copyable(original, "whose `call` is not that of its class")
    names = _find_lost_values(original, copy)
    if names and getattr(original, "built", False) and not copy.built:
        # What `build` or `call` have set is no loss.
        names = names & _find_lost_values(original, _build_apart(original))
    for name in sorted(names):
        raise _not_copyable(original, f"whose copy has another `{name}`")


def _find_lost_values(original: Any, copy: Any) -> set[str]:
    theirs = get_attributes(copy)

    def rename(value: Any) -> Any:
        # A copy may have another name, and what is called after it.
        is_text = isinstance(value, str) and hasattr(copy, "name")
        return value.replace(original.name, copy.name) if is_text else value

    return {
        name
        for name, value in get_attributes(original).items()
        if not name.startswith("_")
        and not name.endswith("seed")
        and name not in _OF_THE_OBJECT
        and _is_plain(value)
        and (name not in theirs or _is_plain(theirs[name]))
        and not _is_same_value(rename(value), theirs.get(name, _MISSING))
    }


_MISSING = object()
# Where a layer stands, and what loops of models leave.
_OF_THE_OBJECT = frozenset(
    {"name", "stop_training", "stop_evaluating", "stop_predicting"}
)


def _is_plain(value: Any) -> bool:
    """Returns True for a number, a string, an array, or a nest of them."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return value is None or isinstance(value, bool | numbers.Number | str | np.ndarray)


def _is_same_value(one: Any, other: Any) -> bool:
    # JSON makes lists of tuples.
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_is_same_value, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            _is_same_value(value, other[key]) for key, value in one.items()
        )
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    return bool(one == other or (one != one and other != other))


def _build_apart(original: Any) -> Any:
    """Returns a copy that has been built and called as the original has been."""
    copy: Any = None

    def run() -> None:
        nonlocal copy
        # Its parts are copies too: those of another copy would be built with it.
        copy, _ = _make(original, copy_layer, keep_seed)
        config = original.get_build_config()
        copy.build_from_config(config or {})
        shape = (config or {}).get("input_shape")
        if shape:
            copy(keras.KerasTensor(shape, dtype=copy.compute_dtype))

    state = random.getstate()
    # What cannot be built like that stays as far as it has come.
    with contextlib.suppress(Exception):
        _call_apart(run)
    random.setstate(state)
    return copy


class NotCopyableError(ValueError):
    """Names a layer of which there is no true copy."""


def _not_copyable(original: Any, reason: str) -> NotCopyableError:
    return NotCopyableError(
        "A layer must be one that can be made again from its configuration, with the "
        "same functions: register what it holds with "
        "`keras.saving.register_keras_serializable`, and write all arguments into "
        "`get_config`. Where a stack needs copies of it, a `ScaledResidual` for each "
        f"block needs none. Received: {original!r}, {reason}"
    )


class _Substitution:
    """Puts objects into a configuration, by names that Keras looks up for them.

    Args:
        copy_part: Returns what takes the place of an object.
        reseed: Returns what takes the place of a seed.
    """

    def __init__(self, copy_part: Callable[[Any], Any], reseed: Reseed) -> None:
        self.objects: dict[str, Any] = {}
        # Identity of what the original holds -> that, and what the copy holds instead.
        self.replaced: dict[int, tuple[Any, Any]] = {}
        self._copy_part = copy_part
        self._reseed = reseed

    def apply(self, config: Config, held: Any, of_initializer: bool) -> Config:
        """Returns a configuration with objects in place of their own configurations.

        Args:
            config: A configuration, or a part of one.
            held: The object that it describes, or None where that is not known.
            of_initializer: Whether it is that of an initializer.
        """
        return {
            key: self._reseed(value, of_initializer)
            if key == "seed"
            else self._substitute(value, _get_attribute(held, key))
            for key, value in config.items()
        }

    def _substitute(self, node: Any, held: Any) -> Any:
        if isinstance(node, list | tuple):
            fits = isinstance(held, list | tuple) and len(held) == len(node)
            pairs = zip(node, held if fits else [None] * len(node), strict=True)
            return type(node)(self._substitute(item, each) for item, each in pairs)
        if _is_object(node, held):
            # A layer may be held in two places; other objects have seeds to change.
            if id(held) not in self.replaced or not _is_layer(held):
                self.replaced[id(held)] = (held, self._copy_part(held))
            return self._name(self.replaced[id(held)][1])
        if _is_function(node, held):
            return self._name(held)
        if not isinstance(node, dict):
            return node
        if isinstance(node.get("config"), dict) and "class_name" in node:
            inner = self.apply(node["config"], None, _is_initializer(node))
            return {**node, "config": inner}
        return self.apply(node, held, of_initializer=False)

    def _name(self, value: Any) -> Config:
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
    """Returns True if a configuration stands for `held`, which can be copied."""
    return (
        isinstance(node, dict)
        and node.get("class_name") == type(held).__name__
        and hasattr(held, "get_config")
        and hasattr(type(held), "from_config")
    )


def _is_layer(held: Any) -> bool:
    return isinstance(held, keras.layers.Layer)


def _is_function(node: Any, held: Any) -> bool:
    """Returns True if it stands for a function that Keras might confuse."""
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


def _get_attribute(held: Any, name: str) -> Any:
    if isinstance(held, Mapping):
        return held.get(name)
    try:
        return getattr(held, name, None)
    # A property of a third-party class may raise anything.
    except Exception:
        return None


def _enter_scope_of(original: Any) -> contextlib.AbstractContextManager[Any]:
    # What is built while a layer is made has the layer in its path, as it had.
    if isinstance(original, keras.layers.Layer):
        return keras.name_scope(original.name)
    return contextlib.nullcontext()


def _find_differences(
    original: Any, copy: Any, replaced: Mapping[int, tuple[Any, Any]]
) -> Iterator[str]:
    """Yields the names of attributes that should be the same and are not.

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
                yield from compare(name, _list_bound(one), _list_bound(other), True)
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
                yield from compare_attributes(f"{name}.", one, other)

    def compare_attributes(prefix: str, one: Any, other: Any) -> Iterator[str]:
        if isinstance(one, keras.Model) and isinstance(other, keras.Model):
            yield from compare(f"{prefix}layers", one.layers, other.layers, True)
        theirs = get_attributes(other)
        arguments = _list_own_arguments(type(one))
        for name, value in get_attributes(one).items():
            # Those are for whoever makes the copy to change.
            if name in theirs and not name.endswith("seed"):
                is_argument = name.lstrip("_") in arguments
                yield from compare(f"{prefix}{name}", value, theirs[name], is_argument)

    yield from compare_attributes("", original, copy)


def _list_bound(function: types.FunctionType) -> list[Any]:
    cells = function.__closure__ or ()
    filled = [cell.cell_contents for cell in cells if cell != types.CellType()]
    return [filled, list(function.__defaults__ or ())]


def _list_own_arguments(cls: Any) -> set[str]:
    if cls.__module__.split(".")[0] == "keras":
        return set()
    parameters = inspect.signature(cls.__init__).parameters
    return set(parameters) - {"name"}


def draw_initial_values(
    layer: KerasLayer, input_shape: Shape, number: int
) -> list[np.ndarray]:
    """Draws the initial values of the weights of independent copies of a layer.

    Each copy has seeds of its own in place of all that are in the layer's
    configuration, given or not. Otherwise the values are those of copies made and
    built one by one, also where a gain is computed from the kernel of the same copy.

    A thousand copies take most of a minute, so of many only two are made, and all are
    drawn by a program that must agree with these two. Where it does not, as with an
    initializer that draws from numpy, all are made.

    Args:
        layer: A layer or model.
        input_shape: The shape of its inputs.
        number: The number of copies.

    Returns:
        For each of the layer's weights an array with a leading axis of `number`.
    """
    seeds = draw_seeds(layer, number)
    if number > FEW:
        drawn = _draw_at_once(layer, input_shape, seeds)
        two = _draw_by_building(layer, input_shape, seeds[:2])
        if drawn is not None and all(map(_agree, two, drawn)):
            return drawn
    return _draw_by_building(layer, input_shape, seeds)


def build_layer(layer: KerasLayer, input_shape: Shape) -> None:
    """Builds a layer, by a call on symbols if it has no `build` of its own.

    Args:
        layer: A layer or model. One that is built, with all of its parts, stays as it
            is.
        input_shape: The shape of its inputs.
    """
    # Of a layer without `build`, Keras would warn that it may have something to build.
    if not layer.built and type(layer).build is not keras.layers.Layer.build:
        layer.build(input_shape)
    elif any(_is_unbuilt(x) for x in iterate_contents(layer) if x is not layer):
        layer(keras.KerasTensor(input_shape, dtype=layer.compute_dtype))


def strip_build_configs(node: Any) -> Any:
    """Returns a configuration of layers that leaves building to their holder.

    Keras builds the layers in a configuration before there is anyone to hold them. So
    their variables would have the paths of those in the next block, and on PyTorch,
    where Keras keeps parameters by path, only the last of them would be one.

    Args:
        node: A configuration from `keras.saving.serialize_keras_object`, or a part.

    Returns:
        The same without the `build_config` of any layer.
    """
    if isinstance(node, list | tuple):
        return type(node)(strip_build_configs(item) for item in node)
    if not isinstance(node, dict):
        return node
    is_layer = "class_name" in node and "config" in node
    return {
        key: strip_build_configs(value)
        for key, value in node.items()
        if not (is_layer and key == "build_config")
    }


def _is_unbuilt(part: Any) -> bool:
    return isinstance(part, keras.layers.Layer) and not part.built


def _agree(few: np.ndarray, many: np.ndarray) -> bool:
    few, many = few.astype("float64"), many[: len(few)].astype("float64")
    return np.allclose(few, many, rtol=1e-3, atol=1e-6)


def _draw_by_building(
    layer: KerasLayer, input_shape: Shape, seeds: np.ndarray
) -> list[np.ndarray]:
    copies = []
    for row in seeds.tolist():
        numbers = iter(row)
        copies.append(copy_layer(layer, lambda *_, numbers=numbers: next(numbers)))

    def build() -> list[list[np.ndarray]]:
        for copy in copies:
            build_layer(copy, input_shape)
        return [list(map(ops.convert_to_numpy, _draw_weights(copy))) for copy in copies]

    return [np.stack(values) for values in zip(*_call_apart(build), strict=True)]


def _draw_at_once(
    layer: KerasLayer, input_shape: Shape, seeds: np.ndarray
) -> list[np.ndarray] | None:
    def draw() -> list[np.ndarray]:
        generators = [keras.random.SeedGenerator(0) for _ in range(seeds.shape[1])]
        rest = iter(generators)

        def reseed(seed: Any, of_initializer: bool) -> Any:
            generator = next(rest)
            return generator if of_initializer else seed

        # A variable without a value asks its initializer whenever it is read, and the
        # variables of this copy never get theirs.
        with keras.StatelessScope(initialize_variables=False):
            copy = copy_layer(layer, reseed)
            build_layer(copy, input_shape)

        def draw_row(row: Sequence[Tensor]) -> list[Tensor]:
            (numbers,) = row
            states = ops.stack([numbers, ops.zeros_like(numbers)], axis=-1)
            return _draw_weights(
                copy,
                [
                    (generator.state, ops.cast(states[i], generator.state.dtype))
                    for i, generator in enumerate(generators)
                ],
            )

        return backend.map_rows(draw_row, [seeds.astype("int32")])

    try:
        return _call_apart(draw)
    except Exception:
        # A layer that cannot be drawn like that is built as usual.
        return None


def _draw_weights(
    layer: KerasLayer, states: Sequence[tuple[Any, Tensor]] = ()
) -> list[Tensor]:
    values = []
    with keras.StatelessScope(initialize_variables=False) as scope:
        for variable in layer.weights:
            for state in states:
                scope.add_update(state)
            values.append(variable.value)
            # Another initial value may be computed from this one.
            scope.add_update((variable, values[-1]))
    return values


def _call_apart(function: Callable[[], Result]) -> Result:
    """Calls the function where no scope is open.

    A layer may be built while its model is traced, with variables that have no values
    yet and in the precision of its computation. All of that belongs to the thread.
    """
    with ThreadPoolExecutor(
        max_workers=1,
        initializer=keras.config.set_dtype_policy,
        initargs=(keras.config.dtype_policy(),),
    ) as executor:
        return executor.submit(function).result()
