"""Experiments whose runs are trainings."""

import abc
import dataclasses
from typing import Any

from experiment import AbstractExperiment, Case, Row
from training import Course, Trainer

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
        """Initializes and trains."""
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
