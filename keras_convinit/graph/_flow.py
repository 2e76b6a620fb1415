"""What a signal has gone through, and what it goes to."""

import dataclasses
from typing import Any

from keras_convinit.graph import _activation
from keras_convinit.graph._effect import Effect, OpKind
from keras_convinit.graph.program import Program


@dataclasses.dataclass(frozen=True)
class Upstream:
    """What a value has gone through since the last kernel or sum.

    Args:
        activation: The activation that it has gone through last, None for none.
        normalized: Whether it was normalised, before that or without one.
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
        plain: Whether nothing is added or normalised before that.
        normalized: Whether it is normalised before anything else.
        seen: Whether a kernel reads it, be it far away.
        leaves: Whether it becomes an output of the model on its own, without a
            normalisation or a sum.
        disagreeing: Activations that it goes to, where they differ.
    """

    activation: Any = None
    plain: bool = True
    normalized: bool = False
    seen: bool = False
    leaves: bool = False
    disagreeing: tuple[Any, ...] = ()


def origins(
    program: Program, effects: list[Effect], inputs: set[int]
) -> dict[int, Upstream]:
    """What each value has gone through.

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
        activation = _activation.chained(
            before[0].activation, effect.activation, effect.activation
        )
        return Upstream(activation, before[0].normalized)
    if effect.kind is OpKind.SUM:
        return Upstream(raw=raw)
    if effect.kind is OpKind.PRODUCT:
        before = [found[number] for number in factors_of(effect, found, program)]
    return joined(before)


def joined(before: list[Upstream]) -> Upstream:
    """The origin of signals that are put side by side."""
    if not before:
        return Upstream(raw=True)
    activations = distinct([origin.activation for origin in before])
    disagreeing = tuple(a for origin in before for a in origin.disagreeing)
    if len(activations) > 1:
        disagreeing = (*disagreeing, *activations)
    return Upstream(
        activations[0],
        all(origin.normalized for origin in before),
        all(origin.raw for origin in before),
        tuple(distinct(list(disagreeing))),
    )


def factors_of(
    effect: Effect, origins: dict[int, Upstream], program: Program
) -> tuple[int, ...]:
    """The factors of a product that are no gates.

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
        and _activation.name_of(_activation.last_of(origins[n].activation)) not in gates
    )
    return factors or effect.inputs


def fates(
    program: Program,
    effects: list[Effect],
    outputs: set[int],
    origin: dict[int, Upstream],
) -> dict[int, Downstream]:
    """What becomes of each value.

    Args:
        program: The program.
        effects: What each of its calls does.
        outputs: The numbers of its outputs.
        origin: What `origins` has found.

    Returns:
        The fate of each value, by number.
    """
    uses: dict[int, list[Downstream]] = {
        number: [Downstream(leaves=True)] for number in outputs
    }
    for call, effect in zip(reversed(program.calls), reversed(effects), strict=True):
        after = together([f for n in call.outputs for f in reversed(uses.get(n, []))])
        factors = effect.inputs
        if effect.kind is OpKind.PRODUCT:
            factors = factors_of(effect, origin, program)
        for number in effect.inputs:
            fate = _before(effect, after, number in factors)
            uses.setdefault(number, []).append(fate)
    return {number: together(found[::-1]) for number, found in uses.items()}


def _before(effect: Effect, after: Downstream, is_signal: bool) -> Downstream:
    if effect.kind is OpKind.KERNEL:
        return Downstream(seen=True)
    if effect.kind is OpKind.ACTIVATION:
        activation = effect.activation
        if after.plain:
            activation = _activation.chained(activation, after.activation, activation)
        return Downstream(activation, seen=after.seen, leaves=after.leaves)
    if effect.kind is OpKind.NORMALIZATION:
        # It makes what comes before it forget all sizes.
        activation = _activation.without_factors(after.activation)
        return dataclasses.replace(
            after, activation=activation, plain=False, normalized=True, leaves=False
        )
    if effect.kind is OpKind.SUM:
        activation = after.activation if after.plain else None
        return Downstream(activation, plain=False, seen=after.seen)
    if effect.kind is OpKind.PRODUCT and not is_signal:
        return Downstream(seen=after.seen)
    return after


def together(fates: list[Downstream]) -> Downstream:
    """The fate of a signal that goes several ways."""
    if len(fates) == 1:
        return fates[0]
    activations = distinct([fate.activation for fate in fates])
    disagreeing = tuple(a for fate in fates for a in fate.disagreeing)
    if len(activations) > 1:
        disagreeing = (*disagreeing, *activations)
    return Downstream(
        activations[0] if len(activations) == 1 else None,
        all(fate.plain for fate in fates),
        bool(fates) and all(fate.normalized for fate in fates),
        any(fate.seen for fate in fates),
        any(fate.leaves for fate in fates),
        tuple(distinct(list(disagreeing))),
    )


def distinct(activations: list[Any]) -> list[Any]:
    """The activations, each once."""
    found: list[Any] = []
    for activation in activations:
        if not any(_activation.same(activation, other) for other in found):
            found.append(activation)
    return found
