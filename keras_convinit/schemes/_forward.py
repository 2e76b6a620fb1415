"""Schemes that set each kernel by the signal that reaches it, in one pass."""

import abc
from typing import Any

import keras
from keras import ops

from keras_convinit import _data
from keras_convinit._masks import make_repeatable
from keras_convinit.graph import (
    BlockBegins,
    BlockEnds,
    Call,
    Graph,
    Site,
    expand,
    takes_training,
)
from keras_convinit.kernels import Kernel, kernels_of
from keras_convinit.schemes._inference import uses_batch_statistics
from keras_convinit.schemes._kept import kept
from keras_convinit.schemes._other_variables import reset_values
from keras_convinit.schemes._rules import (
    check_kernels,
    notes_of,
    notes_on_seeds,
    row_of_other,
)
from keras_convinit.schemes._scheme import AbstractScheme, Task
from keras_convinit.schemes._visit import Visit
from keras_convinit.schemes.report import InitializationReport, LeftAlone, Row

# Of arrays, which may be a whole data set.
MOST = 256


class AbstractForward(AbstractScheme):
    """Runs the model once, layer by layer, and sets each kernel on the way.

    Batch normalisation works with the statistics of the batch, which its averages do
    not see; all else runs as in inference.

    Args:
        samples: How many samples to look at; None for the batch size of a model that
            has one, for the first batch of a data set, and for no more than `MOST` of
            arrays.
    """

    samples: int | None = None

    # What draws the kernels, if anything does.
    initializer: Any = None

    @abc.abstractmethod
    def treats(self, layer: Any, sites: list[tuple[Kernel, Site]]) -> bool:
        """Whether the scheme sets these kernels of a layer, all that it may set.

        Others start as their layers say.
        """

    @abc.abstractmethod
    def visit(self, visit: Visit) -> Any:
        """Sets the kernels of a layer, and gives its outputs."""

    def check(self, graph: Graph) -> None:
        """Refuses a model that the scheme is not for.

        Raises:
            ValueError: It is not.
        """

    def conclude(self, troubles: list[tuple[str, str]]) -> None:
        """Says what could not be done."""

    def apply(self, task: Task) -> InitializationReport:
        """Sets the kernels by data, and the other variables as asked."""
        model, name = task.model, type(self).__name__
        inputs = _inputs(task, self.samples, name)
        graph = task.read(inputs)
        check_kernels(graph, model)
        self.check(graph)
        run = Run(self, task, graph)
        run.set_others()
        run.forward(_data.to_tensors(inputs))
        self.conclude(run.troubles)
        notes = [*notes_of(graph), *run.notes, *notes_on_seeds([self.initializer])]
        notes += [f"{path}: {why}" for path, why in run.troubles]
        return InitializationReport(
            name, tuple(run.rows), tuple(run.left), tuple(notes)
        )


class Run:
    """One pass of one scheme through one model.

    Args:
        scheme: The scheme.
        task: What was asked.
        graph: The model, read.
    """

    def __init__(self, scheme: AbstractForward, task: Task, graph: Graph) -> None:
        self.rows: list[Row] = []
        self._others: list[Row] = []
        self._stay = kept(graph)
        self.left: list[LeftAlone] = list(self._stay.values())
        self.notes: list[str] = []
        self.troubles: list[tuple[str, str]] = []
        self.pending = task.pending
        self._scheme = scheme
        self._task = task
        self._program = program = expand(graph.program, blocks=True)
        self._kernels = [_kernels(call) for call in program.calls]
        # From a variable of a template to that of the stack.
        self._owners = {
            id(pair.template): pair.variable
            for call in program.calls
            if isinstance(call.layer, BlockBegins)
            for pair in call.layer.stack.stacked_variables
        }
        self._sites = {id(site.kernel.variable): site for site in graph.sites}
        self._done: set[int] = set()
        self._block: list[int] = []
        self._rows_of_stack: dict[int, list[Any]] = {}
        self._treated = self._chosen()

    def _chosen(self) -> set[int]:
        """The identities of kernels that the scheme sets."""
        treated: set[int] = set()
        for call, kernels in zip(self._program.calls, self._kernels, strict=True):
            sites = [
                (kernel, site)
                for kernel in kernels
                if (site := self._site(kernel)) is not None
                and id(site.kernel.variable) not in self._stay
            ]
            if sites and self._scheme.treats(call.layer, sites):
                treated.update(id(site.kernel.variable) for _, site in sites)
        return treated

    def set_others(self) -> None:
        """Gives the other variables what their layers give them, if asked."""
        if self._task.others == "keep":
            return
        handled = set()
        for site in self._sites.values():
            if id(site.kernel.variable) in self._treated or (
                id(site.kernel.variable) in self._stay
            ):
                handled |= {id(site.kernel.variable), id(site.kernel.gain)}
        for layer, variable, value in reset_values(
            self._task.model, handled, self._task.seeds
        ):
            if isinstance(value, LeftAlone):
                self.left.append(value)
                continue
            self.pending.put(variable, value)
            self._others.append(row_of_other(layer, variable, value))

    def forward(self, inputs: Any) -> None:
        """Runs the program in the scope."""
        with self.pending.in_place():
            outputs = self._program.run(inputs, self._call)
        by_data = {row.path.partition("[")[0] for row in self.rows}
        self.rows += [row for row in self._others if row.path not in by_data]
        for outcome in keras.tree.flatten(outputs):
            if not bool(ops.convert_to_numpy(ops.all(ops.isfinite(outcome)))):
                raise ValueError(
                    "`data` must give finite signals in all of the model. "
                    "Received: data that give outputs which are NaN or infinite"
                )

    def _call(self, step: Call, *args: Any, **kwargs: Any) -> Any:
        layer = step.layer
        if isinstance(layer, BlockEnds):
            self._leave(layer)
        elif isinstance(layer, BlockBegins):
            self._enter(layer)
        if not step.fixed_training and takes_training(layer):
            kwargs["training"] = uses_batch_statistics(layer)
        sites = []
        for kernel in self._kernels[step.index]:
            site = self._site(kernel)
            if site is None or id(site.kernel.variable) not in self._treated:
                continue
            if id(kernel.variable) in self._done:
                note = f"{step.path}: called again; its first call decided"
                if note not in self.notes:
                    self.notes.append(note)
                continue
            self._done.add(id(kernel.variable))
            sites.append((kernel, site))
        if not sites:
            return layer(*args, **kwargs)
        suffix = "".join(f"[{index}]" for index in self._block)
        visit = Visit(
            step.path,
            layer,
            make_repeatable(layer, args, kwargs),
            sites,
            self.pending,
            self._task.seeds,
            self._owner,
            suffix,
            self.rows,
            self.troubles,
        )
        return self._scheme.visit(visit)

    def _site(self, kernel: Kernel) -> Site | None:
        return self._sites.get(id(self._owner(kernel.variable)))

    def _owner(self, variable: Any) -> Any:
        while id(variable) in self._owners:
            variable = self._owners[id(variable)]
        return variable

    def _enter(self, block: BlockBegins) -> None:
        self._block.append(block.index)
        for pair in block.stack.stacked_variables:
            row = self.pending.value(pair.variable)[block.index]
            self.pending.lend(pair.template, row)
            self._done.discard(id(pair.template))

    def _leave(self, block: BlockEnds) -> None:
        self._block.pop()
        for pair in block.stack.stacked_variables:
            number = id(pair.variable)
            rows = self._rows_of_stack.setdefault(number, [])
            rows.append(self.pending.value(pair.template))
            if len(rows) == block.stack.num_blocks:
                del self._rows_of_stack[number]
                # A stack may itself be in the template of another one.
                inside = number in self._owners
                put = self.pending.lend if inside else self.pending.put
                put(pair.variable, ops.stack(rows))


def _kernels(call: Call) -> tuple[Kernel, ...]:
    layer = call.layer
    is_layer = isinstance(layer, keras.layers.Layer)
    if not is_layer or not (layer.built or layer.variables):
        return ()
    try:
        return kernels_of(layer)
    except ValueError:
        # The graph has it among what is unread.
        return ()


def _inputs(task: Task, samples: int | None, scheme: str) -> Any:
    """Inputs for one pass, a nest of arrays."""
    data = task.data
    if data is None:
        raise ValueError(
            f"`data` must be given for the scheme {scheme}: inputs, or a pair of "
            "inputs and labels, as arrays or a data set. Received: data=None"
        )
    if samples is None:
        samples = _data.get_batch_size(task.model)
    if samples is None and not _data.is_dataset(data):
        samples = MOST
    batch = _data.take_first_batch(task.model, data, name="data", samples=samples)
    if batch.size < 2:
        raise ValueError(
            f"`data` must have two samples at least for the scheme {scheme}, which "
            "measures how they differ. "
            f"Received: data of shape {_data.show_shapes(batch.x)}"
        )
    _data.check_finite("data", batch.x)
    return batch.x
