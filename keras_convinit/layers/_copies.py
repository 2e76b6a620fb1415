"""Copies of a layer that differ from it in their seeds alone."""

import random
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_convinit.layers._made_again import made_again

# What Keras takes for a seed on every backend is below.
LIMIT = 2**31 - 1

Reseed = Callable[[Any, bool], Any]


def same_seed(seed: Any, of_initializer: bool) -> Any:
    """Leaves a seed as it is."""
    del of_initializer
    return seed


def copy_layer(layer: Any, reseed: Reseed = same_seed) -> Any:
    """Makes the layer again, with the very functions and classes that it holds.

    Args:
        layer: A layer, a model, or an operation of a functional model.
        reseed: Gives a new seed for each seed in the configuration, from the old one
            and whether it is that of an initializer. Asked in an order that is the
            same for every copy.

    Returns:
        The copy, not built unless it is a functional model.

    Raises:
        ValueError: The layer cannot be made again, or what comes of it is another one.
    """
    if type(layer) is keras.Sequential:
        with keras.name_scope(layer.name):
            parts = [copy_layer(part, reseed) for part in layer.layers]
        return keras.Sequential(parts, name=layer.name)
    if isinstance(layer, keras.Model) and hasattr(layer, "operations"):
        return keras.models.clone_model(
            layer, clone_function=lambda part: copy_layer(part, reseed)
        )

    def part(held: Any) -> Any:
        copy = copy_layer(held, reseed)
        if getattr(held, "built", False) and not copy.built:
            # As Keras does with a layer in the configuration of another one.
            config = held.get_build_config()
            if config is not None:
                copy.build_from_config(config)
        return copy

    return made_again(layer, part, reseed)


def seeds_for_copies(layer: Any, number: int) -> np.ndarray:
    """Seeds for every seed that the layer's configuration has room for.

    No number occurs twice. The numbers for a seed that is given follow from it; the
    others are random, as `keras.utils.set_random_seed` says.

    Args:
        layer: A layer or model.
        number: How many copies need seeds.

    Returns:
        An array of integers, `(number, number of seeds)`.
    """
    given = [seed for seed, _ in seeds_of(layer)]
    columns = []
    for index, seed in enumerate(given):
        if isinstance(seed, dict):
            seed = seed["config"]["seed"]
        generator = random.Random(
            random.getrandbits(64) if seed is None else f"{seed} {index}"
        )
        numbers = generator.sample(range(LIMIT // len(given)), number)
        columns.append(np.array(numbers) * len(given) + index)
    return np.stack(columns, axis=1) if columns else np.empty((number, 0), int)


def seeds_of(layer: Any) -> list[tuple[Any, bool]]:
    """Each seed in the layer's configuration, and whether it is an initializer's."""
    seeds = []

    def note(seed: Any, of_initializer: bool) -> Any:
        seeds.append((seed, of_initializer))
        return seed

    copy_layer(layer, note)
    return seeds
