"""Schemes that need no data: a rule for each kernel, from what stands around it."""

import abc
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import ops

from keras_convinit import _data
from keras_convinit.graph import Graph, Site, read
from keras_convinit.initializers import WeightNormGain
from keras_convinit.kernels import Kernel
from keras_convinit.layers._effective_kernel import (
    effective_kernel,
    gain_shape,
    norms,
)
from keras_convinit.schemes._kernel_values import kernel_values, target_std
from keras_convinit.schemes._other_variables import reset_values
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
    """

    stride_aware = False

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
        """Sets each kernel by its rule, and the other variables as asked."""
        graph = read(task.model, _inputs(task))
        if not graph.sites:
            raise ValueError(
                "`model` must have kernels, such as those of Dense or Conv layers. "
                f"Received: the model {task.model.name!r}, which has none"
            )
        self.check(graph)
        rows: list[Row] = []
        left: list[LeftAlone] = []
        handled: set[int] = set()
        planned: list[tuple[Site, Rule]] = []
        for site in graph.sites:
            kernel = site.kernel
            handled.update((id(kernel.variable), id(kernel.gain)))
            reason = reason_to_keep(site)
            if reason is not None:
                left.append(LeftAlone(kernel.variable.path, reason))
                continue
            planned.append((site, self.rule(site, graph)))
        # All rules are known before anything is changed.
        for site, rule in planned:
            seeds = [task.seeds.next() for _ in range(site.kernel.copies)]
            if not task.dry_run:
                self._set(site.kernel, rule, seeds)
            rows += self._rows(site, rule)
        for one in _others(task, handled):
            if isinstance(one, Row):
                rows.append(one)
            else:
                left.append(one)
        return InitializationReport(
            self.name(), tuple(rows), tuple(left), tuple(notes_of(graph)), task.dry_run
        )

    def _set(self, kernel: Kernel, rule: Rule, seeds: list[int]) -> None:
        drawn = kernel_values(rule.initializer, kernel, seeds, self.stride_aware)
        if kernel.gain is not None:
            gains = _gains(kernel, rule, drawn)
            kernel.gain.assign(_stacked([g * rule.factor for g in gains], kernel))
        else:
            if rule.gains is not None:
                axes = kernel.geometry.output_axes
                pairs = zip(drawn, _gains(kernel, rule, drawn), strict=True)
                drawn = [effective_kernel(v, g, axes) for v, g in pairs]
            drawn = [value * rule.factor for value in drawn]
        kernel.variable.assign(_stacked(drawn, kernel))

    def _rows(self, site: Site, rule: Rule) -> Iterator[Row]:
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
        if kernel.gain is None:
            measured = _std(kernel.variable)
            yield Row(kernel.variable.path, layer, *fans, rule.label, target, measured)
            return
        measured = _std(kernel.variable)
        of_direction = f"direction: {_name(rule.initializer)}"
        yield Row(kernel.variable.path, layer, *fans, of_direction, None, measured)
        yield Row(
            kernel.gain.path, layer, *fans, rule.label, target, _effective_std(kernel)
        )


def _gains(kernel: Kernel, rule: Rule, drawn: list[Any]) -> Iterator[Any]:
    """The gains of each copy, those of the kernels as drawn where a rule has none."""
    axes = kernel.geometry.output_axes
    for copy, direction in enumerate(drawn):
        law = AS_DRAWN if rule.gains is None else rule.gains(copy)
        yield law.draw(
            gain_shape(direction.shape, axes),
            kernel.geometry,
            functools.partial(norms, direction, axes, direction.dtype),
            direction.dtype,
        )


def _inputs(task: Task) -> Any:
    """Inputs for a model that cannot be read without; others may need their data."""
    if task.data is None or _data.names_of(task.model) is not None:
        return None
    return _data.first_batch(task.model, task.data, name="data").x


def reason_to_keep(site: Site) -> str | None:
    """Why a kernel must keep its values, None if it need not."""
    if not site.layer.trainable:
        return "its layer is frozen"
    if not keras.backend.is_float_dtype(site.kernel.variable.dtype):
        return f"its kernel is of {site.kernel.variable.dtype}"
    return None


def _others(task: Task, handled: set[int]) -> Iterator[Row | LeftAlone]:
    if task.others == "keep":
        return
    for layer, variable, value in reset_values(task.model, handled, task.seeds):
        if isinstance(value, LeftAlone):
            yield value
            continue
        if not task.dry_run:
            variable.assign(value)
        yield row_of_other(layer, variable, variable)


def row_of_other(layer: Any, variable: Any, value: Any) -> Row:
    """The row of a variable that has what its layer gives it."""
    name = type(layer).__name__
    std = None
    if keras.backend.is_float_dtype(variable.dtype):
        std = _std(value)
    return Row(variable.path, name, None, None, AS_ITS_LAYER, None, std)


def notes_of(graph: Graph) -> Iterator[str]:
    """What the graph was in doubt about."""
    for conflict in graph.conflicts:
        values = " or ".join(map(_name, conflict.values))
        yield (
            f"{conflict.path}: {conflict.name} may be {values} ({conflict.reason}); "
            "the first was taken"
        )
    by_reason: dict[str, list[str]] = {}
    for one in graph.unread:
        by_reason.setdefault(one.reason, []).append(one.path)
    for reason, (first, *others) in by_reason.items():
        more = f" and {len(others)} more" if others else ""
        yield f"{first}{more}: {reason}"


def _stacked(values: list[Any], kernel: Kernel) -> Any:
    return ops.stack(values) if kernel.stacked else values[0]


def _std(variable: Any) -> float:
    value = ops.cast(ops.convert_to_tensor(variable), "float32")
    return float(ops.convert_to_numpy(ops.std(value)))


def _effective_std(kernel: Kernel) -> float:
    direction, gain = map(ops.convert_to_tensor, (kernel.variable, kernel.gain))
    pairs = [(direction, gain)]
    if kernel.stacked:
        pairs = [(direction[i], gain[i]) for i in range(kernel.copies)]
    axes = kernel.geometry.output_axes
    squares = [ops.mean(ops.square(effective_kernel(v, g, axes))) for v, g in pairs]
    return float(ops.convert_to_numpy(ops.sqrt(sum(squares) / len(squares))))


def _name(value: Any) -> str:
    if value is None:
        return "nothing"
    return getattr(value, "__name__", None) or type(value).__name__
