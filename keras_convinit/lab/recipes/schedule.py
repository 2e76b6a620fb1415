"""The learning rate's way through a run, as plain data."""

import dataclasses

from keras_convinit.lab.checks import one_of

SHAPES = ("linear", "quadratic")


@dataclasses.dataclass(frozen=True)
class WarmUp:
    """The first epochs of a run, in which the learning rate rises.

    Args:
        epochs: How long it takes, in epochs, which may be a fraction.
        shape: `"linear"` or `"quadratic"`.
        start: Where it starts, as a share of the peak.
    """

    epochs: float
    shape: str = "linear"
    start: float = 0.0

    def __post_init__(self) -> None:
        one_of("shape", self.shape, SHAPES)
        if not self.epochs > 0:
            raise ValueError(
                "`epochs` of a warm-up must be positive. "
                f"Received: epochs={self.epochs!r}"
            )


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A cosine, or steps, or neither, of the learning rate's peak.

    Args:
        kind: `"constant"`, `"cosine"`, which reaches 0 after the last step, or
            `"steps"`.
        drops: Of `"steps"`: share of the run, and the factor by which the learning rate
            is multiplied there.
        warm_up: How the run begins; None for the peak from the first step on.
    """

    kind: str = "constant"
    drops: tuple[tuple[float, float], ...] = ()
    warm_up: WarmUp | None = None

    def __post_init__(self) -> None:
        one_of("kind", self.kind, ("constant", "cosine", "steps"))
        if bool(self.drops) != (self.kind == "steps"):
            raise ValueError(
                '`drops` must be given with kind="steps", and only there. '
                f"Received: kind={self.kind!r}, drops={self.drops!r}"
            )
