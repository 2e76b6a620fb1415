"""A gamma for eq. 41, from how much one step would change the kernels."""

import dataclasses
import statistics
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_convinit._checks import positive
from keras_convinit._data import take_first_batch
from keras_convinit.diagnostics.signal_report import signal_report
from keras_convinit.diagnostics.signal_row import SignalRow
from keras_convinit.graph import KernelContext, analyze
from keras_convinit.scales import backward_scale

# One per cent of a kernel's norm in the first step.
TARGET = 0.01


@dataclasses.dataclass(frozen=True)
class RelativeChange:
    """What one step of plain gradient descent does to a kernel.

    Args:
        path: The layer, as in the rows of a report: in a stack that of a block.
        gamma: That of eq. 41 for the kernel as it is: backward_scale / (fan_out Var).
        change: learning_rate * ||gradient|| / ||kernel||.
    """

    path: str
    gamma: float
    change: float


@dataclasses.dataclass(frozen=True)
class GammaSuggestion:
    """A gamma, and the numbers that it comes from.

    Args:
        gamma: With it the median of the changes is the target.
        target: The relative change that was asked for.
        learning_rate: The learning rate.
        median: The median of the changes as the model is.
        rows: One for each kernel with a normalisation behind it, of a stack one for
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
        """A line for each kernel, and what follows from them."""
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
    model: keras.Model,
    x: Any,
    y: Any,
    learning_rate: float,
    loss: Any = None,
    *,
    target: float = TARGET,
) -> GammaSuggestion:
    """Proposes a gamma for a network with batch normalisation and a learning rate.

    This is ours. The paper finds that gamma goes with the learning rate and gives no
    formula. In front of a normalisation the size of a kernel changes neither the
    signal nor the error signal, but its gradient is inversely proportional to it, so
    that a step changes the kernel by

        learning_rate * ||gradient|| / ||kernel||,

    which is proportional to 1 / Var(w), and by eq. 41 to gamma. The gamma that is
    proposed brings the median of that over the kernels to `target`. No momentum and no
    weight decay of the optimizer are counted; regularizers are, where the loss is the
    model's own.

    Args:
        model: A built model, initialised in any way.
        x: A batch, as `signal_report` takes it.
        y: Labels; None for a data set that has them.
        learning_rate: That of the first steps.
        loss: As of `signal_report`.
        target: The relative change to aim at.

    Returns:
        The gamma, and the numbers for each kernel.

    Raises:
        ValueError: An argument is not what is said here, no kernel has a normalisation
            behind it, or the gradient is not finite or zero.

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
    learning_rate = positive("learning_rate", learning_rate)
    target = positive("target", target)
    batch = take_first_batch(model, x, y)
    report = signal_report(model, (batch.x, batch.y, batch.weights), loss=loss)
    if report.loss is None:
        raise ValueError(
            "`y` must be labels, or come with a data set in `x`. Received: y=None"
        )
    measured = {row.path: row for row in report.rows}
    rows = [
        RelativeChange(
            row.path,
            _gamma_of(site, values),
            learning_rate * row.gradient_norm / row.weight_norm,
        )
        for site in analyze(model, batch.x).kernels
        if site.normalized and site.kernel.gain is None
        for row, values in _measured(site, measured)
        if row.gradient_norm is not None and row.weight_norm
    ]
    if not rows:
        raise ValueError(
            "`model` must have kernels with a normalisation right behind them. "
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


def _measured(
    site: KernelContext, rows: dict[str, SignalRow]
) -> Iterator[tuple[SignalRow, Any]]:
    """The rows of a kernel, with its values: of a stack's one for each block."""
    values = keras.ops.convert_to_tensor(site.kernel.variable)
    if not site.kernel.stacked:
        yield rows[site.path], values
        return
    names = site.path.split("/")
    for number in range(values.shape[0]):
        # The path does not say which of its names is that of the stack.
        paths = (
            "/".join([*names[:place], site.layer.block_path(number), *names[place:]])
            for place in range(1, len(names))
        )
        yield next(rows[path] for path in paths if path in rows), values[number]


def _gamma_of(site: KernelContext, values: Any) -> float:
    values = keras.ops.cast(values, "float32")
    variance = float(
        keras.ops.convert_to_numpy(keras.ops.mean(keras.ops.square(values)))
    )
    try:
        scale = backward_scale(site.following)
    except ValueError:
        scale = 1.0
    return scale / (site.kernel.geometry.fans()[1] * max(variance, 1e-30))
