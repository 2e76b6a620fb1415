"""Runs over several seeds in a few numbers."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from keras_convinit.lab.comparison.results import Results, Run
from keras_convinit.lab.comparison.story import Contender, Story

# Steps over which the accuracy of batches is averaged before it is looked at.
WINDOW = 20

# The training accuracy that counts as having begun to learn.
MILESTONE = 0.5


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


@dataclasses.dataclass(frozen=True)
class Row:
    """A contender over its finished runs.

    Args:
        label: Name of the contender.
        runs: How many runs there are.
        accuracy: Held-out accuracy over all of them; None if there are none.
        steps: Optimisation steps until the running training accuracy reached the
            milestone, over the runs in which it did; None if in none.
        reached: How many runs did.
        diverged: How many runs ended with a loss that is not finite.
    """

    label: str
    runs: int
    accuracy: Spread | None
    steps: Spread | None
    reached: int
    diverged: int


def summarize(results: Results) -> list[tuple[Story, list[Row]]]:
    """Each story with one row for each contender, those without runs too."""
    return [
        (story, [_row(results, story, contender) for contender in story.contenders])
        for story in results.stories
    ]


def _row(results: Results, story: Story, contender: Contender) -> Row:
    runs = results.of(story.name, contender.label)
    steps = [step for run in runs if (step := milestone_step(run)) is not None]
    return Row(
        label=contender.label,
        runs=len(runs),
        accuracy=Spread.of(run.held_out_accuracy for run in runs),
        steps=Spread.of(steps),
        reached=len(steps),
        diverged=sum(run.diverged for run in runs),
    )


def running_mean(values: Iterable[float]) -> np.ndarray:
    """Means over `WINDOW` consecutive steps, the first one at step `WINDOW`."""
    values = np.fromiter(values, float)
    if len(values) < WINDOW:
        return np.empty(0)
    return np.convolve(values, np.full(WINDOW, 1 / WINDOW), mode="valid")


def milestone_step(run: Run) -> int | None:
    """The step after which the running training accuracy is at the milestone first."""
    # Rounding must not decide about a mean of exactly one half.
    reached = running_mean(run.accuracies) >= MILESTONE - 1e-9
    return WINDOW + int(reached.argmax()) if reached.any() else None
