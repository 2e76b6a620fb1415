"""Where a signal gets lost, and which kernels are equal."""

import collections
import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np
from keras import ops

from keras_convinit._printable import escape_unprintable
from keras_convinit._types import KerasLayer, Variable
from keras_convinit.analysis import NORMALIZATIONS, is_addition
from keras_convinit.diagnostics._forward import Step, read_value
from keras_convinit.diagnostics._probe import Measurement
from keras_convinit.diagnostics.signal_row import SignalRow

# How much larger or smaller than at its start a signal may be.
LIMIT = 10.0


@dataclasses.dataclass(frozen=True)
class SignalIssue:
    """A problem of a signal, at the first layer where it is seen.

    Args:
        kind: `"not finite"`, `"vanishing"`, `"exploding"` or `"dead"`.
        direction: `"forward"` or `"backward"`.
        row: Number of the row where it begins.
        path: Path of that row.
        ratio: Size of the signal there as a multiple of its start; None where it is
            not finite or dead.

    Example:
        >>> from keras_convinit.diagnostics import SignalIssue
        >>> print(SignalIssue("vanishing", "forward", 7, "conv2d_7", 0.08))
        vanishing from conv2d_7 (forward, x 0.08)
    """

    kind: str
    direction: str
    row: int
    path: str
    ratio: float | None = None

    def __str__(self) -> str:
        path = escape_unprintable(self.path)
        if self.kind == "not finite":
            return f"not finite at {path} ({self.direction})"
        if self.kind == "dead":
            return f"dead: {path}"
        return f"{self.kind} from {path} ({self.direction}, x {self.ratio:.2g})"


def find_issues(
    steps: Sequence[Step], rows: Sequence[SignalRow]
) -> tuple[SignalIssue, ...]:
    """Finds what is wrong with the signals, forward first.

    The signal starts at the first layer with a kernel, the error signal at the last
    but the classifier, and both are compared with their start behind each layer with
    trainable variables, known or not, where several signals become one, and at
    normalizations; where a normalization follows a kernel at once, behind it. What a
    shortcut leads around is passed over: there a signal may be small on purpose. A
    normalization makes what enters it forget its size, so the signal starts anew
    there. Its size is the norm or the root mean square over channels, whichever has
    changed less: layers that keep one change the other where they grow wider. A signal
    that is exactly zero, as where weights are, is not taken for one that vanishes.

    Args:
        steps: Layer calls.
        rows: Rows of a report, one for each of them.

    Returns:
        The issues; none for a network that is steady.
    """
    return (
        *_follow(steps, rows, "forward"),
        *_follow(steps, rows, "backward"),
        *(
            SignalIssue("dead", "forward", index, row.path)
            for index, row in enumerate(rows)
            if row.dead_fraction == 1
        ),
    )


def _follow(
    steps: Sequence[Step], rows: Sequence[SignalRow], direction: str
) -> Iterator[SignalIssue]:
    """Follows a signal in one direction to where it gets lost."""
    forward = direction == "forward"
    norms = [row.forward_norm if forward else row.error_norm for row in rows]
    order = list(range(len(rows)))
    if not forward:
        order.reverse()
    on_purpose = _find_infinite_on_purpose(steps, rows) if forward else set()
    for index in order:
        if index in on_purpose:
            continue
        # Some activations swallow what is not finite, on some frameworks.
        weights = rows[index].weight_norm if forward else None
        if not math.isfinite(norms[index]) or not math.isfinite(weights or 0.0):
            yield SignalIssue("not finite", direction, index, rows[index].path)
            return
    start: tuple[float, float] | None = None
    for index in filter(_find_checkpoints(steps).__contains__, order):
        size = norms[index], norms[index] / math.sqrt(rows[index].channels)
        if not size[0]:
            continue
        if start is None or (forward and _is_normalization(steps[index].layer)):
            start = size
            continue
        ratios = [now / then for now, then in zip(size, start, strict=True)]
        ratio = min(ratios, key=lambda ratio: abs(math.log(ratio)))
        if not 1 / LIMIT <= ratio <= LIMIT:
            kind = "exploding" if ratio > 1 else "vanishing"
            yield SignalIssue(kind, direction, index, rows[index].path, ratio)
            return


def _find_checkpoints(steps: Sequence[Step]) -> set[int]:
    """Finds the steps at which a signal is compared with its start."""
    normalized = {
        source
        for step in steps
        if _is_normalization(step.layer)
        for source in step.sources
    }
    linear = [
        index
        for index, step in enumerate(steps)
        if step.kernels or step.has_unknown_kernels
    ]
    # What a classifier gives need not be of the size of anything.
    last = linear[-1] if linear else len(steps)
    first = linear[0] if linear else 0
    checkpoints = {
        index
        for index, step in enumerate(steps)
        if index < last
        and (
            _is_sum(step.layer)
            or _is_normalization(step.layer)
            or (
                index >= first
                and (step.trainable or step.kernels or step.has_unknown_kernels)
            )
            or (index >= first and len(set(step.sources)) > 1)
        )
    }
    candidates = checkpoints - normalized
    everywhere = _find_steps_on_every_path(steps)
    # Where each branch begins with a normalization, no other sums are left.
    for chosen in (candidates & everywhere, checkpoints & everywhere):
        if len(chosen) > 1:
            return chosen
    return candidates or set(linear)


def _find_infinite_on_purpose(
    steps: Sequence[Step], rows: Sequence[SignalRow]
) -> set[int]:
    """Finds the steps that are given an infinite number, and those that pass it on."""
    infinite: set[int] = set()
    for index, step in enumerate(steps):
        passes_on = not step.kernels and not infinite.isdisjoint(step.sources)
        # One that is not a number is a fault wherever it is.
        if math.isinf(rows[index].forward_norm) and (step.given_infinity or passes_on):
            infinite.add(index)
    return infinite


def _find_steps_on_every_path(steps: Sequence[Step]) -> set[int]:
    """Finds the steps that nothing leads around."""
    # The last step that reads the output of each step, and of the inputs.
    last_readers = [-1] * (len(steps) + 1)
    for index, step in enumerate(steps):
        for source in step.sources:
            last_readers[max(source, -1) + 1] = index
    on_every_path = set()
    # How far what was there before a step is still read.
    reach = -1
    for index in range(len(steps)):
        reach = max(reach, last_readers[index])
        if reach <= index:
            on_every_path.add(index)
    return on_every_path


def _is_normalization(layer: KerasLayer) -> bool:
    return isinstance(layer, NORMALIZATIONS)


def _is_sum(layer: KerasLayer) -> bool:
    return is_addition(layer) or type(layer).__name__ == "Average"


def find_duplicates(measurement: Measurement) -> tuple[tuple[str, ...], ...]:
    """Finds kernels with equal content, which learn the same.

    Constant ones, such as zeros, are no group: they may be meant so.

    Args:
        measurement: Numbers of a pass.

    Returns:
        Groups of kernels of the same shape and content by their paths, in order.
    """
    by_shape: dict[tuple[int, ...], list[_StoredKernel]]
    by_shape = collections.defaultdict(list)
    for kernel in _list_kernels(measurement):
        if 0 < kernel.norm < math.inf:
            by_shape[kernel.shape].append(kernel)
    groups: dict[tuple[tuple[int, ...], bytes], list[str]]
    groups = collections.defaultdict(list)
    for shape, kernels in by_shape.items():
        norms = np.array([kernel.norm for kernel in kernels])
        for kernel in kernels:
            # What is not equal but for rounding need not be compared.
            if np.sum(np.abs(norms - kernel.norm) < 1e-6 * kernel.norm) > 1:
                values = np.ascontiguousarray(kernel.read())
                if np.ptp(values) > 0:
                    groups[shape, values.tobytes()].append(kernel.path)
    return tuple(tuple(paths) for paths in groups.values() if len(paths) > 1)


@dataclasses.dataclass(frozen=True)
class _StoredKernel:
    path: str
    shape: tuple[int, ...]
    norm: float
    variable: Variable
    block: tuple[int, ...]

    def read(self) -> np.ndarray:
        return ops.convert_to_numpy(read_value(self.variable, self.block))


def _list_kernels(measurement: Measurement) -> Iterator[_StoredKernel]:
    """Lists each kernel once, of a stack one for each block."""
    seen = set()
    for index, step in enumerate(measurement.steps):
        pairs = zip(step.kernels, step.owners, strict=True)
        for place, (kernel, (variable, block)) in enumerate(pairs):
            # A layer that is applied twice is no pair. Without the others that it is
            # computed with, a variable does not say what a kernel is.
            if (id(variable), block) in seen or kernel.computed:
                continue
            seen.add((id(variable), block))
            yield _StoredKernel(
                f"{step.path}.{kernel.name}",
                tuple(kernel.variable.shape),
                measurement.numbers[index, f"weights {place}"],
                variable,
                block,
            )


def summarize(
    issues: Sequence[SignalIssue],
    duplicates: Sequence[tuple[str, ...]],
    unopened: Sequence[str] = (),
) -> str:
    """Summarizes a report in one line.

    Args:
        issues: Problems of the signals.
        duplicates: Groups of equal kernels, by their paths.
        unopened: Paths of the layers that could not be opened.

    Returns:
        The line; `"steady"` where there are neither issues nor duplicates, with what
        could not be opened behind it.
    """
    dead = [issue for issue in issues if issue.kind == "dead"]
    parts = [str(issue) for issue in issues if issue.kind != "dead"]
    if dead:
        more = f" and {len(dead) - 1} more" if len(dead) > 1 else ""
        parts.append(f"{dead[0]}{more}")
    if duplicates:
        more = f" and {len(duplicates) - 1} more" if len(duplicates) > 1 else ""
        equal = " = ".join(map(escape_unprintable, duplicates[0]))
        parts.append(f"equal kernels: {equal}{more}")
    parts = parts or ["steady"]
    if unopened:
        more = f" and {len(unopened) - 1} more" if len(unopened) > 1 else ""
        parts.append(f"not looked inside: {escape_unprintable(unopened[0])}{more}")
    return "; ".join(parts)
