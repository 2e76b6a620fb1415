"""Experiments whose runs are trainings."""

import abc
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from experiment import AbstractExperiment, Case, Row
from training import Course, Trainer

from keras_convinit.lab.over_seeds import Spread
from keras_convinit.lab.progress import AfterStep


class AbstractTrainings(AbstractExperiment):
    """An experiment each run of which is one network, one start and one course.

    Args:
        settings: One of `scales`.
    """

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self._trainers: dict[Any, Trainer] = {}

    @abc.abstractmethod
    def trainer(self, case: Case) -> Trainer:
        """A new trainer for a case; those of one `trainer_key` share it."""

    def trainer_key(self, case: Case) -> Any:
        """What the data and the optimizer depend on."""
        del case

    @abc.abstractmethod
    def network(self, case: Case) -> str:
        """The network of a case, see `models.from_spec`."""

    @abc.abstractmethod
    def scheme(self, case: Case) -> str:
        """Its start, see `scheme_from`."""

    @abc.abstractmethod
    def course(self, case: Case) -> Course:
        """How it is trained."""

    def steps(self, case: Case) -> int:
        """The steps of its course."""
        return self._trainer(case).steps(self.course(case))

    def run(self, case: Case, after_step: AfterStep) -> Row:
        """Initialises and trains."""
        outcome = self._trainer(case).run(
            self.network(case),
            self.scheme(case),
            case["seed"],
            self.course(case),
            after_step,
        )
        return dataclasses.asdict(outcome)

    def _trainer(self, case: Case) -> Trainer:
        key = self.trainer_key(case)
        if key not in self._trainers:
            self._trainers[key] = self.trainer(case)
        return self._trainers[key]


def accuracy(row: Row) -> float:
    """The held-out accuracy at the end, 0 after a divergence."""
    return row["held_out"][-1][1]


def of(rows: Iterable[Row], **case: Any) -> list[Row]:
    """The runs with these values in their cases."""
    wanted = case.items()
    return [row for row in rows if all(row["case"][key] == v for key, v in wanted)]


def spread(
    rows: Iterable[Row], value: Callable[[Row], float] = accuracy
) -> Spread | None:
    """Mean and range of something over runs; None where there are none."""
    return Spread.of(map(value, rows))


def best(
    rows: Sequence[Row], over: str, value: Callable[[Row], float] = accuracy
) -> tuple[Any, list[Row]]:
    """The runs at that value of a setting where they are best in the mean.

    Args:
        rows: Runs, at least one.
        over: The setting, such as the learning rate.
        value: What has to be high.

    Returns:
        The value of the setting, and the runs with it.
    """
    values = dict.fromkeys(row["case"][over] for row in rows)
    means = {one: spread(of(rows, **{over: one}), value).mean for one in values}
    found = max(values, key=means.__getitem__)
    return found, of(rows, **{over: found})


def percent(spread: Spread | None) -> str:
    """For a cell of a table: mean, lowest and highest in percent."""
    return "-" if spread is None else spread.text(100, ".1f")


def by(rows: Iterable[Row], key: str) -> Mapping[Any, list[Row]]:
    """Runs by a setting, in the order in which its values come."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["case"][key], []).append(row)
    return groups
