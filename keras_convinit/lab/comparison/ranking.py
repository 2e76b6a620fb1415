"""Which scheme is the best, as plain data."""

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np

from keras_convinit.lab.comparison.plan import Plan
from keras_convinit.lab.comparison.run import Run
from keras_convinit.lab.over_seeds import Spread, milestone_step

# The training accuracy that counts as having begun to learn, unless another is asked.
THRESHOLD = 0.5


@dataclasses.dataclass(frozen=True)
class Row:
    """A scheme at one learning rate, over its finished runs.

    Args:
        scheme: The scheme.
        learning_rate: The learning rate.
        runs: How many runs there are.
        accuracy: Validation accuracy over all of them, 0 for what diverged or was
            refused; None if there are none.
        steps: Steps until the running training accuracy reached the threshold, over
            the runs in which it did; None if in none.
        reached: How many runs did.
        diverged: How many ended with a loss that is not finite.
        refused: In how many the scheme did not take the model.
        refusal: Why; None if it did.
        initialization: Mean seconds that it took to initialize.
        training: Mean seconds of the training.
    """

    scheme: str
    learning_rate: float
    runs: int
    accuracy: Spread | None
    steps: Spread | None
    reached: int
    diverged: int
    refused: int
    refusal: str | None
    initialization: float
    training: float

    @property
    def order(self) -> tuple[float, ...]:
        """The lower, the better.

        By accuracy, then by steps; what was refused comes behind what fails, and what
        was not run yet comes last.
        """
        if self.accuracy is None:
            return (2.0,)
        if self.refused == self.runs:
            return (1.0,)
        steps = math.inf if self.steps is None else self.steps.mean
        # Rounding must not decide between runs that are right as often.
        return (0.0, -round(self.accuracy.mean, 9), -self.reached, steps)


@dataclasses.dataclass(frozen=True)
class Ranking:
    """Schemes, the best one first.

    Args:
        best: Each scheme at that learning rate at which it is the best.
        others: The rest of the rows, in the same order.
    """

    best: tuple[Row, ...]
    others: tuple[Row, ...]


def ranked(plan: Plan, runs: Sequence[Run], threshold: float = THRESHOLD) -> Ranking:
    """Ranks the schemes of a plan by their validation accuracy.

    Args:
        plan: Which schemes, learning rates and seeds are asked for.
        runs: Runs, of which those count.
        threshold: The training accuracy, in the mean over 20 steps, to which steps are
            counted.

    Returns:
        The ranking.
    """
    wanted = set(plan.cases())
    runs = [run for run in runs if run.case in wanted]
    tables = [
        sorted(
            (
                _row(
                    scheme,
                    rate,
                    [
                        run
                        for run in runs
                        if (run.case.scheme, run.case.learning_rate) == (scheme, rate)
                    ],
                    threshold,
                )
                for rate in plan.learning_rates
            ),
            key=lambda row: row.order,
        )
        for scheme in plan.schemes
    ]
    tables.sort(key=lambda rows: rows[0].order)
    return Ranking(
        tuple(rows[0] for rows in tables),
        tuple(row for rows in tables for row in rows[1:]),
    )


def _row(scheme: str, rate: float, runs: Sequence[Run], threshold: float) -> Row:
    found = (milestone_step(run.accuracies, threshold) for run in runs)
    steps = [step for step in found if step is not None]
    refusals = [
        run.beginning.refusal for run in runs if run.beginning.refusal is not None
    ]
    return Row(
        scheme=scheme,
        learning_rate=rate,
        runs=len(runs),
        accuracy=Spread.of(run.accuracy for run in runs),
        steps=Spread.of(steps),
        reached=len(steps),
        diverged=sum(run.record.diverged for run in runs),
        refused=len(refusals),
        refusal=next(iter(refusals), None),
        initialization=_mean(run.beginning.seconds for run in runs),
        training=_mean(run.record.seconds for run in runs),
    )


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return float(np.mean(values)) if values else 0.0
