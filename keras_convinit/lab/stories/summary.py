"""Runs over several seeds in a few numbers."""

import dataclasses

from keras_convinit.lab.over_seeds import Spread, milestone_step
from keras_convinit.lab.stories.results import Results
from keras_convinit.lab.stories.story import Contender, Story

# The training accuracy that counts as having begun to learn.
MILESTONE = 0.5


@dataclasses.dataclass(frozen=True)
class Row:
    """A contender over its finished runs.

    Args:
        label: Name of the contender.
        runs: How many runs there are.
        accuracy: Held-out accuracy over all of them; None if there are none.
        steps: Optimization steps until the running training accuracy reached the
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
    reached = (milestone_step(run.accuracies, MILESTONE) for run in runs)
    steps = [step for step in reached if step is not None]
    return Row(
        label=contender.label,
        runs=len(runs),
        accuracy=Spread.of(run.held_out_accuracy for run in runs),
        steps=Spread.of(steps),
        reached=len(steps),
        diverged=sum(run.diverged for run in runs),
    )
