"""Schemes that need no data: a rule for each kernel, from what stands around it."""

import abc
import dataclasses
import functools
import numbers
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
from keras import ops

from keras_convinit import _data
from keras_convinit.graph import Graph, Site
from keras_convinit.initializers import WeightNormGain
from keras_convinit.kernels import (
    Kernel,
    effective_kernel,
    gain_shape,
    output_norms,
)
from keras_convinit.schemes._kept import kept
from keras_convinit.schemes._kernel_values import (
    draws_by_itself,
    kernel_values,
    target_std,
)
from keras_convinit.schemes._other_variables import reset_values
from keras_convinit.schemes._pending import Pending
from keras_convinit.schemes._scheme import AbstractScheme, Task
from keras_convinit.schemes.report import (
    AS_ITS_LAYER,
    InitializationReport,
    LeftAlone,
    Row,
)

AS_DRAWN = WeightNormGain(mode="kernel")


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a kernel is to become.

    Args:
        label: What the report calls it.
        initializer: Draws the kernel, or v where gains are given.
        gains: Gives the gains for a copy of the kernel, counted from 0. None for a
            kernel as it is drawn, whatever way the layer stores it.
        factor: What the kernel is multiplied by in the end.
    """

    label: str
    initializer: Any
    gains: Callable[[int], WeightNormGain] | None = None
    factor: float = 1.0


class AbstractRules(AbstractScheme):
    """A scheme that reads the graph and gives a rule to each kernel.

    Args:
        stride_aware: Whether fans count only what a strided window visits.
        zero_biases: Whether biases of layers with kernels are zero, and not what their
            layers give them.
    """

    stride_aware = False
    zero_biases = False

    @abc.abstractmethod
    def rule(self, site: Site, graph: Graph) -> Rule:
        """The rule for a kernel."""

    def check(self, graph: Graph) -> None:
        """Refuses a model that the scheme is not for.

        Raises:
            ValueError: It is not.
        """

    def name(self) -> str:
        """What reports call the scheme."""
        return type(self).__name__

    def apply(self, task: Task) -> InitializationReport:
        """Gives each kernel its rule's values, and the other variables as asked."""
        graph = task.read(_inputs(task))
        check_kernels(graph, task.model)
        self.check(graph)
        stay = kept(graph)
        left = list(stay.values())
        handled: set[int] = set()
        planned: list[tuple[Site, list[int]]] = []
        for site in graph.sites:
            kernel = site.kernel
            handled.update((id(kernel.variable), id(kernel.gain)))
            if id(kernel.variable) not in stay:
                seeds = [task.seeds.next() for _ in range(kernel.copies)]
                planned.append((site, seeds))
        others: list[Row] = []
        for one in self._others(task, graph, handled):
            if isinstance(one, Row):
                others.append(one)
            else:
                left.append(one)
        # A rule may ask for the slopes that an activation starts with.
        with task.pending.in_place():
            rules = [_divided(self.rule(site, graph), site) for site, _ in planned]
        rows: list[Row] = []
        for (site, seeds), rule in zip(planned, rules, strict=True):
            self._put(task.pending, site.kernel, rule, seeds)
            rows += self._rows(task.pending, site, rule)
        notes = [*notes_of(graph), *notes_on_seeds(rule.initializer for rule in rules)]
        return InitializationReport(
            self.name(), (*rows, *others), tuple(left), tuple(notes)
        )

    def _put(
        self, pending: Pending, kernel: Kernel, rule: Rule, seeds: list[int]
    ) -> None:
        drawn = kernel_values(rule.initializer, kernel, seeds, self.stride_aware)
        if kernel.gain is not None:
            gains = _gains(kernel, rule, drawn)
            pending.put(kernel.gain, _stacked([g * rule.factor for g in gains], kernel))
        else:
            if rule.gains is not None:
                axes = kernel.geometry.output_axes
                pairs = zip(drawn, _gains(kernel, rule, drawn), strict=True)
                drawn = [effective_kernel(v, g, axes) for v, g in pairs]
            drawn = [value * rule.factor for value in drawn]
        pending.put(kernel.variable, _stacked(drawn, kernel))

    def _others(
        self, task: Task, graph: Graph, handled: set[int]
    ) -> Iterator[Row | LeftAlone]:
        if task.others == "keep":
            return
        zeros = _biases(graph) if self.zero_biases else set()
        for layer, variable, value in reset_values(task.model, handled, task.seeds):
            if isinstance(value, LeftAlone):
                yield value
                continue
            rule = AS_ITS_LAYER
            if id(variable) in zeros:
                rule, value = "0", ops.zeros(variable.shape, variable.dtype)
            task.pending.put(variable, value)
            yield row_of_other(layer, variable, value, rule)

    def _rows(self, pending: Pending, site: Site, rule: Rule) -> Iterator[Row]:
        kernel = site.kernel
        fans = kernel.geometry.fans(self.stride_aware)
        layer = type(site.layer).__name__
        target = target_std(rule.initializer, kernel, self.stride_aware)
        if rule.gains is not None:
            gain = rule.gains(0)
            if gain.mode != "kernel":
                # The root mean square of weights that meet in an output.
                fan_in = kernel.geometry.fans()[0]
                target = gain.gain(kernel.geometry) / fan_in**0.5
        if target is not None:
            target *= rule.factor
        measured = _std(pending.get(kernel.variable))
        if kernel.gain is None:
            yield Row(kernel.variable.path, layer, *fans, rule.label, target, measured)
            return
        of_direction = f"direction: {_name(rule.initializer)}"
        yield Row(kernel.variable.path, layer, *fans, of_direction, None, measured)
        effective = _effective_std(
            kernel, pending.get(kernel.variable), pending.get(kernel.gain)
        )
        yield Row(kernel.gain.path, layer, *fans, rule.label, target, effective)


def _gains(kernel: Kernel, rule: Rule, drawn: list[Any]) -> Iterator[Any]:
    """The gains of each copy, those of the kernels as drawn where a rule has none."""
    axes = kernel.geometry.output_axes
    for copy, direction in enumerate(drawn):
        law = AS_DRAWN if rule.gains is None else rule.gains(copy)
        yield law.draw(
            gain_shape(direction.shape, axes),
            kernel.geometry,
            functools.partial(output_norms, direction, axes, direction.dtype),
            direction.dtype,
        )


def _inputs(task: Task) -> Any:
    """Inputs for a model that cannot be read without; others may need their data."""
    if task.data is None or _data.get_input_names(task.model) is not None:
        return None
    return _data.take_first_batch(task.model, task.data, name="data").x


def _biases(graph: Graph) -> set[int]:
    """Identities of the biases that are added to what a kernel gives."""
    return {
        id(variable)
        for site in graph.sites
        for variable in site.layer.weights
        if variable.name.endswith("bias")
        and _owner(variable) == _owner(site.kernel.variable)
    }


def _owner(variable: Any) -> str:
    return str(getattr(variable, "path", "")).rpartition("/")[0]


def row_of_other(
    layer: Any, variable: Any, value: Any, rule: str = AS_ITS_LAYER
) -> Row:
    """The row of a variable that is no kernel."""
    name = type(layer).__name__
    std = None
    if keras.backend.is_float_dtype(variable.dtype):
        std = _std(value)
    return Row(variable.path, name, None, None, rule, None, std)


def _divided(rule: Rule, site: Site) -> Rule:
    """The rule of a kernel whose gain holds the factor of its branch."""
    if site.absorbed == 1:
        return rule
    label = f"{rule.label} * {site.absorbed:.4g}"
    return dataclasses.replace(rule, label=label, factor=rule.factor * site.absorbed)


def check_kernels(graph: Graph, model: Any) -> None:
    """Refuses a model in which there is no kernel that is known."""
    if graph.sites:
        return
    unread = "; ".join(_unread(graph))
    known = f" that could be read: {unread}" if unread else ""
    raise ValueError(
        "`model` must have kernels, such as those of Dense or Conv layers. "
        f"Received: the model {model.name!r}, which has none{known}"
    )


def notes_of(graph: Graph) -> Iterator[str]:
    """What the graph was in doubt about."""
    for conflict in graph.conflicts:
        values = " or ".join(map(_name, conflict.values))
        yield (
            f"{conflict.path}: {conflict.name} may be {values} ({conflict.reason}); "
            "the first was taken"
        )
    yield from _unread(graph)


def _unread(graph: Graph) -> Iterator[str]:
    by_reason: dict[str, list[str]] = {}
    for one in graph.unread:
        # Layers of one class are told together, whatever each of them is called.
        of_class = one.reason.replace(f"{one.layer!r} of class ", "")
        by_reason.setdefault(of_class, []).append(one.path)
    for reason, (first, *others) in by_reason.items():
        more = f" and {len(others)} more" if others else ""
        yield f"{first}{more}: {reason}"


def notes_on_seeds(initializers: Iterable[Any]) -> Iterator[str]:
    """Which of the initializers do not draw what the seed says."""
    names = {type(one).__name__: one for one in initializers}
    for name, one in names.items():
        if draws_by_itself(one):
            yield (
                f"{name} draws by itself, whatever the seed: it has no attribute "
                "`seed` from which all that it draws follows"
            )


def _stacked(values: list[Any], kernel: Kernel) -> Any:
    return ops.stack(values) if kernel.stacked else values[0]


def _std(value: Any) -> float:
    return float(ops.convert_to_numpy(ops.std(ops.cast(value, "float32"))))


def _effective_std(kernel: Kernel, direction: Any, gain: Any) -> float:
    pairs = [(direction, gain)]
    if kernel.stacked:
        pairs = [(direction[i], gain[i]) for i in range(kernel.copies)]
    axes = kernel.geometry.output_axes
    squares = [ops.mean(ops.square(effective_kernel(v, g, axes))) for v, g in pairs]
    return float(ops.convert_to_numpy(ops.sqrt(sum(squares) / len(squares))))


def _name(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, numbers.Real):
        return str(value) if isinstance(value, bool) else f"{float(value):.4g}"
    return getattr(value, "__name__", None) or type(value).__name__
