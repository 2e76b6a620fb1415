"""A model made again with other layers in place of its own."""

from collections.abc import Callable
from typing import Any

import keras

# Hands the values over, when the plain layer has been built.
Transfer = Callable[[], None]


def folded_model(
    model: Any, twin_of: Callable[[Any], tuple[Any, Transfer]]
) -> tuple[keras.Model, Transfer]:
    """A model of the same graph, with plain layers in the place of its own.

    Args:
        model: A model that is built.
        twin_of: Gives a plain layer for a layer, and what hands over its values.

    Returns:
        The model, and what hands over all values.

    Raises:
        ValueError: The model has no graph, or is not built.
    """
    if not has_graph(model) or not model.built:
        raise ValueError(
            "`model` must be a Functional or Sequential model that has been built. "
            f"Received: model={model!r}"
        )
    transfers: list[Transfer] = []

    def clone(layer: Any) -> Any:
        if not isinstance(layer, keras.layers.Layer):
            # An operation, such as a sum that was written with a plus: no state.
            return layer
        twin, transfer = twin_of(layer)
        transfers.append(transfer)
        return twin

    inputs = None if isinstance(model, keras.Sequential) else _inputs_like(model)
    folded = keras.models.clone_model(model, input_tensors=inputs, clone_function=clone)
    if not folded.built:
        folded.build(model.input_shape)

    return folded, all_of(transfers)


def all_of(transfers: list[Transfer]) -> Transfer:
    def hand_over() -> None:
        for transfer in transfers:
            transfer()

    return hand_over


def has_graph(model: Any) -> bool:
    """Whether it is a Functional or a Sequential model; no public class tells."""
    return isinstance(model, keras.Sequential) or (
        isinstance(model, keras.Model)
        and hasattr(model, "get_layer")
        and (getattr(model, "inputs", None) is not None)
    )


def _inputs_like(model: Any) -> Any:
    # `clone_model` by itself would name the inputs anew.
    names = {
        id(layer.output): layer.name
        for layer in model.layers
        if isinstance(layer, keras.layers.InputLayer)
    }
    return keras.tree.map_structure(
        lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=names[id(x)]),
        model.input,
    )


def copied(value: Any) -> Any:
    # JAX would share the array, and a step that trains the one would delete it.
    return keras.ops.convert_to_numpy(value)
