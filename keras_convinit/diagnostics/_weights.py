"""What is kept of the weights of a layer: norms."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

from keras_convinit import backend
from keras_convinit.kernels import Kernel, kernels_of


def kernels(layer: Any) -> tuple[Kernel, ...] | None:
    """The kernels of a layer; None where it has some of which nothing is known."""
    if not isinstance(layer, keras.layers.Layer) or not layer.built:
        return ()
    try:
        return kernels_of(layer)
    except ValueError:
        return None


def norms(layer: Any, found: Sequence[Kernel]) -> Iterator[tuple[str, Any]]:
    """The norms of its weights by name, where the values of variables are at hand.

    Of a weight-normalised layer the effective kernel counts, of one with LoRA the sum;
    a quantized kernel, whose variable has codes, has none. A layer without a kernel has
    those of all its trainable variables.

    Args:
        layer: The layer.
        found: Its kernels.
    """
    effective = getattr(layer, "effective_kernel", None)
    for number, kernel in enumerate(found):
        values = kernel.variable
        if effective:
            values = effective()
        elif kernel.computed and layer.quantization_mode not in (None, "float8"):
            continue
        elif kernel.computed:
            values = layer.kernel
        yield f"weights {number}", _norm(values)
    if not found:
        for number, variable in enumerate(getattr(layer, "trainable_variables", ())):
            yield f"weights {number}", _norm(variable)
    for name, part in (
        ("bias", _bias(layer)),
        ("gamma", getattr(layer, "gamma", None)),
        ("beta", getattr(layer, "beta", None)),
    ):
        if part is not None and hasattr(part, "shape"):
            yield name, _norm(part)


def _bias(layer: Any) -> Any:
    inner = getattr(layer, "layer", None)
    found = getattr(layer, "bias", None)
    return getattr(inner, "bias", None) if found is None else found


def _norm(values: Any) -> Any:
    values = ops.stop_gradient(ops.convert_to_tensor(values))
    return backend.norm(values, wide=False)
