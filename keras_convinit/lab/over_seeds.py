"""Runs that differ in their seed alone, in a few numbers."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

# Steps over which the accuracy of batches is averaged before it is looked at.
WINDOW = 20


@dataclasses.dataclass(frozen=True)
class Spread:
    """Mean, lowest and highest of some numbers."""

    mean: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread | None":
        """None where there are no numbers."""
        values = list(values)
        if not values:
            return None
        return cls(float(np.mean(values)), min(values), max(values))

    def text(self, factor: float, digits: str) -> str:
        """The numbers for people, multiplied by a factor, in a format."""
        mean, lowest, highest = (
            format(factor * value, digits)
            for value in (self.mean, self.lowest, self.highest)
        )
        return f"{mean} ({lowest} to {highest})"


def running_mean(values: Iterable[float]) -> np.ndarray:
    """Means over `WINDOW` consecutive steps, the first one at step `WINDOW`."""
    values = np.fromiter(values, float)
    if len(values) < WINDOW:
        return np.empty(0)
    return np.convolve(values, np.full(WINDOW, 1 / WINDOW), mode="valid")


def milestone_step(accuracies: Iterable[float], milestone: float) -> int | None:
    """The step after which the running training accuracy is at the milestone first.

    Args:
        accuracies: Share of each step's batch that was classified rightly.
        milestone: The accuracy to reach, in the mean over `WINDOW` steps.

    Returns:
        The number of steps, at least `WINDOW`; None if they do not suffice.
    """
    # Rounding must not decide about a mean of exactly one half.
    reached = running_mean(accuracies) >= milestone - 1e-9
    return WINDOW + int(reached.argmax()) if reached.any() else None


def spread_of_curves(
    curves: Sequence[np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, lowest and highest at each point, over the curves that get as far."""
    length = max((len(curve) for curve in curves), default=0)
    if not length:
        return np.empty(0), np.empty(0), np.empty(0)
    table = np.ma.masked_invalid(
        [np.pad(c, (0, length - len(c)), constant_values=np.nan) for c in curves]
    )
    mean, lowest, highest = table.mean(axis=0), table.min(axis=0), table.max(axis=0)
    return mean.filled(np.nan), lowest.filled(np.nan), highest.filled(np.nan)
