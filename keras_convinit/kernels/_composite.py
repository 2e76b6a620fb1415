"""The kernels of layers that are made of layers."""

from collections.abc import Callable

import keras

from keras_convinit.kernels._kernel import (
    Kernel,
    check_built,
    kernels_of,
    prefixed,
    unknown,
)


def _composite(*attributes: str) -> Callable[[keras.layers.Layer], tuple[Kernel, ...]]:
    """For layers made of layers: the kernels of the parts."""

    def collect(layer: keras.layers.Layer) -> tuple[Kernel, ...]:
        check_built(layer)
        return tuple(
            kernel
            for attribute in attributes
            for kernel in prefixed(attribute, kernels_of(getattr(layer, attribute)))
        )

    return collect


kernels_of.register(keras.layers.Wrapper, _composite("layer"))
kernels_of.register(keras.layers.RNN, _composite("cell"))
kernels_of.register(
    keras.layers.Bidirectional, _composite("forward_layer", "backward_layer")
)
kernels_of.register(
    keras.layers.MultiHeadAttention,
    _composite("query_dense", "key_dense", "value_dense", "output_dense"),
)


@kernels_of.register
def _(layer: keras.layers.GroupQueryAttention) -> tuple[Kernel, ...]:
    check_built(layer)
    # It has no public attributes for its parts, but they have names. PyTorch keeps
    # layers apart from other attributes.
    children = dict(getattr(layer, "named_children", dict)())
    parts = {
        part.name: (attribute, part)
        for attribute, part in {**vars(layer), **children}.items()
        if isinstance(part, keras.layers.Layer)
    }
    return tuple(
        kernel
        for name in ("query", "key", "value", "attention_output")
        for kernel in prefixed(parts[name][0], kernels_of(parts[name][1]))
    )


@kernels_of.register
def _(layer: keras.layers.StackedRNNCells) -> tuple[Kernel, ...]:
    check_built(layer)
    return tuple(
        kernel
        for index, cell in enumerate(layer.cells)
        for kernel in prefixed(f"cells[{index}]", kernels_of(cell))
    )


@kernels_of.register
def _(layer: keras.Model) -> tuple[Kernel, ...]:
    check_built(layer)
    parts = [(f"layers[{i}]", part) for i, part in enumerate(layer.layers)]
    inherited = {id(v) for _, part in parts for v in part.variables}
    own = [v for v in layer.trainable_variables if id(v) not in inherited]
    if any(len(variable.shape) > 1 for variable in own):
        raise unknown(layer)
    return tuple(
        kernel for path, part in parts for kernel in prefixed(path, kernels_of(part))
    )
