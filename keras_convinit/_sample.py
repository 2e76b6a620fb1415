"""Data as people have them, as arrays of one length."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np


def arrays(name: str, data: Any) -> Any:
    """A nest of numpy arrays, floating ones in Keras' precision.

    Args:
        name: What the argument is called.
        data: An array, a tensor, a list of numbers, or a nest of them.

    Returns:
        The nest.

    Raises:
        ValueError: There are no samples, or not the same number everywhere.
    """
    if _is_list_of_numbers(data):
        data = np.asarray(data)
    nest = keras.tree.map_structure(_array, data)
    counts = {len(leaf) if leaf.ndim else None for leaf in keras.tree.flatten(nest)}
    if len(counts) != 1 or not counts - {None, 0}:
        raise ValueError(
            f"`{name}` must have at least one sample, and the same number in each of "
            f"its arrays. Received: {name} of shape {shapes(nest)}"
        )
    return nest


def first_batch(data: Any, pairs: bool = True, name: str = "x") -> tuple[Any, Any]:
    """Inputs and labels, None where there are none, of the first batch of a data set.

    Args:
        data: Inputs as they are, which come back, or a data set.
        pairs: Whether a tuple is a batch of a data set: inputs and labels.
        name: What the argument is called.

    Raises:
        ValueError: A data set is empty.
    """
    if is_set(data):
        batch = next(batches_of_set(data), None)
    elif isinstance(data, tuple) and pairs:
        batch = data
    else:
        return data, None
    if batch is None:
        raise ValueError(
            f"`{name}` must have at least one batch. Received: {name}={data!r}"
        )
    if isinstance(batch, tuple):
        return batch[0], batch[1] if len(batch) > 1 else None
    return batch, None


def is_set(data: Any) -> bool:
    """Whether it is a data set of batches, and not inputs as they are."""
    if isinstance(data, keras.utils.PyDataset):
        return True
    as_they_are = isinstance(data, dict | list | tuple | np.ndarray)
    as_they_are = as_they_are or keras.ops.is_tensor(data)
    return not as_they_are and hasattr(data, "__iter__")


def batches_of_set(data: Any) -> Iterator[Any]:
    """The batches of a data set, once."""
    if isinstance(data, keras.utils.PyDataset):
        for index in range(data.num_batches or 1):
            yield data[index]
    else:
        yield from data


def check_finite(name: str, nest: Any) -> None:
    """Refuses real numbers that are NaN or infinite."""
    for leaf in keras.tree.flatten(nest):
        if np.issubdtype(leaf.dtype, np.floating) and not np.isfinite(leaf).all():
            bad = np.count_nonzero(~np.isfinite(leaf))
            raise ValueError(
                f"`{name}` must be finite. "
                f"Received: {name} with {bad} values that are NaN or infinite"
            )


def size_of(nest: Any) -> int:
    """The number of samples."""
    return len(keras.tree.flatten(nest)[0])


def check_same_size(x: Any, y: Any) -> None:
    """Refuses labels for another number of samples."""
    if size_of(x) != size_of(y):
        raise ValueError(
            "`x` and `y` must have the same number of samples. "
            f"Received: x of shape {shapes(x)}, y of shape {shapes(y)}"
        )


def batches(nest: Any, size: int) -> Iterator[Any]:
    """The samples, so many at a time."""
    for start in range(0, size_of(nest), size):
        yield keras.tree.map_structure(
            lambda leaf, start=start: leaf[start : start + size], nest
        )


def tensors(nest: Any) -> Any:
    """The nest, as tensors of the backend."""
    return keras.tree.map_structure(keras.ops.convert_to_tensor, nest)


def shapes(nest: Any) -> Any:
    """The shapes of a nest of arrays, to be printed."""
    return keras.tree.map_structure(lambda leaf: str(tuple(leaf.shape)), nest)


def _is_list_of_numbers(data: Any) -> bool:
    return isinstance(data, list | tuple) and all(
        np.isscalar(leaf) for leaf in keras.tree.flatten(data)
    )


def _array(leaf: Any) -> np.ndarray:
    if not isinstance(leaf, np.ndarray):
        leaf = np.asarray(keras.ops.convert_to_numpy(leaf))
    if np.issubdtype(leaf.dtype, np.floating):
        return leaf.astype(keras.config.floatx())
    return leaf
