"""What keeps its values, whatever the scheme, and why."""

from typing import Any

import keras

from keras_convinit.graph import Graph, Site
from keras_convinit.schemes.report import LeftAlone

NOT_TRAINED = "it is not trained"


def reason_of_layer(layer: Any) -> str | None:
    """Why all of a layer must keep its values, None if it need not.

    Args:
        layer: A layer of the model.

    Returns:
        The reason, for the report.
    """
    if not layer.trainable:
        return "its layer is frozen"
    if getattr(layer, "lora_enabled", False):
        return "its layer is adapted by LoRA"
    mode = getattr(layer, "quantization_mode", None)
    # Kernels are trained in float8; of the others only codes are left.
    if mode is not None and mode != "float8":
        return f"its layer is quantized to {mode}"
    return None


def reason_of_site(site: Site) -> str | None:
    """Why a kernel and its gain must keep their values, None if they need not.

    Args:
        site: The kernel, and where it stands.

    Returns:
        The reason, for the report.
    """
    reason = reason_of_layer(site.layer)
    if reason is not None:
        return reason
    kernel = site.kernel
    if kernel.computed or not isinstance(kernel.variable, keras.Variable):
        return "its layer computes it from other variables"
    if not keras.backend.is_float_dtype(kernel.variable.dtype):
        return f"its kernel is of {kernel.variable.dtype}"
    if not kernel.variable.trainable:
        return "its kernel is not trained"
    if kernel.gain is not None and not kernel.gain.trainable:
        return "its gain is not trained"
    return None


def kept(graph: Graph) -> dict[int, LeftAlone]:
    """The kernels of a model that keep their values, and their gains.

    Args:
        graph: The model, read.

    Returns:
        By the identity of the variable.
    """
    stay: dict[int, LeftAlone] = {}
    for site in graph.sites:
        reason = reason_of_site(site)
        if reason is None:
            continue
        variable, gain = site.kernel.variable, site.kernel.gain
        # A kernel that is computed need not have a variable of its own.
        path = getattr(variable, "path", f"{site.path}/{site.kernel.name}")
        stay[id(variable)] = LeftAlone(path, reason)
        if gain is not None:
            stay[id(gain)] = LeftAlone(gain.path, reason)
    return stay
