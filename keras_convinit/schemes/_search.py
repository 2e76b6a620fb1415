"""Schemes that search for the sizes of variables, step by step."""

import abc
import collections
import dataclasses
import math
import warnings
from typing import Any

import keras
import numpy as np

from keras_convinit._interruption import check_interruption
from keras_convinit._loss import check_loss_on_few, check_regularizers, resolve_loss
from keras_convinit.graph import Graph, Trace, expand, regularizes_outputs
from keras_convinit.schemes._kept import kept, reason_of_layer
from keras_convinit.schemes._other_variables import leaves
from keras_convinit.schemes._rules import check_kernels, notes_of
from keras_convinit.schemes._scales import Scales
from keras_convinit.schemes._scheme import AbstractScheme, Task
from keras_convinit.schemes._stream import Stream
from keras_convinit.schemes.report import InitializationReport, Row


@dataclasses.dataclass(frozen=True)
class Problem:
    """A model whose variables are to be scaled.

    Args:
        model: The model, started.
        graph: The model, read.
        program: The model as a program of calls.
        loss: What `resolve_loss` gives.
        stay: Identities of variables that are not to be scaled.
    """

    model: keras.Model
    graph: Graph
    program: Trace
    loss: Any
    stay: set[int]


@dataclasses.dataclass(frozen=True)
class Found:
    """What an iteration saw at some scales.

    Args:
        rank: The lower, the better the scales.
        numbers: For the history.
    """

    rank: tuple[float, ...]
    numbers: dict[str, float]


class AbstractSearch(abc.ABC):
    """A search at work.

    Args:
        scales: What is scaled.
        total: How many iterations there are.
    """

    def __init__(self, scales: Scales, total: int) -> None:
        self.scales = scales
        self.total = total
        self.at = np.ones(scales.size)

    @abc.abstractmethod
    def step(self) -> Found:
        """One iteration: says what there is at the scales, and moves them."""


class AbstractScaling(AbstractScheme):
    """Starts by another scheme, and searches for a scale of each variable.

    Args:
        start: The scheme to start from.
        verbose: Whether to show progress.
    """

    start: AbstractScheme | None
    verbose: bool
    # What progress shows: the names of what an iteration finds.
    shown: tuple[str, ...] = ()

    def stream(self, task: Task) -> Stream | None:
        """The samples; None for a scheme that does without."""
        return Stream(task.model, task.data, type(self).__name__)

    @abc.abstractmethod
    def search(
        self, problem: Problem, stream: Stream | None, seed: int
    ) -> AbstractSearch:
        """The search, from what the model is now."""

    def apply(self, task: Task) -> InitializationReport:
        """Starts, searches, and multiplies what it started from."""
        model, name = task.model, type(self).__name__
        loss = resolve_loss(model, task.loss)
        stream = self.stream(task)
        samples = None if stream is None else stream.peek()
        inputs = None if samples is None else samples.x
        # What is not for the scheme is refused before anything is changed.
        graph = task.read(inputs)
        check_kernels(graph, model)
        if samples is not None:
            check_loss_on_few(model, loss, samples.x, samples.y, samples.weights)
        if loss is None:
            check_regularizers(model)
        stay = kept(graph)
        started = None if self.start is None else self.start.apply(task)
        # Programs are compiled for variables: while they search, these have the start.
        with task.pending.assigned():
            program = expand(graph.program, stay_whole=regularizes_outputs)
            seed = task.seeds.next()
            if stream is not None:
                stream.begin(seed)
            problem = Problem(
                model, graph, program, loss, _kept_variables(model, graph)
            )
            search = self.search(problem, stream, seed)
            history, ended = self._run(search)
            values = [value for _, value in search.scales.scaled(search.at)]
        for entry, value in zip(search.scales.entries, values, strict=True):
            task.pending.put(entry.variable, value)
        report = InitializationReport(
            name,
            tuple(_rows(search, values, graph, name)),
            tuple(stay.values()),
            (*notes_of(graph), *(() if ended is None else (ended.note,))),
            history={key: tuple(values) for key, values in history.items()},
            interrupted=ended is not None and ended.interrupted,
        )
        return report if started is None else started + report

    def _run(
        self, search: AbstractSearch
    ) -> tuple[dict[str, list[float]], "_Ended | None"]:
        """Searches to the end, or as far as it gets: then with the best that it saw."""
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
                found = search.step()
                if not all(map(math.isfinite, found.numbers.values())):
                    raise _NotFiniteError(found)
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
            if best is None or found.rank < best[0]:
                best = found.rank, at
            for key, value in found.numbers.items():
                history[key].append(value)
            progress.update(number + 1, list(found.numbers.items()))
        return history, None


@dataclasses.dataclass(frozen=True)
class _Ended:
    """How a search ended before its time."""

    note: str
    interrupted: bool


class _NotFiniteError(Exception):
    def __init__(self, found: Found) -> None:
        numbers = ", ".join(f"{key}={value}" for key, value in found.numbers.items())
        super().__init__(
            "The loss and its derivatives must be finite on the samples. "
            f"Received: {numbers}"
        )


def _kept_variables(model: keras.Model, graph: Graph) -> set[int]:
    stay = set(kept(graph))
    for layer in leaves(model):
        if reason_of_layer(layer) is not None:
            stay.update(id(variable) for variable in layer.variables)
    return stay


def _rows(
    search: AbstractSearch, values: list[np.ndarray], graph: Graph, name: str
) -> list[Row]:
    fans: dict[int, tuple[float, float]] = {}
    for site in graph.sites:
        for variable in (site.kernel.variable, site.kernel.gain):
            fans[id(variable)] = site.kernel.geometry.fans()
    rows = []
    of = search.scales.of(search.at)
    for (entry, scales), whole in zip(of, values, strict=True):
        for copy, scale in enumerate(scales):
            path, value = entry.variable.path, whole
            if entry.copies > 1:
                path, value = f"{path}[{copy}]", whole[copy]
            rule = f"{name}, times {scale:.3g}"
            fan_in, fan_out = fans.get(id(entry.variable), (None, None))
            std = float(np.std(value.astype("float64")))
            rows.append(Row(path, entry.layer, fan_in, fan_out, rule, None, std))
    return rows
