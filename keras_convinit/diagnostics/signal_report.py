"""What happens to signals on their way through a model, and to errors on theirs."""

import dataclasses
import math
import os
from typing import TYPE_CHECKING, Any

from keras_convinit._types import DataLike, KerasModel, LossLike
from keras_convinit.analysis import is_custom_composite
from keras_convinit.diagnostics import _views
from keras_convinit.diagnostics._probe import measure_signals
from keras_convinit.diagnostics.signal_issues import (
    SignalIssue,
    find_duplicates,
    find_issues,
    summarize,
)
from keras_convinit.diagnostics.signal_row import SignalRow, make_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class SignalReport:
    """Signal and error signal at each layer of a model, for one batch.

    `str(report)` is a table, `report.plot()` a figure.

    Args:
        rows: One for each call of a layer, in order of execution.
        inputs: Norm of a position of each input of the model.
        loss: Loss of the batch; None where there were no labels.
        issues: Problems of the signals.
        duplicates: Groups of kernels that have equal content, by their paths.
        unopened: Paths of custom layers that are made of layers and could not be
            opened: signals inside them may vanish unseen.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> report = keras_convinit.signal_report(model, np.ones((2, 8)))
        >>> report.verdict
        'steady'
    """

    rows: tuple[SignalRow, ...]
    inputs: tuple[float, ...]
    loss: float | None
    issues: tuple[SignalIssue, ...]
    duplicates: tuple[tuple[str, ...], ...]
    unopened: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """Issues in one line, or `"steady"`, and what could not be opened."""
        return summarize(self.issues, self.duplicates, self.unopened)

    def __str__(self) -> str:
        return _views.render_text(self.rows, self.verdict)

    def _repr_html_(self) -> str:
        return _views.render_html(self.rows, self.verdict, self.issues)

    def plot(self, path: str | os.PathLike[str] | None = None) -> "Figure":
        """Draws the norms against depth, beside what the theory predicts.

        Args:
            path: File to write the figure to, in the format that its ending names;
                None for none.

        Returns:
            The `matplotlib.figure.Figure`.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
        """
        figure = _views.draw_figure(self.rows, self.inputs, self.verdict, self.issues)
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as dictionaries, lists, strings and numbers.

        Returns:
            A dictionary for `json.dumps`, with None for numbers that are not finite.
        """
        plain = {**dataclasses.asdict(self), "verdict": self.verdict}
        return _replace_nonfinite(plain)


def _replace_nonfinite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _replace_nonfinite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_replace_nonfinite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def signal_report(
    model: KerasModel,
    x: DataLike,
    y: DataLike = None,
    loss: LossLike = None,
    *,
    seed: int = 0,
) -> SignalReport:
    """Measures a batch on its way through a model, and an error signal on its way back.

    The model runs as in training, with batch statistics and dropout, and is left as it
    is: weights, moving averages, random state and optimizer. Models inside it,
    `ScaledResidual` and stacks are opened, block by block. Numbers are computed in
    float32 whatever the model computes in. Masks are passed on as in the model; norms
    count all positions of its outputs, padded ones as well. The first report of a model
    runs operation by operation; for the second one a program is compiled, which is kept
    as long as the model lives.

    Without labels the error signal is random, of norm 1 for each sample at the
    outputs; with them it is the derivative of the loss: of the model's own, as `fit`
    minimizes it, with sample weights, regularizers and what layers add; or of one that
    is given, to which nothing is added.

    The verdict names the first layer whose signal is 10 times larger or smaller than
    at its start: `report.issues` has the details.

    Args:
        model: A built model.
        x: A batch: an array, a tensor, or a list or dict of them; or a data set
            (`tf.data.Dataset`, `keras.utils.PyDataset`, anything to iterate over), of
            which the first batch is taken, with its labels where the model is compiled
            with a loss or `loss` is given.
        y: Labels for the batch; None for those of a data set, or for none.
        loss: Name of a Keras loss, a `keras.losses.Loss`, or a callable of labels and
            outputs; None for that with which the model is compiled.
        seed: Seed of the random error signal, and of what the model itself draws from
            generators that belong to nobody.

    Returns:
        The report.

    Raises:
        ValueError: `model` is not a built Keras model, or does in its own `call` what
            `keras_convinit.analysis.trace` cannot read; `x` has no samples, or not the
            shapes that the model takes; there are labels, and `loss` is not a loss, or
            None and the model is not compiled with one, or not defined for the labels.

    Example:
        >>> layers = [
        ...     keras.layers.Dense(64, "relu", kernel_initializer="zhang_forward")
        ...     for _ in range(20)
        ... ]
        >>> model = keras.Sequential([keras.Input((64,)), *layers])
        >>> x = np.random.normal(size=(32, 64))
        >>> report = keras_convinit.signal_report(model, x)
        >>> print(report)
        steady...

    Reference:
        Zhang et al. 2022, *Necessary conditions for convergence of CNNs and
        initialization of convolution kernels*, eq. 4 (alpha) and eq. 6 (beta).
    """
    measurement = measure_signals(model, x, y, loss, seed)
    rows = make_rows(measurement)
    return SignalReport(
        rows,
        measurement.inputs,
        measurement.loss,
        find_issues(measurement.steps, rows),
        find_duplicates(measurement),
        tuple(
            step.path for step in measurement.steps if is_custom_composite(step.layer)
        ),
    )
