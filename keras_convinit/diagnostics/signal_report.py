"""What happens to signals on their way through a model, and to errors on theirs."""

import dataclasses
import html
import math
from typing import Any

import keras

from keras_convinit import _data, backend
from keras_convinit._loss import identify_loss, resolve_loss
from keras_convinit.diagnostics import _table
from keras_convinit.diagnostics._duplicates import duplicates_of
from keras_convinit.diagnostics._measurement import Measurer
from keras_convinit.diagnostics._remembered import remembered
from keras_convinit.diagnostics._rows import rows_of
from keras_convinit.diagnostics._verdict import Trouble, sentence, troubles_of
from keras_convinit.diagnostics.signal_row import SignalRow
from keras_convinit.graph import (
    is_custom_composite,
    make_executable,
    regularizes_outputs,
    trace_opened,
)


@dataclasses.dataclass(frozen=True)
class SignalReport:
    """What a signal went through in a model, layer by layer.

    `str(report)` is a table, `report.plot()` a figure.

    Args:
        rows: One for each call of a layer, in order of execution.
        inputs: The norm of a position of each input of the model.
        loss: The loss of the batch; None where there were no labels.
        troubles: What is wrong with the signals.
        duplicates: Groups of kernels that have equal content.
        unopened: The layers of the user's own that are made of layers, and into which
            the report could not look: signals inside may vanish unseen.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> report = keras_convinit.signal_report(model, np.ones((2, 8)))
        >>> report.verdict
        'steady'
    """

    rows: tuple[SignalRow, ...]
    inputs: tuple[float, ...]
    loss: float | None
    troubles: tuple[Trouble, ...]
    duplicates: tuple[tuple[str, ...], ...]
    unopened: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """What is wrong, in one line, or `"steady"`, and where it did not look."""
        return sentence(self.troubles, self.duplicates, self.unopened)

    def __str__(self) -> str:
        return _table.text(self.rows, self.verdict)

    def _repr_html_(self) -> str:
        marked = {trouble.row for trouble in self.troubles}
        head = "".join(f"<th>{name}</th>" for name in _table.headings())
        lines = []
        for index, row in enumerate(self.rows):
            style = ' style="color:#D55E00"' if index in marked else ""
            cells = "".join(
                f"<td>{html.escape(cell)}</td>" for cell in _table.cells(row)
            )
            lines.append(f"<tr{style}>{cells}</tr>")
        return (
            f"<p><b>{html.escape(self.verdict)}</b></p><table><thead><tr>{head}</tr>"
            f"</thead><tbody>{''.join(lines)}</tbody></table>"
        )

    def plot(self, path: Any = None) -> Any:
        """Draws the norms against depth, beside what the theory says.

        Args:
            path: Where to write a picture, of the kind that its ending says; None for
                nowhere.

        Returns:
            A figure of matplotlib.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
        """
        try:
            from keras_convinit.diagnostics._figure import figure_of
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "`plot` needs matplotlib: pip install matplotlib"
            ) from error
        figure = figure_of(self)
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure

    def to_dict(self) -> dict[str, Any]:
        """The report as dictionaries, lists, strings and numbers.

        Returns:
            What `json.dumps` takes; a number that is not finite is None.
        """
        plain = {**dataclasses.asdict(self), "verdict": self.verdict}
        return _finite(plain)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def signal_report(
    model: keras.Model, x: Any, y: Any = None, loss: Any = None, *, seed: int = 0
) -> SignalReport:
    """Sends a batch through a model and an error signal back, and says what happened.

    The model runs as in training, with batch statistics and dropout, and is left as it
    is: weights, moving averages, random state and optimizer. Models inside it,
    `ScaledResidual` and stacks are opened up, block by block. Numbers are computed in
    float32 whatever the model computes in. Masks go where they go in the model; norms
    count all positions of its outputs, padded ones as well. The first report of a model
    runs operation by operation; for the second one a program is compiled, which is kept
    as long as the model lives.

    Without labels the error signal is random, of norm 1 for each sample at the
    outputs; with them it is the derivative of the loss: of the model's own, as `fit`
    minimizes it, with sample weights, regularizers and what layers add; or of one that
    is given, to which nothing is added.

    The verdict names the first layer whose signal is 10 times larger or smaller than
    at its start: `report.troubles` has the details. It also names what the report could
    not look into: layers of the user's own whose parts cannot be seen at work.

    Args:
        model: A built model.
        x: A batch: an array, a tensor, or a list or dict of them; or a data set
            (`tf.data.Dataset`, `keras.utils.PyDataset`, anything to iterate over), of
            which the first batch is taken, with its labels where the model is compiled
            with a loss or `loss` is given.
        y: Labels for the batch.
        loss: The name of a Keras loss, a `keras.losses.Loss`, or a callable of labels
            and outputs; None for that with which the model is compiled.
        seed: Of the random error signal, and of what the model itself draws from
            generators that belong to nobody.

    Returns:
        The report.

    Raises:
        ValueError: An argument is not what is said here, or `model` does what cannot
            be seen, see `keras_convinit.graph.trace`.

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
    if not (isinstance(model, keras.Model) and model.built):
        raise ValueError(
            f"`model` must be a built Keras model. Received: model={model!r}"
        )
    with backend.preserve_state(model):
        batch = _data.take_first_batch(model, x, y)
        # Labels of a data set may be there for something else.
        of_use = y is not None or loss is not None or model.compiled
        x, y = batch.x, batch.y if of_use else None
        identity: tuple[Any, ...] = ()
        if y is not None:
            loss = resolve_loss(model, loss)
            identity = identify_loss(model, loss)
        layers = tuple((id(layer), layer.trainable) for layer in model.layers)
        variables = tuple(id(variable) for variable in model.trainable_variables)
        # What is known of steps goes for one structure of the data and one size.
        kinds = keras.tree.map_structure(
            lambda each: (tuple(each.shape[1:]), str(each.dtype)), x
        )
        measurer = remembered(
            model,
            "signals",
            (layers, variables, repr(kinds), *identity),
            lambda: Measurer(
                model,
                make_executable(
                    trace_opened(model, x, training=True),
                    stay_whole=regularizes_outputs,
                ),
                loss,
                y is not None,
            ),
        )
        measurement = measurer(x, y, batch.weights, seed)
    rows = rows_of(measurement)
    return SignalReport(
        rows,
        measurement.inputs,
        measurement.loss if y is not None else None,
        troubles_of(measurement.steps, rows),
        duplicates_of(measurement),
        tuple(
            step.path for step in measurement.steps if is_custom_composite(step.layer)
        ),
    )
