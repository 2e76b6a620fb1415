"""Follows signals through a program: what is upstream and downstream of each value."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from keras_convinit.activations import Scaling
from keras_convinit.analysis import _activation
from keras_convinit.analysis._effect import Effect, OpKind, keeps_size
from keras_convinit.analysis.program import LayerCall, Program


@dataclasses.dataclass(frozen=True)
class Upstream:
    """What a value has gone through since the last kernel or sum.

    Args:
        activation: The activation that it has gone through last, None for none.
        normalized: Whether it was normalized, before that or without one.
        raw: Whether it is an input of the model that no kernel has seen.
        disagreeing: Activations of signals that were put together, where they differ.
    """

    activation: Any = None
    normalized: bool = False
    raw: bool = False
    disagreeing: tuple[Any, ...] = ()


@dataclasses.dataclass(frozen=True)
class Downstream:
    """What becomes of a value.

    Args:
        activation: The activation that it goes to, None for none.
        plain: Whether nothing is added or normalized before that.
        normalized: Whether it is normalized before anything else.
        seen: Whether a kernel reads it, be it far away.
        leaves: Whether it becomes an output of the model on its own, without a
            normalization or a sum.
        disagreeing: Activations that it goes to, where they differ.
    """

    activation: Any = None
    plain: bool = True
    normalized: bool = False
    seen: bool = False
    leaves: bool = False
    disagreeing: tuple[Any, ...] = ()


def trace_upstream(
    program: Program, effects: list[Effect], inputs: set[int]
) -> dict[int, Upstream]:
    """Returns the upstream context of each value.

    Args:
        program: The program.
        effects: What each of its calls does.
        inputs: The numbers of its inputs.

    Returns:
        The origin of each value, by number.
    """
    found = {number: Upstream(raw=True) for number in inputs}
    for call, effect in zip(program.calls, effects, strict=True):
        origin = _after(effect, found, program)
        found.update(dict.fromkeys(call.outputs, origin))
    return found


def _after(effect: Effect, found: dict[int, Upstream], program: Program) -> Upstream:
    if effect.kind is OpKind.SOURCE:
        return Upstream(raw=True)
    if effect.kind is OpKind.KERNEL:
        return Upstream(effect.activation)
    before = [found[number] for number in effect.inputs]
    raw = all(origin.raw for origin in before)
    if effect.kind is OpKind.NORMALIZATION:
        return Upstream(normalized=True, raw=raw)
    if effect.kind is OpKind.ACTIVATION:
        activation = _activation.chain(
            before[0].activation, effect.activation, effect.activation
        )
        return Upstream(activation, before[0].normalized)
    if effect.kind is OpKind.SUM:
        return Upstream(raw=raw)
    if effect.kind is OpKind.PRODUCT:
        before = [found[number] for number in find_factors(effect, found, program)]
    return join_upstream(before)


def join_upstream(before: list[Upstream]) -> Upstream:
    """Joins the upstream contexts of signals that are concatenated."""
    if not before:
        return Upstream(raw=True)
    activations = drop_repeated([origin.activation for origin in before])
    disagreeing = tuple(a for origin in before for a in origin.disagreeing)
    if len(activations) > 1:
        disagreeing = (*disagreeing, *activations)
    return Upstream(
        activations[0],
        all(origin.normalized for origin in before),
        all(origin.raw for origin in before),
        tuple(drop_repeated(list(disagreeing))),
    )


def find_factors(
    effect: Effect, origins: dict[int, Upstream], program: Program
) -> tuple[int, ...]:
    """Returns the factors of a product that carry the signal, and are no gates.

    A gate is broadcast, or comes out of a sigmoid.

    Args:
        effect: What the product does.
        origins: What its factors have gone through.
        program: The program that it belongs to.

    Returns:
        The numbers of the values.
    """
    sizes = {n: sum(d != 1 for d in program.shapes[n]) for n in effect.inputs}
    gates = {"sigmoid", "hard_sigmoid", "softmax"}
    factors = tuple(
        n
        for n in effect.inputs
        if sizes[n] == max(sizes.values())
        and _activation.get_name(_activation.get_last(origins[n].activation))
        not in gates
    )
    return factors or effect.inputs


def trace_downstream(
    program: Program,
    effects: list[Effect],
    outputs: set[int],
    origin: dict[int, Upstream],
) -> dict[int, Downstream]:
    """Returns the downstream context of each value.

    Args:
        program: The program.
        effects: What each of its calls does.
        outputs: The numbers of its outputs.
        origin: The result of `trace_upstream`.

    Returns:
        The context of each value, by its number.
    """
    uses: dict[int, list[Downstream]] = {
        number: [Downstream(leaves=True)] for number in outputs
    }
    for call, effect in zip(reversed(program.calls), reversed(effects), strict=True):
        after = join_downstream(
            [f for n in call.outputs for f in reversed(uses.get(n, []))]
        )
        factors = effect.inputs
        if effect.kind is OpKind.PRODUCT:
            factors = find_factors(effect, origin, program)
        for number in effect.inputs:
            fate = _before(effect, after, number in factors)
            uses.setdefault(number, []).append(fate)
    return {number: join_downstream(found[::-1]) for number, found in uses.items()}


def _before(effect: Effect, after: Downstream, is_signal: bool) -> Downstream:
    if effect.kind is OpKind.KERNEL:
        return Downstream(seen=True)
    if effect.kind is OpKind.ACTIVATION:
        activation = effect.activation
        if after.plain:
            activation = _activation.chain(activation, after.activation, activation)
        return Downstream(activation, seen=after.seen, leaves=after.leaves)
    if effect.kind is OpKind.NORMALIZATION:
        # It makes what comes before it forget all sizes.
        activation = _activation.strip_factors(after.activation)
        return dataclasses.replace(
            after, activation=activation, plain=False, normalized=True, leaves=False
        )
    if effect.kind is OpKind.SUM:
        activation = after.activation if after.plain else None
        return Downstream(activation, plain=False, seen=after.seen)
    if effect.kind is OpKind.PRODUCT and not is_signal:
        return Downstream(seen=after.seen)
    return after


def join_downstream(fates: list[Downstream]) -> Downstream:
    """Joins the downstream contexts of a signal that goes several ways."""
    if len(fates) == 1:
        return fates[0]
    activations = drop_repeated([fate.activation for fate in fates])
    disagreeing = tuple(a for fate in fates for a in fate.disagreeing)
    if len(activations) > 1:
        disagreeing = (*disagreeing, *activations)
    return Downstream(
        activations[0] if len(activations) == 1 else None,
        all(fate.plain for fate in fates),
        bool(fates) and all(fate.normalized for fate in fates),
        any(fate.seen for fate in fates),
        any(fate.leaves for fate in fates),
        tuple(drop_repeated(list(disagreeing))),
    )


def drop_repeated(activations: list[Any]) -> list[Any]:
    """Returns the activations, each once."""
    found: list[Any] = []
    for activation in activations:
        if not any(_activation.is_same(activation, other) for other in found):
            found.append(activation)
    return found


def add_factors(
    program: Program, effects: list[Effect], origins: dict[int, Upstream]
) -> tuple[list[Effect], list[tuple[LayerCall, str]]]:
    """Has each factor that a kernel is to make up for be an activation.

    It is one on the way to a kernel from another one, a normalization or an activation.
    One of a signal that is added up as well is on the stream of a residual network, or
    where a branch begins, and is meant to be there; one behind a sum or a product may
    make up for it. A factor of the model's inputs belongs to the data, and one where a
    branch ends to its block.

    Args:
        program: The program.
        effects: What each of its calls does.
        origins: What its values have gone through.

    Returns:
        The effects, and the calls whose factors are not counted, with the reason.
    """
    ways = _Ways(program, effects, origins)
    changed, doubts = list(effects), []
    for call, effect in zip(program.calls, effects, strict=True):
        if effect.kind is not OpKind.PASS or effect.factor == 1:
            continue
        (before,) = effect.inputs
        after = call.outputs[0]
        # No kernel is to make up for it.
        if origins[before].raw or after not in ways.to_kernels:
            continue
        factor = (
            "values of its own" if effect.factor is None else f"{effect.factor:.4g}"
        )
        what = f"{type(call.layer).__name__} multiplies by {factor}"
        if {before, after} & ways.elsewhere:
            where = "a signal that a sum, product or normalization takes as well"
            doubts.append((call, f"{what} {where}, which is not counted"))
        elif before not in ways.sized:
            where = "what comes from a sum or product"
            doubts.append((call, f"{what} {where}, which is not counted"))
        elif effect.factor is None:
            doubts.append((call, f"{what}, which are taken for 1"))
        else:
            changed[call.index] = Effect(
                OpKind.ACTIVATION, effect.inputs, Scaling(effect.factor)
            )
    return changed, doubts


class _Ways:
    """Where values come from and go to, with nothing but passages between.

    Attributes:
        to_kernels: The values that a kernel reads.
        elsewhere: Those that something else reads that changes sizes.
        sized: Those whose size goes back to a kernel, a normalization, an activation.
    """

    def __init__(
        self, program: Program, effects: list[Effect], origins: dict[int, Upstream]
    ) -> None:
        self.to_kernels: set[int] = set()
        self.elsewhere: set[int] = set()
        self.sized: set[int] = set()
        pairs = list(zip(program.calls, effects, strict=True))
        for call, effect in reversed(pairs):
            through = set(_through(call, effect, program, origins))
            for number in effect.inputs:
                if effect.kind is OpKind.KERNEL:
                    self.to_kernels.add(number)
                elif number not in through:
                    self.elsewhere.add(number)
                else:
                    for found in (self.to_kernels, self.elsewhere):
                        if not found.isdisjoint(call.outputs):
                            found.add(number)
        for call, effect in pairs:
            passing = tuple(_through(call, effect, program, origins))
            if effect.kind in (
                OpKind.KERNEL,
                OpKind.NORMALIZATION,
                OpKind.ACTIVATION,
            ) or (passing and self.sized.issuperset(passing)):
                self.sized.update(call.outputs)


def _through(
    call: LayerCall, effect: Effect, program: Program, origins: dict[int, Upstream]
) -> Iterator[int]:
    """Yields the inputs whose size the outputs of a call have."""
    if effect.kind is OpKind.ACTIVATION:
        yield from effect.inputs
    elif effect.kind is OpKind.PRODUCT:
        signals = find_factors(effect, origins, program)
        # Several that are no gates multiply each other.
        if len(signals) == 1:
            yield from signals
    elif effect.kind in (OpKind.PASS, OpKind.JOIN) and keeps_size(call, effect):
        yield from effect.inputs
