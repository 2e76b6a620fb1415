"""Numbers that the model multiplies signals by, between one kernel and the next."""

from collections.abc import Iterator

from keras_convinit.activations import Multiplied
from keras_convinit.graph._effect import Effect, OpKind, keeps_size
from keras_convinit.graph._flow import Upstream, factors_of
from keras_convinit.graph.program import LayerCall, Program


def with_factors(
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
                OpKind.ACTIVATION, effect.inputs, Multiplied(effect.factor)
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
    """The inputs whose size the outputs of a call have."""
    if effect.kind is OpKind.ACTIVATION:
        yield from effect.inputs
    elif effect.kind is OpKind.PRODUCT:
        signals = factors_of(effect, origins, program)
        # Several that are no gates multiply each other.
        if len(signals) == 1:
            yield from signals
    elif effect.kind in (OpKind.PASS, OpKind.JOIN) and keeps_size(call, effect):
        yield from effect.inputs
