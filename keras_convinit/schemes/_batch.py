"""The samples that a scheme looks at."""

from typing import Any

import keras
import numpy as np

from keras_convinit import _sample
from keras_convinit.graph import Trace

# Of arrays, which may be a whole data set.
MOST = 256


def batch(data: Any, samples: int | None, scheme: str) -> Any:
    """Inputs for one pass.

    Args:
        data: Inputs or a pair of inputs and labels, as arrays or tensors, or a data
            set of batches of them.
        samples: How many, None for the first batch of a data set, and for no more than
            `MOST` of arrays.
        scheme: What the scheme is called.

    Returns:
        A nest of numpy arrays.

    Raises:
        ValueError: There are not two samples at least, or they are not finite.
    """
    if data is None:
        raise ValueError(
            f"`data` must be given for the scheme {scheme}: inputs, or a pair of "
            "inputs and labels, as arrays or a data set. Received: data=None"
        )
    nest = _first(data, samples)
    count = _sample.size_of(nest)
    if count < 2:
        raise ValueError(
            f"`data` must have two samples at least for the scheme {scheme}, which "
            f"measures how they differ. Received: data of shape {_sample.shapes(nest)}"
        )
    _sample.check_finite("data", nest)
    return nest


def _first(data: Any, samples: int | None) -> Any:
    inputs, _ = _sample.first_batch(data, name="data")
    is_set = _sample.is_set(data)
    nest = _sample.arrays("data", inputs)
    wanted = (None if is_set else MOST) if samples is None else samples
    if is_set and samples is not None and _sample.size_of(nest) < samples:
        nest = _gathered(data, samples)
    return keras.tree.map_structure(lambda leaf: leaf[:wanted], nest)


def _gathered(data: Any, samples: int) -> Any:
    nests: list[Any] = []
    for each in _sample.batches_of_set(data):
        inputs = each[0] if isinstance(each, tuple) else each
        nests.append(_sample.arrays("data", inputs))
        if sum(map(_sample.size_of, nests)) >= samples:
            break
    return keras.tree.map_structure(lambda *leaves: np.concatenate(leaves), *nests)


def as_the_model_takes(model: Any, program: Trace, nest: Any) -> Any:
    """The samples in the order of the model's inputs.

    Args:
        model: The model.
        program: Its trace.
        nest: The samples.

    Returns:
        A list of arrays.

    Raises:
        ValueError: They do not have the shapes that the model takes.
    """
    if isinstance(nest, dict) and not isinstance(program.inputs, dict):
        names = [symbol.name for symbol in getattr(model, "inputs", None) or ()]
        if set(names) <= set(nest):
            nest = [nest[name] for name in names]
    wanted = [program.shapes[v.id] for v in keras.tree.flatten(program.inputs)]
    given = keras.tree.flatten(nest)
    fits = len(wanted) == len(given) and all(map(_fits, wanted, given))
    if not fits:
        raise ValueError(
            f"`data` must be inputs of the shapes {wanted}, as the model takes. "
            f"Received: data of shape {_sample.shapes(nest)}"
        )
    return given


def _fits(shape: Any, leaf: np.ndarray) -> bool:
    options = [tuple(shape), (*shape, 1)]
    if shape and shape[-1] == 1:
        options.append(tuple(shape[:-1]))
    return any(
        len(option) == leaf.ndim
        and all(a in (None, b) for a, b in zip(option, leaf.shape, strict=True))
        for option in options
    )
