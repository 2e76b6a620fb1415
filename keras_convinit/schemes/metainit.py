"""MetaInit: norms of kernels for which the gradient changes little along a step."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_convinit import _data, backend
from keras_convinit._checks import check_positive, check_positive_int
from keras_convinit._data import Batch
from keras_convinit._loss import list_variables, make_stateless_loss
from keras_convinit._types import LossLike, Variable
from keras_convinit.analysis import ModelAnalysis, Program
from keras_convinit.schemes._inference import forward_of
from keras_convinit.schemes.base import InitRequest, Scheme, register_scheme
from keras_convinit.schemes.resolve import resolve_scheme
from keras_convinit.schemes.scale_search import (
    BatchSampler,
    ScaleSearch,
    ScaleSearchScheme,
    ScaleVector,
    SearchProblem,
    StepResult,
)


@register_scheme("metainit")
class MetaInit(ScaleSearchScheme):
    """MetaInit: kernel norms that minimize the change of the gradient along a step.

    The gradient quotient is the mean over all N trained weights of

        |(g - H g) / (g + epsilon * sign(g)) - 1|,

    with the gradient g and the Hessian H of the loss, and sign(0) = 1. It is 0 where
    the gradient is the same after a step along it. Each of `steps` draws a batch and
    moves the norm of each kernel against the sign of the derivative of the quotient,
    with momentum: m <- momentum * m - learning_rate * sign, norm <- norm + m. Other
    variables stay as they are. Of a weight-normalized kernel the gain is moved, of a
    stack the kernel of each block by itself.

    The model is in inference mode. Batch normalization then works with its averages,
    which at the start make it the identity, as in the original.

    Without data, inputs are drawn from N(0, 1) and labels at random, as in the
    original. Interrupted from the keyboard, or where numbers stop being finite, it
    ends with the best norms so far, a warning and a note in the report.

    Args:
        steps: The number of steps.
        learning_rate: The move of a norm in the first step.
        momentum: Share of the previous move that is made again.
        batch_size: Samples of a step; of no account where the model has a batch size.
        epsilon: Keeps the quotient finite where the gradient is zero.
        floor: The least norm of a kernel, as a share of the one it starts with. The
            original has none, and a norm that falls below zero turns its kernel round.
        start: The scheme that draws the weights to scale, as `initialize` takes it;
            None for the weights as they are.
        verbose: Whether to show progress.

    Raises:
        ValueError: A number is not of the kind that is said here, or `start` no scheme;
            `initialize` is called without data for a model whose inputs or labels
            cannot be drawn, or with a loss that is not finite at the start.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> report = keras_convinit.initialize(
        ...     model, "metainit", loss="mse", steps=2, batch_size=8, verbose=False
        ... )
        >>> len(report.history["quotient"])
        2

    Reference:
        Dauphin, Schoenholz 2019, *MetaInit: Initializing learning by learning to
        initialize*, eq. 1 and algorithm 1.
    """

    shown = ("loss", "quotient")

    def __init__(
        self,
        steps: int = 500,
        learning_rate: float = 0.1,
        momentum: float = 0.9,
        batch_size: int = 128,
        *,
        epsilon: float = 1e-5,
        floor: float = 0.01,
        start: Any = "he_normal",
        verbose: bool = True,
    ) -> None:
        self.steps = check_positive_int("steps", steps)
        self.learning_rate = check_positive("learning_rate", learning_rate)
        if not 0 <= momentum < 1:
            raise ValueError(
                "`momentum` must be at least 0 and less than 1. "
                f"Received: momentum={momentum!r}"
            )
        self.momentum = float(momentum)
        self.batch_size = check_positive_int("batch_size", batch_size)
        self.epsilon = check_positive("epsilon", epsilon)
        self.floor = check_positive("floor", floor)
        self.start: Scheme | None = None if start is None else resolve_scheme(start)
        self.verbose = bool(verbose)

    def sampler(self, request: InitRequest) -> BatchSampler | None:
        """Returns the source of samples; None without data, for random batches.

        Args:
            request: What was asked.
        """
        return None if request.data is None else super().sampler(request)

    def search(
        self, problem: SearchProblem, sampler: BatchSampler | None, seed: int
    ) -> ScaleSearch:
        """Returns the search over the norms of kernels.

        Args:
            problem: The model and its loss.
            sampler: The source of samples, None for random batches.
            seed: The seed of random batches.
        """
        known = _chosen(problem.analysis)

        def chosen(variable: Variable, rank: int) -> bool:
            is_kept = id(variable) in problem.kept
            return not is_kept and known.get(id(variable), rank > 1)

        scales = ScaleVector(problem.model, chosen)
        source = sampler or RandomBatches(
            problem.model, problem.program, problem.loss, seed
        )
        return _Search(self, scales, problem, source)


def _chosen(analysis: ModelAnalysis) -> dict[int, bool]:
    """Returns for each variable of a kernel if it sets the norm of the kernel."""
    chosen = {}
    for context in analysis.kernels:
        kernel = context.kernel
        chosen[id(kernel.variable)] = kernel.gain is None
        if kernel.gain is not None:
            chosen[id(kernel.gain)] = True
    return chosen


class _Search(ScaleSearch):
    def __init__(
        self,
        settings: MetaInit,
        scales: ScaleVector,
        problem: SearchProblem,
        source: "BatchSampler | RandomBatches",
    ) -> None:
        super().__init__(scales, settings.steps)
        self._settings = settings
        self._source = source
        self._size = _data.get_batch_size(problem.model) or settings.batch_size
        norms = scales.norms()
        # What is zero has no norm to be moved.
        self._norms = np.where(norms > 0, norms, np.inf)
        self._moves = np.zeros(scales.size)
        model = problem.model
        self._count = len(model.trainable_variables)
        self._loss = make_stateless_loss(
            model, problem.loss, forward_of(problem.program, batch_statistics=False)
        )
        self._program = backend.compile_function(
            self._compute, lambda: list_variables(model)
        )

    def step(self) -> StepResult:
        """Moves each norm against the sign of the derivative of the quotient."""
        batch = self._source.next(self._size).to_tensors()
        at = ops.convert_to_tensor(self.at.astype("float32"))
        outcome = self._program(at, *batch)
        loss, quotient, slopes = map(ops.convert_to_numpy, outcome)
        numbers = {"loss": float(loss), "quotient": float(quotient)}
        if not np.isfinite(slopes).all():
            numbers["quotient"] = float("nan")
        settings = self._settings
        self._moves = settings.momentum * self._moves - (
            settings.learning_rate * np.sign(slopes.astype("float64"))
        )
        moved = self.at + self._moves / self._norms
        self.at = np.maximum(moved, settings.floor)
        return StepResult((float(quotient),), numbers)

    def _compute(self, values: list[Any], at: Any, *batch: Any) -> Any:
        points = self.scales.apply(values[: self._count], at)

        def statistic(gradients: list[Any], products: list[Any]) -> Any:
            return gradient_quotient(gradients, products, self._settings.epsilon)

        derive = backend.curvature_gradient(self._loss, statistic)
        loss, quotient, gradients = derive(points, values[self._count :], *batch)
        # By the scales; the norm is proportional to them, so the sign is the same.
        return loss, quotient, self.scales.derivative(values[: self._count], gradients)


def gradient_quotient(gradients: list[Any], products: list[Any], epsilon: float) -> Any:
    """Returns the mean of |(g - H g) / (g + epsilon sign(g)) - 1| over all weights.

    Args:
        gradients: g, a list of tensors.
        products: H g, likewise.
        epsilon: Keeps it finite where g is zero.
    """
    total, count = 0.0, 0
    for g, h in zip(gradients, products, strict=True):
        g, h = ops.cast(g, "float32"), ops.cast(h, "float32")
        away_from_zero = ops.where(g >= 0, g + epsilon, g - epsilon)
        total = total + ops.sum(ops.abs((g - h) / away_from_zero - 1))
        count += int(np.prod(g.shape))
    return total / count


CLASSES = ("sparse_categorical_crossentropy", "SparseCategoricalCrossentropy")
ONE_HOT = ("categorical_crossentropy", "CategoricalCrossentropy")
NUMBERS = ("mean_squared_error", "MeanSquaredError", "mse")


class RandomBatches:
    """Draws inputs from N(0, 1), and labels at random.

    Args:
        model: The model.
        program: The model as a program of calls.
        loss: A loss, or None for that with which the model is compiled.
        seed: An integer.

    Raises:
        ValueError: The model has inputs that are not real numbers, or of unknown size,
            or several outputs; or the loss does not say what labels are.
    """

    def __init__(
        self, model: keras.Model, program: Program, loss: LossLike, seed: int
    ) -> None:
        self._structure = program.inputs
        self._inputs = _describe(program, program.inputs)
        outputs = _describe(program, program.outputs)
        for shape, dtype in self._inputs:
            if None in shape or not keras.backend.is_float_dtype(dtype):
                raise ValueError(
                    "`data` must be given for a model with inputs that are no real "
                    "numbers, or of any size. "
                    f"Received: data=None, for an input of shape {shape} and {dtype}"
                )
        self._kind = _kind(model.loss if loss is None else loss)
        if len(outputs) != 1 or self._kind is None:
            raise ValueError(
                "`data` must be given for a model with several outputs, or a loss that "
                f"is none of {', '.join((*CLASSES, *ONE_HOT, *NUMBERS))}. "
                f"Received: data=None, {len(outputs)} outputs, loss={loss!r}"
            )
        (self._output, _), *_ = outputs
        self._generator = np.random.default_rng(seed)

    def next(self, count: int) -> Batch:
        """Returns `count` samples with labels."""
        draw = self._generator
        dtype = keras.config.floatx()
        leaves = [
            draw.standard_normal((count, *shape)).astype(dtype)
            for shape, _ in self._inputs
        ]
        x = keras.tree.pack_sequence_as(self._structure, leaves)
        *places, classes = self._output
        if self._kind == "numbers":
            numbers = draw.standard_normal((count, *self._output))
            return Batch(x, numbers.astype(dtype))
        labels = draw.integers(0, classes, (count, *places))
        if self._kind == "one_hot":
            return Batch(x, np.eye(classes, dtype=dtype)[labels])
        return Batch(x, labels)


def _describe(program: Program, values: Any) -> list[tuple[tuple[Any, ...], str]]:
    """Returns the shape of a sample and the dtype of each tensor."""
    return [
        (tuple(program.shapes[value.id][1:]), program.dtypes[value.id])
        for value in keras.tree.flatten(values)
    ]


def _kind(loss: LossLike) -> str | None:
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", None)
    if isinstance(loss, keras.Loss):
        name = type(loss).__name__
    kinds = {"classes": CLASSES, "one_hot": ONE_HOT, "numbers": NUMBERS}
    return next((kind for kind, names in kinds.items() if name in names), None)
