"""A gamma for eq. 41, from how much one training step would change the kernels."""

import dataclasses
import statistics
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from keras_convinit._checks import check_positive
from keras_convinit._types import DataLike, KerasModel, LossLike, Tensor
from keras_convinit.analysis import KernelContext, analyze_program
from keras_convinit.diagnostics._forward import Step, read_value
from keras_convinit.diagnostics._probe import measure_signals
from keras_convinit.diagnostics.signal_row import SignalRow, make_rows
from keras_convinit.scales import backward_scale

# One per cent of a kernel's norm in the first step.
TARGET = 0.01


@dataclasses.dataclass(frozen=True)
class RelativeChange:
    """Change of a kernel by one step of plain gradient descent.

    Args:
        path: Path of the layer, as in the rows of a report: in a stack that of a block.
        gamma: Gamma of eq. 41 for the kernel as it is: backward_scale / (fan_out Var).
        change: learning_rate * ||gradient|| / ||kernel||.

    Example:
        >>> from keras_convinit.diagnostics import RelativeChange
        >>> RelativeChange("dense", gamma=0.5, change=0.02).change
        0.02
    """

    path: str
    gamma: float
    change: float


@dataclasses.dataclass(frozen=True)
class GammaSuggestion:
    """A gamma, and the numbers that it comes from.

    Args:
        gamma: Gamma with which the median of the changes is the target.
        target: Relative change that was asked for.
        learning_rate: Learning rate of the step.
        median: Median of the changes as the model is.
        rows: One for each kernel with a normalization behind it, of a stack one for
            each block.

    Example:
        >>> model = keras.Sequential(
        ...     [
        ...         keras.Input((8,)),
        ...         keras.layers.Dense(4, name="dense"),
        ...         keras.layers.BatchNormalization(),
        ...     ]
        ... )
        >>> x, y = np.random.normal(size=(32, 8)), np.zeros((32, 4))
        >>> suggestion = keras_convinit.suggest_gamma(
        ...     model, x, y, learning_rate=0.1, loss="mse"
        ... )
        >>> report = keras_convinit.initialize(model, gamma=suggestion.gamma)
        >>> [row.path for row in suggestion.rows]
        ['dense']
    """

    gamma: float
    target: float
    learning_rate: float
    median: float
    rows: tuple[RelativeChange, ...]

    def __str__(self) -> str:
        """Returns a line for each kernel, and the gamma that follows from them."""
        lines = [f"{'kernel of':<48}{'gamma now':>12}{'change':>12}"]
        lines += [
            f"{row.path[-47:]:<48}{row.gamma:>12.4g}{row.change:>12.3g}"
            for row in self.rows
        ]
        lines.append(
            f"learning rate {self.learning_rate:g}: median change {self.median:.3g}; "
            f"{self.target:g} with gamma {self.gamma:.4g}"
        )
        return "\n".join(lines)


def suggest_gamma(
    model: KerasModel,
    x: DataLike,
    y: DataLike,
    learning_rate: float,
    loss: LossLike = None,
    *,
    target: float = TARGET,
) -> GammaSuggestion:
    """Proposes a gamma for a network with batch normalization and a learning rate.

    This is ours. The paper finds that gamma goes with the learning rate and gives no
    formula. In front of a normalization the size of a kernel changes neither the
    signal nor the error signal, but its gradient is inversely proportional to it, so
    that a step changes the kernel by

        learning_rate * ||gradient|| / ||kernel||,

    which is proportional to 1 / Var(w), and by eq. 41 to gamma. The gamma that is
    proposed brings the median of that over the kernels to `target`. No momentum and no
    weight decay of the optimizer are counted; regularizers are, where the loss is the
    model's own.

    Args:
        model: A built model, initialized in any way.
        x: A batch, as `signal_report` takes it.
        y: Labels; None for those of a data set.
        learning_rate: Learning rate of the first steps.
        loss: As of `signal_report`.
        target: Relative change to aim at.

    Returns:
        The gamma, and the numbers for each kernel.

    Raises:
        ValueError: `learning_rate` or `target` is not a positive number; there are no
            labels; no kernel has a normalization behind it; the gradient is not finite,
            or zero; or as of `signal_report`.

    Example:
        >>> model = keras.Sequential(
        ...     [
        ...         keras.Input((8,)),
        ...         keras.layers.Dense(4),
        ...         keras.layers.BatchNormalization(),
        ...     ]
        ... )
        >>> x, y = np.random.normal(size=(32, 8)), np.zeros((32, 4))
        >>> suggestion = keras_convinit.suggest_gamma(
        ...     model, x, y, learning_rate=0.1, loss="mse"
        ... )
        >>> suggestion.gamma > 0
        True

    Reference:
        Zhang et al. 2022, *Necessary conditions for convergence of CNNs and
        initialization of convolution kernels*, eq. 41, which it is a way to use.
    """
    learning_rate = check_positive("learning_rate", learning_rate)
    target = check_positive("target", target)
    measurement = measure_signals(model, x, y, loss, seed=0)
    if measurement.loss is None:
        raise ValueError(
            "`y` must be labels, or come with a data set in `x`. Received: y=None"
        )
    measured = list(zip(measurement.steps, make_rows(measurement), strict=True))
    rows = [
        RelativeChange(
            row.path,
            _compute_gamma(site, values),
            learning_rate * row.gradient_norm / row.weight_norm,
        )
        for site in analyze_program(measurement.program, model).kernels
        if site.normalized and site.kernel.gain is None
        for row, values in _find_rows(site, measured)
        if row.gradient_norm is not None and row.weight_norm
    ]
    if not rows:
        raise ValueError(
            "`model` must have kernels with a normalization right behind them. "
            f"Received: the model {model.name!r}, which has none"
        )
    # At gamma 1; what is proportional to gamma has its median there too.
    unit = statistics.median(row.change / row.gamma for row in rows)
    if not (np.isfinite(unit) and unit > 0):
        raise ValueError(
            "The gradient must be finite and not zero. "
            f"Received: a median relative change of {unit}"
        )
    return GammaSuggestion(
        target / unit,
        target,
        learning_rate,
        statistics.median(row.change for row in rows),
        tuple(rows),
    )


def _find_rows(
    site: KernelContext, measured: Sequence[tuple[Step, SignalRow]]
) -> Iterator[tuple[SignalRow, Tensor]]:
    """Finds the first row of a kernel, of a stack's one for each block, with values."""
    seen = set()
    for step, row in measured:
        for variable, block in step.owners:
            if variable is site.kernel.variable and block not in seen:
                seen.add(block)
                yield row, read_value(keras.ops.convert_to_tensor(variable), block)


def _compute_gamma(site: KernelContext, values: Tensor) -> float:
    """Computes the gamma of eq. 41 that a kernel with these values has."""
    values = keras.ops.cast(values, "float32")
    variance = float(
        keras.ops.convert_to_numpy(keras.ops.mean(keras.ops.square(values)))
    )
    try:
        scale = backward_scale(site.following)
    except ValueError:
        scale = 1.0
    return scale / (site.kernel.geometry.fans()[1] * max(variance, 1e-30))
