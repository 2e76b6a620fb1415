"""Converts user data to batches of numpy arrays in the order that a model takes."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_convinit._kinds import is_functional, is_sequential
from keras_convinit._types import DataLike, KerasModel, Nest

# Methods by which tables, sparse matrices, arrays and tensors are known.
ARRAY_METHODS = ("__array__", "to_numpy", "toarray", "to_tensor", "detach")


@dataclasses.dataclass(frozen=True)
class Batch:
    """Samples for a model, as nests of numpy arrays with one leading dimension.

    Args:
        x: Inputs in the structure and order of the model's own.
        y: Labels; None where there are none.
        weights: Sample weights, as `fit` takes them; None where there are none.
    """

    x: Nest
    y: Nest = None
    weights: Nest = None

    @property
    def size(self) -> int:
        """Number of samples."""
        return count_samples(self.x)

    def rows(self, chosen: slice | np.ndarray) -> "Batch":
        """Returns some of the samples.

        Args:
            chosen: A slice, or an array of indices.
        """
        return Batch(*(map_leaves(lambda leaf: leaf[chosen], p) for p in self._parts))

    def split(self, size: int) -> Iterator["Batch"]:
        """Yields batches of `size` samples, of which the last may have fewer."""
        for start in range(0, self.size, size):
            yield self.rows(slice(start, start + size))

    def to_tensors(self) -> tuple[Nest, Nest, Nest]:
        """Returns inputs, labels and weights as tensors of the backend."""
        x, y, weights = map(to_tensors, self._parts)
        return x, y, weights

    @property
    def _parts(self) -> tuple[Nest, Nest, Nest]:
        return self.x, self.y, self.weights


def concatenate_batches(batches: list[Batch]) -> Batch:
    """Concatenates batches to one.

    Raises:
        ValueError: Some batches have labels or weights, and others do not.
    """
    if len(batches) == 1:
        return batches[0]
    parts: list[Any] = []
    for field in ("x", "y", "weights"):
        nests = [getattr(batch, field) for batch in batches]
        if all(nest is None for nest in nests):
            parts.append(None)
            continue
        if any(nest is None for nest in nests):
            raise ValueError(
                "`data` must have labels or sample weights in every batch, or in none. "
                f"Received: data with {field} in some of its batches"
            )
        parts.append(
            keras.tree.map_structure(
                lambda *leaves: None if leaves[0] is None else np.concatenate(leaves),
                *nests,
            )
        )
    return Batch(*parts)


def take_first_batch(
    model: KerasModel | None,
    data: DataLike,
    y: DataLike = None,
    *,
    name: str = "x",
    samples: int | None = None,
    at_once: bool = True,
) -> Batch:
    """Returns arrays as one batch, or the first batch of a data set.

    Args:
        model: The model that takes the batch.
        data: Inputs; a tuple of inputs, labels and sample weights, of which the last
            two may be missing; or a data set of batches of such. What counts as a
            batch is as in `fit`.
        y: Labels, where `data` has none.
        name: Name of the argument `data` in error messages.
        samples: Largest number of samples, of several batches if need be; None for all
            samples of arrays, and all of the first batch.
        at_once: Whether the model is to take them at once.

    Returns:
        The batch.

    Raises:
        ValueError: `data` is not numeric, or has no samples or not the same number in
            each array; its structure or shapes are not those of the model's inputs; it
            has labels and `y` is given, too; or `at_once` is True and the model has
            another batch size.
    """
    taken: list[Batch] = []
    for batch in iterate_batches(model, data, name):
        taken.append(batch)
        if samples is None or sum(each.size for each in taken) >= samples:
            break
    if not taken:
        raise ValueError(
            f"`{name}` must have at least one batch. Received: {name}={data!r}"
        )
    batch = concatenate_batches(taken).rows(slice(samples))
    if at_once:
        _check_batch_size(name, model, batch)
    if y is None:
        return batch
    if batch.y is not None:
        raise ValueError(
            f"`y` must be None where `{name}` has labels. "
            f"Received: y of shape {show_shapes(to_arrays('y', y))}, and {name} with "
            f"labels of shape {show_shapes(batch.y)}"
        )
    y = to_arrays("y", y)
    _check_same_size(name, batch.x, "`y`", y)
    return dataclasses.replace(batch, y=y)


def iterate_batches(
    model: KerasModel | None, data: DataLike, name: str = "x"
) -> Iterator[Batch]:
    """Iterates once over the batches of a data set; arrays are one batch.

    Args:
        model: The model that takes them.
        data: As of `take_first_batch`.
        name: Name of the argument in error messages.

    Raises:
        ValueError: As of `take_first_batch`.
    """
    structure = get_input_names(model)
    if not is_dataset(data):
        yield _make_batch(name, model, structure, data, isinstance(data, tuple))
        return
    for each in _iterate(data):
        yield _make_batch(name, model, structure, each, isinstance(each, tuple | list))


class FirstBatch:
    """Data set of one batch, the first of another one, which is iterated over once."""

    def __init__(self, data: DataLike) -> None:
        self._rest = _iterate(data)
        self._batches: list[Any] = []

    def __iter__(self) -> Iterator[Any]:
        if not self._batches:
            self._batches = list(itertools.islice(self._rest, 1))
            self._rest = iter(())
        return iter(self._batches)


def read_inputs(data: DataLike) -> Nest:
    """Returns inputs for a model that has no input specification.

    Args:
        data: Inputs as they are, also in a tuple, or a data set.

    Returns:
        A nest of arrays, and of symbols where those were given.

    Raises:
        ValueError: As of `take_first_batch`.
    """
    if is_dataset(data):
        return take_first_batch(None, data, name="data").x
    if any(isinstance(x, keras.KerasTensor) for x in keras.tree.flatten(data)):
        return data
    return to_arrays("data", data)


def to_arrays(name: str, data: DataLike) -> Nest:
    """Converts data to a nest of numpy arrays, floating ones in Keras' precision.

    Args:
        name: Name of the argument in error messages.
        data: An array, a tensor of any framework, a table, a sparse matrix, a list of
            numbers, or a nest of them, in which a label may be None.

    Returns:
        The nest.

    Raises:
        ValueError: `data` is not numeric, or has no samples or not the same number in
            each array.
    """
    nest = _to_nest(name, data)
    leaves = [leaf for leaf in keras.tree.flatten(nest) if leaf is not None]
    counts = {len(leaf) if leaf.ndim else None for leaf in leaves}
    if len(counts) != 1 or not counts - {None, 0}:
        raise ValueError(
            f"`{name}` must have at least one sample, and the same number in each of "
            f"its arrays. Received: {name} of shape {show_shapes(nest)}"
        )
    return nest


def is_dataset(data: DataLike) -> bool:
    """Returns True for an iterable data set, False for arrays in memory."""
    if isinstance(data, keras.utils.PyDataset):
        return True
    if isinstance(data, Mapping | list | tuple | str | bytes):
        return False
    if keras.ops.is_tensor(data) or any(hasattr(data, name) for name in ARRAY_METHODS):
        return False
    return hasattr(data, "__iter__")


def get_input_names(model: KerasModel | None) -> Nest:
    """Returns the names of a model's inputs, in their structure.

    Returns:
        The names; None for a model that has a `call` of its own, or is not built.
    """
    taken = _get_symbols(model)
    return None if taken is None else keras.tree.map_structure(lambda x: x.name, taken)


def get_batch_size(model: KerasModel | None) -> int | None:
    """Returns the batch size that a model is built for; None if it takes any."""
    sizes = [
        x.shape[0] for x in keras.tree.flatten(_get_symbols(model)) if x is not None
    ]
    return next((size for size in sizes if size is not None), None)


def order_inputs(name: str, given: Nest, names: Nest) -> Nest:
    """Packs inputs into the structure and order of a model's own, by name if they can.

    As a Functional model of Keras does, but inputs under other names are left out.

    Args:
        name: Name of the argument in error messages.
        given: A nest of anything.
        names: Names of the model's inputs, in their structure.

    Returns:
        The inputs in the structure of the names.

    Raises:
        ValueError: There are more or fewer inputs than the model has, or under other
            names.
    """
    flat = keras.tree.flatten(names)
    leaves = _sort_by_name(given, names)
    if leaves is None or len(leaves) != len(flat):
        received = name
        if isinstance(given, Mapping):
            received = f"{name} by the names {', '.join(map(str, given))}"
        raise ValueError(
            f"`{name}` must be {len(flat)} tensors, as the model takes: {names}. "
            f"Received: {received}, which are {len(keras.tree.flatten(given))}"
        )
    return keras.tree.pack_sequence_as(names, leaves)


def check_finite(name: str, nest: Nest) -> None:
    """Checks that real numbers are finite.

    Args:
        name: Name of the argument in error messages.
        nest: A nest of arrays, or of None.

    Raises:
        ValueError: One is NaN or infinite.
    """
    for leaf in keras.tree.flatten(nest):
        if leaf is None or not np.issubdtype(leaf.dtype, np.floating):
            continue
        bad = np.count_nonzero(~np.isfinite(leaf))
        if bad:
            raise ValueError(
                f"`{name}` must be finite. "
                f"Received: {name} with {bad} values that are NaN or infinite"
            )


def count_samples(nest: Nest) -> int:
    """Returns the number of samples of a nest of arrays."""
    return next(len(leaf) for leaf in keras.tree.flatten(nest) if leaf is not None)


def take(nest: Nest, count: int) -> Nest:
    """Returns the first samples of a nest of arrays."""
    return map_leaves(lambda leaf: leaf[:count], nest)


def to_tensors(nest: Nest) -> Nest:
    """Converts a nest of arrays to tensors of the backend."""
    return map_leaves(keras.ops.convert_to_tensor, nest)


def show_shapes(nest: Nest) -> Nest:
    """Returns the shapes of a nest of arrays as strings, for error messages."""
    return map_leaves(lambda leaf: str(tuple(leaf.shape)), nest)


def map_leaves(function: Callable[[Any], Any], nest: Nest) -> Nest:
    """Applies a function to each leaf of a nest that is not None."""
    return keras.tree.map_structure(
        lambda leaf: None if leaf is None else function(leaf), nest
    )


def _get_symbols(model: KerasModel | None) -> Nest:
    """Returns the symbols of a model's inputs, in their structure; None for none."""
    if model is None:
        return None
    if is_functional(model):
        return model.input
    if is_sequential(model) and model.built:
        # A model that was built without a shape has none.
        return next(iter(getattr(model, "inputs", None) or ()), None)
    return None


def _iterate(data: DataLike) -> Iterator[Any]:
    if isinstance(data, keras.utils.PyDataset):
        for index in range(data.num_batches or 1):
            yield data[index]
    else:
        yield from data


def _make_batch(
    name: str, model: KerasModel | None, names: Nest, given: Nest, is_tuple: bool
) -> Batch:
    parts = _split_parts(name, names, given) if is_tuple else [_to_nest(name, given)]
    if parts[0] is None:
        raise _not_numeric(name, f"{name}=None")
    x, *rest = (None if part is None else to_arrays(name, part) for part in parts)
    if names is not None:
        x = _order_checked(name, x, names, model)
    for kind, part in zip(("its labels", "its sample weights"), rest, strict=False):
        if part is not None:
            _check_same_size(name, x, kind, part)
    return Batch(x, *rest)


def _split_parts(name: str, names: Nest, given: Nest) -> list[Any]:
    """Splits a tuple into inputs, labels and weights, unless it is inputs alone."""
    parts = [_to_nest(name, part) for part in given]
    wanted = 1 if names is None else len(keras.tree.flatten(names))
    if wanted > 1:
        counts = [len(keras.tree.flatten(part)) for part in parts]
        if sum(counts) == wanted and counts[0] != wanted:
            return [type(given)(parts) if type(given) in (list, tuple) else parts]
    if not 1 <= len(parts) <= 3:
        raise ValueError(
            f"`{name}` must be inputs, or inputs with labels, or with labels and "
            f"sample weights. Received: {len(parts)} parts"
        )
    return parts


def _sort_by_name(given: Nest, names: Nest) -> list[Any] | None:
    """Returns the leaves in the order of the names; None where that is ambiguous."""
    if isinstance(names, dict) and isinstance(given, Mapping):
        # Sorted, unless the dictionary is of a kind that keeps its order.
        keys = keras.tree.flatten(type(names)((key, key) for key in names))
        if all(key in given for key in keys):
            return _chain([_sort_by_name(given[key], names[key]) for key in keys])
    elif _are_alike(given, names):
        leaves = _chain(
            [_sort_by_name(*pair) for pair in zip(given, names, strict=True)]
        )
        if leaves is not None:
            return leaves
    if isinstance(given, Mapping):
        flat = keras.tree.flatten(names)
        return [given[key] for key in flat] if set(flat) <= set(given) else None
    if isinstance(names, dict) and list(names) != sorted(names):
        # In a list they could have either order; Keras refuses it as well.
        return None
    return keras.tree.flatten(given)


def _are_alike(given: Nest, names: Nest) -> bool:
    both = isinstance(given, list | tuple) and isinstance(names, list | tuple)
    return both and len(given) == len(names)


def _chain(parts: list[list[Any] | None]) -> list[Any] | None:
    chained: list[Any] = []
    for part in parts:
        if part is None:
            return None
        chained += part
    return chained


def _check_same_size(name: str, x: Nest, what: str, other: Nest) -> None:
    if count_samples(x) != count_samples(other):
        raise ValueError(
            f"`{name}` and {what} must have the same number of samples. "
            f"Received: {name} of shape {show_shapes(x)}, {what.strip('`')} of shape "
            f"{show_shapes(other)}"
        )


def _order_checked(name: str, x: Nest, names: Nest, model: KerasModel | None) -> Nest:
    """Returns inputs in the model's order, after a check of their shapes."""
    symbols = keras.tree.flatten(_get_symbols(model))
    wanted = [tuple(symbol.shape) for symbol in symbols]
    if isinstance(x, Mapping) or len(wanted) == len(keras.tree.flatten(x)):
        x = order_inputs(name, x, names)
        leaves = keras.tree.flatten(x)
        for symbol, leaf in zip(symbols, leaves, strict=True):
            if _is_text(leaf) and symbol.dtype != "string":
                raise _not_numeric(name, f"{name} with strings")
        if all(map(_fits, wanted, leaves)):
            return x
    raise ValueError(
        f"`{name}` must be inputs of the shapes {wanted}, as the model takes. "
        f"Received: {name} of shape {show_shapes(x)}"
    )


def _fits(shape: tuple[int | None, ...], leaf: np.ndarray | None) -> bool:
    if leaf is None:
        return True
    # An axis of length 1 at the end may be missing or too many.
    options = [shape, (*shape, 1)]
    if shape and shape[-1] == 1:
        options.append(shape[:-1])
    return any(
        len(option) == leaf.ndim
        and all(a in (None, b) for a, b in zip(option[1:], leaf.shape[1:], strict=True))
        for option in options
    )


def _check_batch_size(name: str, model: KerasModel | None, batch: Batch) -> None:
    size = get_batch_size(model)
    if size is not None and batch.size != size:
        raise ValueError(
            f"`{name}` must have {size} samples, the batch size of the model. "
            f"Received: {name} of shape {show_shapes(batch.x)}"
        )


def _to_nest(name: str, data: DataLike) -> Nest:
    if data is None:
        return None
    if isinstance(data, Mapping):
        return {key: _to_nest(name, part) for key, part in data.items()}
    if isinstance(data, list | tuple) and not _is_list_of_numbers(data):
        parts = [_to_nest(name, part) for part in data]
        return parts if isinstance(data, list) else tuple(parts)
    try:
        array = _to_array(data)
    # Whatever is in it: frameworks and tables have errors of their own.
    except Exception as error:
        raise _not_numeric(name, f"{name} of {type(data).__name__}: {error}") from error
    if array.dtype.kind == "O" and not all(isinstance(e, str) for e in array.flat):
        try:
            array = array.astype(keras.config.floatx())
        except (TypeError, ValueError) as error:
            raise _not_numeric(name, f"{name} with objects: {error}") from error
    if _is_text(array):
        if keras.backend.backend() != "tensorflow":
            raise _not_numeric(
                name, f"{name} with strings, which only TensorFlow has tensors of"
            )
        return array
    if array.dtype.kind in "biu":
        return array
    # Some of lower precision are of no kind of numpy's own.
    if array.dtype.name.startswith(("float", "bfloat")):
        return array.astype(keras.config.floatx(), copy=False)
    raise _not_numeric(name, f"{name} with {array.dtype}")


def _is_text(array: np.ndarray | None) -> bool:
    return array is not None and array.dtype.kind in "OSU"


def _not_numeric(name: str, received: str) -> ValueError:
    return ValueError(
        f"`{name}` must be numbers: arrays, tensors, tables, lists, nests of them, or "
        f"a data set of batches of them. Received: {received}"
    )


def _is_list_of_numbers(data: DataLike) -> bool:
    return all(np.isscalar(leaf) for leaf in keras.tree.flatten(data))


def _to_array(data: DataLike) -> np.ndarray:
    if isinstance(data, np.ndarray):
        return data
    if keras.ops.is_tensor(data):
        return np.asarray(keras.ops.convert_to_numpy(data))
    if hasattr(data, "toarray"):
        return np.asarray(data.toarray())
    if hasattr(data, "to_numpy"):
        table = np.asarray(data.to_numpy())
        # A column is what it would be in a table, as in `fit`.
        return table[:, None] if table.ndim == 1 else table
    if hasattr(data, "to_tensor"):
        # Rows of several lengths, filled up with zeros.
        data = data.to_tensor()
    if hasattr(data, "detach"):
        # A tensor of PyTorch that may record, on a device, in any precision.
        data = data.detach().cpu()
        if data.is_floating_point():
            data = data.double()
    return np.asarray(data)
