"""Schemes that search for a scale of each variable, step by step."""

import abc
import collections
import dataclasses
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_convinit import _data
from keras_convinit._data import Batch, concatenate_batches
from keras_convinit._interruption import check_interruption
from keras_convinit._loss import check_loss_on_few, check_regularizers, resolve_loss
from keras_convinit._types import DataLike, KerasLayer, KerasModel, Tensor
from keras_convinit.analysis import (
    ModelAnalysis,
    Program,
    make_executable,
    regularizes_outputs,
)
from keras_convinit.layers import stacked_variables_of
from keras_convinit.schemes._others import kept_kernels, leaves, reason_of_layer
from keras_convinit.schemes.base import InitRequest, Scheme
from keras_convinit.schemes.report import InitializationReport, Row


@dataclasses.dataclass(frozen=True)
class ScaledVariable:
    """A variable that is multiplied by a number, one for each copy in a stack.

    Args:
        variable: A variable of the model that is trained.
        position: Its index in `model.trainable_variables`.
        copies: The number of rows that have a scale of their own: the blocks of a
            stack; 1 otherwise.
        is_bias: Whether it is added to the outputs of its layer.
        layer: The name of the class of its layer.
    """

    variable: Any
    position: int
    copies: int
    is_bias: bool
    layer: str


class ScaleVector:
    """Maps the entries of a vector to the variables that they multiply.

    Args:
        model: A built model.
        chosen: `chosen(variable, rank)` returns True for a variable that is scaled;
            `rank` is that of one copy.

    Example:
        >>> from keras_convinit.schemes import ScaleVector
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> ScaleVector(model, lambda variable, rank: rank > 1).size
        1
    """

    def __init__(self, model: keras.Model, chosen: Callable[[Any, int], bool]) -> None:
        positions = {id(v): i for i, v in enumerate(model.trainable_variables)}
        self.entries: list[ScaledVariable] = []
        for variable, copies, rank, is_bias, layer in _describe(model):
            if id(variable) in positions and chosen(variable, rank):
                position = positions.pop(id(variable))
                entry = ScaledVariable(variable, position, copies, is_bias, layer)
                self.entries.append(entry)
        ends = np.cumsum([entry.copies for entry in self.entries], dtype=int)
        self._parts = [
            slice(int(end) - entry.copies, int(end))
            for entry, end in zip(self.entries, ends, strict=True)
        ]
        self.size = int(ends[-1]) if self.entries else 0

    def repeat(self, numbers: Sequence[Any]) -> np.ndarray:
        """Returns a vector with a number of each entry for all copies of it.

        Args:
            numbers: A number for each of `entries`.
        """
        pairs = zip(self.entries, numbers, strict=True)
        return np.concatenate([np.full(entry.copies, x) for entry, x in pairs])

    def apply(self, values: list[Any], scales: Any) -> list[Any]:
        """Returns the values of the trained variables, scaled.

        Args:
            values: A tensor for each of `model.trainable_variables`.
            scales: A vector of shape `(size,)`.
        """
        values = list(values)
        for entry, part in zip(self.entries, self._parts, strict=True):
            value = values[entry.position]
            factor = ops.cast(scales[part], value.dtype)
            values[entry.position] = value * _as_rows(factor, value, entry.copies)
        return values

    def derivative(self, values: list[Any], gradients: list[Any]) -> Any:
        """Returns the derivatives by the scales: <gradient, value> of each copy.

        Args:
            values: The unscaled values of the trained variables.
            gradients: The gradients by the scaled ones.

        Returns:
            A tensor of shape `(size,)`.
        """
        return ops.concatenate(
            [
                _row_sums(values[e.position] * gradients[e.position], e.copies)
                for e in self.entries
            ]
        )

    def norms(self) -> np.ndarray:
        """Returns the norms of the copies of the variables, of shape `(size,)`."""
        norms = []
        for entry in self.entries:
            value = ops.convert_to_numpy(entry.variable).astype("float64")
            rows = value.reshape(entry.copies, -1)
            norms.append(np.linalg.norm(rows, axis=1))
        return np.concatenate(norms)

    def scale(self, scales: np.ndarray) -> Iterator[tuple[ScaledVariable, np.ndarray]]:
        """Yields each entry with the scaled value of its variable.

        Args:
            scales: A vector of shape `(size,)`.
        """
        for entry, factors in self.split(scales):
            value = ops.convert_to_numpy(entry.variable)
            shape = (-1,) + (1,) * (value.ndim - 1) if entry.copies > 1 else ()
            yield entry, (value * factors.reshape(shape)).astype(value.dtype)

    def split(self, scales: np.ndarray) -> Iterator[tuple[ScaledVariable, np.ndarray]]:
        """Yields each entry with the scales of its copies.

        Args:
            scales: A vector of shape `(size,)`.
        """
        for entry, part in zip(self.entries, self._parts, strict=True):
            yield entry, scales[part]


@dataclasses.dataclass(frozen=True)
class SearchProblem:
    """A model whose variables are to be scaled.

    Args:
        model: The model, with the values that the search starts from.
        analysis: The analysis of the model.
        program: The model as a program of calls, whose variables are the model's own.
        loss: A Keras loss, a function of labels and outputs, or None for the loss with
            which the model is compiled.
        kept: The identities of variables that must keep their values.
    """

    model: keras.Model
    analysis: ModelAnalysis
    program: Program
    loss: Any
    kept: set[int]


@dataclasses.dataclass(frozen=True)
class StepResult:
    """What one iteration measured.

    Args:
        rank: Orders the scales: the lower, the better.
        numbers: The entries of the history, by name.

    Example:
        >>> from keras_convinit.schemes import StepResult
        >>> StepResult((0.5,), {"loss": 0.5}).rank < StepResult((1.0,), {}).rank
        True
    """

    rank: tuple[float, ...]
    numbers: dict[str, float]


class BatchSampler:
    """Yields batches of inputs and labels without end.

    Arrays are shuffled anew in each epoch; a data set gives its samples in its own
    order.

    Args:
        model: The model that takes them.
        data: A pair of inputs and labels as arrays, or a data set of batches of such.
        scheme: The name of the scheme, for messages.

    Raises:
        ValueError: `data` have no labels, or are less than two samples.

    Example:
        >>> from keras_convinit.schemes import BatchSampler
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> data = np.zeros((10, 8)), np.zeros((10, 4))
        >>> sampler = BatchSampler(model, data, "mine")
        >>> sampler.next(16).size
        16
    """

    def __init__(self, model: KerasModel, data: DataLike, scheme: str) -> None:
        self._model = model
        self._scheme = scheme
        self._generator = np.random.default_rng()
        self._is_set = _data.is_dataset(data)
        self._parts = self._of_set(data) if self._is_set else self._of_arrays(data)
        self._rest = next(self._parts)
        least = _data.get_batch_size(model) or 2
        while self._is_set and self._rest.size < least:
            self._rest = concatenate_batches([self._rest, next(self._parts)])

    def begin(self, seed: int) -> None:
        """Shuffles arrays by a seed, the samples that are next among them.

        Args:
            seed: An integer.
        """
        self._generator = np.random.default_rng(seed)
        if not self._is_set:
            self._rest = self._shuffle(self._rest)

    def peek(self) -> Batch:
        """Returns the samples that are next, and leaves them there.

        Returns:
            All samples of arrays, the first batch of a data set.
        """
        return self._rest

    def next(self, count: int) -> Batch:
        """Returns the next samples.

        Args:
            count: Their number.

        Raises:
            ValueError: The samples are not finite, or the data set ends for good.
        """
        parts = [self._rest]
        held = self._rest.size
        while held < count:
            parts.append(next(self._parts))
            held += parts[-1].size
        everything = concatenate_batches(parts)
        self._rest = everything.rows(slice(count, None))
        batch = everything.rows(slice(count))
        _data.check_finite("data", (batch.x, batch.y, batch.weights))
        return batch

    def _shuffle(self, batch: Batch) -> Batch:
        return batch.rows(self._generator.permutation(batch.size))

    def _of_arrays(self, data: DataLike) -> Iterator[Batch]:
        batch = self._check_labels(
            _data.take_first_batch(self._model, data, name="data", at_once=False)
        )
        if batch.size < 2:
            raise ValueError(
                f"`data` must have two samples at least for the scheme {self._scheme}. "
                f"Received: data of shape {_data.show_shapes((batch.x, batch.y))}"
            )
        yield batch
        while True:
            yield self._shuffle(batch)

    def _of_set(self, data: DataLike) -> Iterator[Batch]:
        seen = 0
        while True:
            before = seen
            for batch in _data.iterate_batches(self._model, data, "data"):
                seen += batch.size
                yield self._check_labels(batch)
            if isinstance(data, keras.utils.PyDataset):
                data.on_epoch_end()
            if seen == before:
                raise ValueError(
                    "`data` must have at least one batch, and begin again when it is "
                    "at its end, unless it has enough samples. "
                    f"Received: data={data!r}, at its end after {seen} samples"
                )
            if seen < 2:
                raise ValueError(
                    f"`data` must have two samples at least for the scheme "
                    f"{self._scheme}. Received: data={data!r}, with {seen}"
                )

    def _check_labels(self, batch: Batch) -> Batch:
        if batch.y is None:
            raise ValueError(
                f"`data` must be inputs and labels for the scheme {self._scheme}: a "
                "pair of arrays, or a data set of batches that are such pairs. "
                f"Received: data of shape {_data.show_shapes(batch.x)}, without labels"
            )
        return batch


class ScaleSearch(abc.ABC):
    """A running search.

    Args:
        scales: The variables that are scaled.
        total: The number of iterations.

    Attributes:
        at: The current scales, a vector of shape `(scales.size,)`; ones at the start.

    Example:
        >>> from keras_convinit.schemes import ScaleSearch, ScaleVector, StepResult
        >>> class Shrink(ScaleSearch):
        ...     def step(self):
        ...         size = float(np.linalg.norm(self.at))
        ...         self.at = 0.9 * self.at
        ...         return StepResult((size,), {"size": size})
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> search = Shrink(ScaleVector(model, lambda variable, rank: rank > 1), 10)
        >>> search.step().numbers["size"]
        1.0
    """

    def __init__(self, scales: ScaleVector, total: int) -> None:
        self.scales = scales
        self.total = total
        self.at = np.ones(scales.size)

    @abc.abstractmethod
    def step(self) -> StepResult:
        """Measures at the current scales, and replaces `at` by the next ones.

        The vector `at` is not changed in place: the best one is kept.

        Returns:
            What was measured at the scales that the iteration began with.
        """


class ScaleSearchScheme(Scheme):
    """Base of schemes that start from another scheme, and search for better scales.

    A subclass makes a `ScaleSearch`. Starting, progress, the best scales so far when
    numbers stop being finite or Ctrl-C is pressed, and the report are done here.

    Attributes:
        start: The scheme to start from; None for the weights as they are.
        verbose: Whether to show progress.
        shown: The names of `StepResult.numbers` that progress shows as they are, not
            averaged.

    Example:
        >>> from keras_convinit import schemes
        >>> class Halve(schemes.ScaleSearch):
        ...     def step(self):
        ...         largest = float(self.at.max())
        ...         self.at = self.at / 2
        ...         return schemes.StepResult((largest,), {"largest": largest})
        >>> class Halves(schemes.ScaleSearchScheme):
        ...     start, verbose = None, False
        ...     def search(self, problem, sampler, seed):
        ...         def is_kernel(variable, rank):
        ...             return rank > 1
        ...         return Halve(schemes.ScaleVector(problem.model, is_kernel), 3)
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> data = np.zeros((4, 8)), np.zeros((4, 4))
        >>> report = keras_convinit.initialize(model, Halves(), data=data, loss="mse")
        >>> report.history["largest"]
        (1.0, 0.5, 0.25)
    """

    start: Scheme | None
    verbose: bool
    shown: tuple[str, ...] = ()

    def sampler(self, request: InitRequest) -> BatchSampler | None:
        """Returns the source of samples; None for a scheme that needs none.

        Args:
            request: What was asked.
        """
        return BatchSampler(request.model, request.data, type(self).__name__)

    @abc.abstractmethod
    def search(
        self, problem: SearchProblem, sampler: BatchSampler | None, seed: int
    ) -> ScaleSearch:
        """Returns the search, which starts from the values that the model has.

        Args:
            problem: The model and its loss.
            sampler: The source of samples, as `sampler` returned it.
            seed: A seed for what the search draws itself.
        """

    def apply(self, request: InitRequest) -> InitializationReport:
        """Starts, searches, and puts the scaled values into the overlay.

        Args:
            request: What was asked.

        Returns:
            The report.

        Raises:
            ValueError: The loss or the data are not for the model, or the numbers of
                the first iteration are not finite.
        """
        model, name, overlay = request.model, type(self).__name__, request.overlay
        loss = resolve_loss(model, request.loss)
        sampler = self.sampler(request)
        samples = None if sampler is None else sampler.peek()
        # What is not for the scheme is refused before anything is changed.
        analysis = request.analyze(None if samples is None else samples.x)
        if samples is not None:
            check_loss_on_few(model, loss, samples.x, samples.y, samples.weights)
        if loss is None:
            check_regularizers(model)
        kept = kept_kernels(analysis)
        started = None if self.start is None else self.start.apply(request)
        # Programs are compiled for variables: while they search, these have the start.
        with overlay.assigned():
            program = make_executable(analysis.program, stay_whole=regularizes_outputs)
            seed = request.seeds.next()
            if sampler is not None:
                sampler.begin(seed)
            problem = SearchProblem(
                model, analysis, program, loss, _kept_variables(model, set(kept))
            )
            search = self.search(problem, sampler, seed)
            history, ended = self._run(search)
            values = [value for _, value in search.scales.scale(search.at)]
        for entry, value in zip(search.scales.entries, values, strict=True):
            overlay.put(entry.variable, value)
        report = InitializationReport(
            name,
            tuple(_rows(search, values, analysis, name)),
            tuple(kept.values()),
            (*analysis.describe_doubts(), *(() if ended is None else (ended.note,))),
            history={key: tuple(values) for key, values in history.items()},
            interrupted=ended is not None and ended.interrupted,
        )
        return report if started is None else started + report

    def _run(
        self, search: ScaleSearch
    ) -> tuple[dict[str, list[float]], "_Ended | None"]:
        """Searches to the end, or as far as it gets: then with the best scales."""
        history: dict[str, list[float]] = collections.defaultdict(list)
        name = type(self).__name__
        progress = keras.utils.Progbar(
            search.total,
            verbose=1 if self.verbose else 0,
            stateful_metrics=self.shown,
            unit_name="iteration",
        )
        best: tuple[tuple[float, ...], np.ndarray] | None = None
        for number in range(search.total):
            at = search.at
            # Whoever defers interruptions wants an end, not the best until now.
            check_interruption()
            try:
                result = search.step()
                if not all(map(math.isfinite, result.numbers.values())):
                    raise _NotFiniteError(result)
            except (KeyboardInterrupt, _NotFiniteError) as error:
                if best is None:
                    if isinstance(error, _NotFiniteError):
                        raise ValueError(str(error)) from None
                    raise
                search.at = best[1]
                what = str(error) or "interrupted"
                note = (
                    f"{name} ended after {number} of {search.total} iterations, with "
                    f"the best of them: {what}"
                )
                warnings.warn(note, stacklevel=4)
                return history, _Ended(note, isinstance(error, KeyboardInterrupt))
            if best is None or result.rank < best[0]:
                best = result.rank, at
            for key, value in result.numbers.items():
                history[key].append(value)
            progress.update(number + 1, list(result.numbers.items()))
        return history, None


@dataclasses.dataclass(frozen=True)
class _Ended:
    """The early end of a search."""

    note: str
    interrupted: bool


class _NotFiniteError(Exception):
    def __init__(self, result: StepResult) -> None:
        numbers = ", ".join(f"{key}={value}" for key, value in result.numbers.items())
        super().__init__(
            "The loss and its derivatives must be finite on the samples. "
            f"Received: {numbers}"
        )


def _kept_variables(model: keras.Model, kept: set[int]) -> set[int]:
    for layer in leaves(model):
        if reason_of_layer(layer) is not None:
            kept.update(id(variable) for variable in layer.variables)
    return kept


def _rows(
    search: ScaleSearch, values: list[np.ndarray], analysis: ModelAnalysis, name: str
) -> list[Row]:
    fans: dict[int, tuple[float, float]] = {}
    for context in analysis.kernels:
        for variable in (context.kernel.variable, context.kernel.gain):
            fans[id(variable)] = context.kernel.geometry.fans()
    rows = []
    scales_of = search.scales.split(search.at)
    for (entry, scales), whole in zip(scales_of, values, strict=True):
        for copy, scale in enumerate(scales):
            path, value = entry.variable.path, whole
            if entry.copies > 1:
                path, value = f"{path}[{copy}]", whole[copy]
            rule = f"{name}, times {scale:.3g}"
            fan_in, fan_out = fans.get(id(entry.variable), (None, None))
            std = float(np.std(value.astype("float64")))
            rows.append(Row(path, entry.layer, fan_in, fan_out, rule, None, std))
    return rows


def _as_rows(factor: Any, value: Tensor, copies: int) -> Any:
    ranks = len(value.shape)
    return ops.reshape(factor, (copies, *[1] * (ranks - 1)) if copies > 1 else ())


def _row_sums(products: Any, copies: int) -> Any:
    axes = tuple(range(1, len(products.shape))) if copies > 1 else None
    sums = ops.cast(ops.sum(products, axis=axes), "float32")
    return ops.reshape(sums, (copies,))


def _describe(model: keras.Model) -> Iterator[tuple[Any, int, int, bool, str]]:
    """Yields each variable, its copies, the rank of one, if it is a bias, its layer."""
    done: set[int] = set()
    for layer in leaves(model):
        name = type(layer).__name__
        stacked = stacked_variables_of(layer)
        if stacked:
            biases = _biases(layer.branch)
            rows = [
                (
                    pair.variable,
                    layer.num_blocks,
                    len(pair.template.shape),
                    id(pair.template) in biases,
                    name,
                )
                for pair in stacked
            ]
        else:
            biases = _biases(layer)
            rows = [(v, 1, len(v.shape), id(v) in biases, name) for v in layer.weights]
        for row in rows:
            if id(row[0]) not in done:
                done.add(id(row[0]))
                yield row
    for variable in model.weights:
        if id(variable) not in done:
            yield variable, 1, len(variable.shape), False, type(model).__name__


def _biases(layer: KerasLayer) -> set[int]:
    """Returns the identities of each `bias`, and of each `beta` of a normalization."""
    parts = [part for leaf in leaves(layer) for part in _with_parts(leaf)]
    found = [getattr(part, name, None) for part in parts for name in ("bias", "beta")]
    return {id(variable) for variable in found if variable is not None}


def _with_parts(layer: KerasLayer) -> Iterator[Any]:
    yield layer
    if isinstance(layer, keras.layers.Wrapper):
        yield from _with_parts(layer.layer)
