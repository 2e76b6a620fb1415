"""Where a signal gets lost, in words."""

import dataclasses
import math
from collections.abc import Iterable, Sequence

from keras_convinit._printable import printable
from keras_convinit.diagnostics._kinds import is_normalization, is_sum
from keras_convinit.diagnostics._step import Step
from keras_convinit.diagnostics.signal_row import SignalRow

# How much larger or smaller than at its start a signal may be.
LIMIT = 10.0


@dataclasses.dataclass(frozen=True)
class Trouble:
    """Something that is wrong with a signal.

    Args:
        kind: `"not finite"`, `"vanishing"`, `"exploding"` or `"dead"`.
        direction: `"forward"` or `"backward"`.
        row: The number of the row where it begins.
        path: The path of that row.
        ratio: How large the signal is there, as a multiple of its start.

    Example:
        >>> from keras_convinit.diagnostics._verdict import Trouble
        >>> Trouble("vanishing", "forward", 7, "conv2d_7", 0.08).path
        'conv2d_7'
    """

    kind: str
    direction: str
    row: int
    path: str
    ratio: float | None = None

    def __str__(self) -> str:
        path = printable(self.path)
        if self.kind == "not finite":
            return f"not finite at {path} ({self.direction})"
        if self.kind == "dead":
            return f"dead: {path}"
        return f"{self.kind} from {path} ({self.direction}, x {self.ratio:.2g})"


def troubles_of(
    steps: Sequence[Step], rows: Sequence[SignalRow]
) -> tuple[Trouble, ...]:
    """What is wrong, forward first, each at the first layer where it is.

    The signal starts at the first layer with a kernel, the error signal at the last
    but the classifier, and both are looked at behind each layer with trainable
    variables, known or not, where several signals become one, and at normalisations;
    where a normalisation follows a kernel at once, behind it. What a shortcut leads
    around is passed over: there a signal may be small on purpose. A
    normalisation makes what enters it forget its size, so the signal starts anew
    there. Its size is the norm or the root mean square over channels, whichever has
    changed less: layers that keep one change the other where they grow wider. A signal
    that is exactly zero, as where weights are, is not taken for one that vanishes.

    Args:
        steps: What ran.
        rows: What came of it.

    Returns:
        The troubles; none for a network that is steady.
    """
    return (
        *_way(steps, rows, "forward"),
        *_way(steps, rows, "backward"),
        *(
            Trouble("dead", "forward", index, row.path)
            for index, row in enumerate(rows)
            if row.dead_share == 1
        ),
    )


def _way(
    steps: Sequence[Step], rows: Sequence[SignalRow], direction: str
) -> Iterable[Trouble]:
    forward = direction == "forward"
    norms = [row.forward_norm if forward else row.error_norm for row in rows]
    order = list(range(len(rows)))
    if not forward:
        order.reverse()
    on_purpose = _infinite_on_purpose(steps, rows) if forward else set()
    for index in order:
        if index in on_purpose:
            continue
        # Some activations swallow what is not finite, on some frameworks.
        weights = rows[index].weight_norm if forward else None
        if not math.isfinite(norms[index]) or not math.isfinite(weights or 0.0):
            yield Trouble("not finite", direction, index, rows[index].path)
            return
    start: tuple[float, float] | None = None
    for index in filter(_watched(steps).__contains__, order):
        size = norms[index], norms[index] / math.sqrt(rows[index].channels)
        if not size[0]:
            continue
        if start is None or (forward and is_normalization(steps[index].layer)):
            start = size
            continue
        ratios = [now / then for now, then in zip(size, start, strict=True)]
        ratio = min(ratios, key=lambda ratio: abs(math.log(ratio)))
        if not 1 / LIMIT <= ratio <= LIMIT:
            kind = "exploding" if ratio > 1 else "vanishing"
            yield Trouble(kind, direction, index, rows[index].path, ratio)
            return


def _watched(steps: Sequence[Step]) -> set[int]:
    normalized = {
        source
        for step in steps
        if is_normalization(step.layer)
        for source in step.sources
    }
    linear = [index for index, step in enumerate(steps) if step.kernels or step.unread]
    # What a classifier gives need not be of the size of anything.
    last = linear[-1] if linear else len(steps)
    first = linear[0] if linear else 0
    lookouts = {
        index
        for index, step in enumerate(steps)
        if index < last
        and (
            is_sum(step.layer)
            or is_normalization(step.layer)
            or (index >= first and (step.points or step.kernels or step.unread))
            or (index >= first and len(set(step.sources)) > 1)
        )
    }
    candidates = lookouts - normalized
    everywhere = _on_every_path(steps)
    # Where each branch begins with a normalization, no other sums are left.
    for found in (candidates & everywhere, lookouts & everywhere):
        if len(found) > 1:
            return found
    return candidates or set(linear)


def _infinite_on_purpose(steps: Sequence[Step], rows: Sequence[SignalRow]) -> set[int]:
    """The steps that were given an infinite number, and those that hand it on."""
    found: set[int] = set()
    for index, step in enumerate(steps):
        # One that is not a number is a fault wherever it is.
        if math.isinf(rows[index].forward_norm) and (
            step.infinite or (not step.kernels and not found.isdisjoint(step.sources))
        ):
            found.add(index)
    return found


def _on_every_path(steps: Sequence[Step]) -> set[int]:
    """The steps that nothing leads around."""
    reach = -1
    found = set()
    ends = [-1] * (len(steps) + 1)
    for index, step in enumerate(steps):
        for source in step.sources:
            ends[max(source, -1) + 1] = index
    for index in range(len(steps)):
        # How far what was there before this step is still read.
        reach = max(reach, ends[index])
        if reach <= index:
            found.add(index)
    return found


def sentence(
    troubles: Sequence[Trouble],
    duplicates: Sequence[tuple[str, ...]],
    unopened: Sequence[str] = (),
) -> str:
    """All of it in one line."""
    dead = [trouble for trouble in troubles if trouble.kind == "dead"]
    parts = [str(trouble) for trouble in troubles if trouble.kind != "dead"]
    if dead:
        more = f" and {len(dead) - 1} more" if len(dead) > 1 else ""
        parts.append(f"{dead[0]}{more}")
    if duplicates:
        more = f" and {len(duplicates) - 1} more" if len(duplicates) > 1 else ""
        equal = " = ".join(map(printable, duplicates[0]))
        parts.append(f"equal kernels: {equal}{more}")
    parts = parts or ["steady"]
    if unopened:
        more = f" and {len(unopened) - 1} more" if len(unopened) > 1 else ""
        parts.append(f"not looked inside: {printable(unopened[0])}{more}")
    return "; ".join(parts)
