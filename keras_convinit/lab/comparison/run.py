"""One run: a case goes in, plain data comes out."""

import dataclasses
import time

import keras
import numpy as np

from keras_convinit import initialize, signal_report
from keras_convinit.diagnostics import SignalRow
from keras_convinit.lab.comparison.images import AbstractImages
from keras_convinit.lab.comparison.model import ModelSource
from keras_convinit.lab.comparison.plan import Case, Plan
from keras_convinit.lab.comparison.steps import StepAccuracies
from keras_convinit.lab.plain_data import Seconds, Share
from keras_convinit.lab.progress import AfterStep
from keras_convinit.lab.scheme_source import scheme_from
from keras_convinit.lab.signals import Curve, signal_curves
from keras_convinit.lab.training import Record, fit_recorded


@dataclasses.dataclass(frozen=True)
class Beginning:
    """What an initialization made of a model, before the first step.

    Args:
        report: What was set by which rule, as a table for people.
        verdict: What a signal report says in one line.
        signal: Root mean square of the outputs of each layer with weights, as a
            multiple of that of the images; None where it is not finite.
        error: Norm of the error signal there, as a multiple of that at the last.
        seconds: How long the initialization took.
        refusal: Why the scheme did not take the model; None if it did. Then the rest is
            empty.
    """

    report: str = ""
    verdict: str = ""
    signal: Curve = ()
    error: Curve = ()
    seconds: Seconds = 0.0
    refusal: str | None = None


@dataclasses.dataclass(frozen=True)
class Run:
    """A case that was carried out.

    Args:
        case: Which.
        beginning: What was before the first step.
        accuracies: Share of each step's batch that was classified rightly.
        record: The epochs; none if the scheme refused the model.
    """

    case: Case
    beginning: Beginning
    accuracies: tuple[Share, ...] = ()
    record: Record = dataclasses.field(default_factory=Record)

    @property
    def accuracy(self) -> float:
        """Share of the validation images that is classified rightly in the end.

        0 if it diverged, as Arpit et al. count it, or was refused.
        """
        if self.record.diverged or not self.record.epochs:
            return 0.0
        return self.record.epochs[-1].validation_accuracy or 0.0


class Runner:
    """Carries out cases, one after the other.

    What a scheme made of a model with a seed is kept until another is asked for, so
    that learning rates share it.

    Args:
        plan: How all of them are trained.
        source: Makes the models.
        images: What they are trained on.
    """

    def __init__(self, plan: Plan, source: ModelSource, images: AbstractImages) -> None:
        self.plan = plan
        self.source = source
        self.images = images
        self._key: tuple[str, int] | None = None
        self._kept = Beginning(), list[np.ndarray]()

    def __call__(self, case: Case, after_step: AfterStep) -> Run:
        """Carries out a case.

        The result depends on the case alone, not on what ran before. The random state
        of Python, numpy and the Keras backend is set by it.

        Args:
            case: The case.
            after_step: Called after each step.

        Returns:
            The run; a scheme that does not take the model, and a training that
            diverges, are results like others.
        """
        keras.utils.set_random_seed(case.seed)
        model = self.source()
        if self._key != (case.scheme, case.seed):
            self._key = None
            self._kept = self._begun(case, model)
            self._key = case.scheme, case.seed
        beginning, values = self._kept
        if beginning.refusal is not None:
            return Run(case, beginning)
        for variable, value in zip(model.variables, values, strict=True):
            variable.assign(value)
        # However many random numbers the scheme drew, or the one before drew.
        keras.utils.set_random_seed(case.seed)
        steps = StepAccuracies(after_step)
        record = fit_recorded(
            model,
            self.images.training(case.seed),
            self.images.validation(),
            optimizer=self.plan.optimizer(case.learning_rate),
            schedule=self.plan.learning_rate_schedule(),
            epochs=self.plan.epochs,
            steps_per_epoch=self.images.steps_per_epoch,
            callbacks=[steps],
        )
        return Run(case, beginning, tuple(steps.accuracies), record)

    def _begun(
        self, case: Case, model: keras.Model
    ) -> tuple[Beginning, list[np.ndarray]]:
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        started = time.perf_counter()
        try:
            report = initialize(
                model,
                scheme_from(case.scheme),
                self.images.for_scheme(case.seed),
                loss=loss,
                seed=case.seed,
            )
        except ValueError as error:
            return Beginning(refusal=str(error)), []
        # A search that is interrupted is content with what it has; nobody else is.
        if report.interrupted:
            raise KeyboardInterrupt
        seconds = round(time.perf_counter() - started, 3)
        images, labels = self.images.batch()
        found = signal_report(model, images, labels, loss)
        rows = [row for row in found.rows if _has_weights(row)]
        signal, error_signal = signal_curves(found, rows, images.shape[-1])
        beginning = Beginning(str(report), found.verdict, signal, error_signal, seconds)
        return beginning, [
            np.array(keras.ops.convert_to_numpy(variable))
            for variable in model.variables
        ]


def _has_weights(row: SignalRow) -> bool:
    return row.weight_norm is not None and not row.type.endswith("Normalization")
