"""What is kept of the weights of a layer."""

from typing import Any

from keras import ops

from keras_convinit.diagnostics._statistics import euclidean_norm
from keras_convinit.kernels import Kernel, kernels_of

# What `norms` gives, in this order. Two kernels at most are told apart.
FIRST, SECOND, BIAS, GAMMA, BETA, ALL = range(6)


def kernels(layer: Any) -> tuple[Kernel, ...]:
    """The kernels of a layer, none where that is not known."""
    try:
        return kernels_of(layer)
    except (ValueError, AttributeError):
        return ()


def effective(layer: Any, kernel: Kernel) -> Any:
    """What a kernel multiplies by: of a weight-normalised one not the variable."""
    compute = getattr(layer, "effective_kernel", None)
    return kernel.variable if compute is None else compute()


def bias(layer: Any) -> Any:
    """The bias of a layer, or of the one that it wraps, if any."""
    found = getattr(layer, "bias", None)
    return (
        getattr(getattr(layer, "layer", None), "bias", None) if found is None else found
    )


def norms(layer: Any) -> Any:
    """The norms of its weights as a vector, 0 where there are none.

    Called where the values of variables are at hand. The last is that of all kernels,
    or of all that can be trained where there is no kernel.
    """
    found = [effective(layer, kernel) for kernel in kernels(layer)]
    if not found and not getattr(layer, "weights", ()):
        return ops.zeros((ALL + 1,), "float32")
    rest = found or layer.trainable_variables
    parts = [
        *[*found, None, None][:2],
        bias(layer),
        getattr(layer, "gamma", None),
        getattr(layer, "beta", None),
    ]
    each = [_norm(part) for part in parts]
    total = ops.zeros((), "float32")
    if rest:
        total = euclidean_norm(ops.stack([_norm(part) for part in rest]))
    return ops.stack([*each, total])


def _norm(values: Any) -> Any:
    if values is None or isinstance(values, bool | float | int):
        return ops.zeros((), "float32")
    return euclidean_norm(ops.stop_gradient(ops.convert_to_tensor(values)))
