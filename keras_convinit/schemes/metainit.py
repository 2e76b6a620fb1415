"""Norms of kernels at which the gradient changes least along itself."""

from typing import Any

import numpy as np
from keras import ops

from keras_convinit import _data, backend
from keras_convinit._checks import positive, positive_integer
from keras_convinit._loss import list_variables, make_stateless_loss
from keras_convinit.graph import Graph
from keras_convinit.schemes._inference import forward_of
from keras_convinit.schemes._named import named, resolved
from keras_convinit.schemes._noise import Noise
from keras_convinit.schemes._scales import Scales
from keras_convinit.schemes._scheme import AbstractScheme, Task
from keras_convinit.schemes._search import (
    AbstractScaling,
    AbstractSearch,
    Found,
    Problem,
)
from keras_convinit.schemes._stream import Stream


@named("metainit")
class MetaInit(AbstractScaling):
    """Norms of kernels, moved until a step of gradient descent does what it promises.

    The gradient quotient is the mean over all N trained weights of

        |(g - H g) / (g + epsilon * sign(g)) - 1|,

    with the gradient g and the Hessian H of the loss, and sign(0) = 1. It is 0 where
    the gradient is the same after a step along it. Each of `steps` draws a batch and
    moves the norm of each kernel against the sign of the derivative of the quotient,
    with momentum: m <- momentum * m - learning_rate * sign, norm <- norm + m. Other
    variables stay as they are. Of a weight-normalised kernel the gain is moved, of a
    stack the kernel of each block by itself.

    The model is in inference mode. Batch normalisation then works with its averages,
    which at the start make it the identity, as in the original.

    Without data, inputs are drawn from N(0, 1) and labels at random, as in the
    original. Interrupted from the keyboard, or where numbers stop being finite, it
    ends with the best norms so far, a warning and a note in the report.

    Args:
        steps: How many.
        learning_rate: How far a norm moves in the first step.
        momentum: Share of the previous move that is made again.
        batch_size: Samples of a step; of no account where the model has a batch size.
        epsilon: Keeps the quotient finite where the gradient is zero.
        floor: The least norm of a kernel, as a share of the one it starts with. The
            original has none, and a norm that falls below zero turns its kernel round.
        start: The scheme that draws the weights to scale, as `initialize` takes it;
            None for the weights as they are.
        verbose: Whether to show progress.

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
        self.steps = positive_integer("steps", steps)
        self.learning_rate = positive("learning_rate", learning_rate)
        if not 0 <= momentum < 1:
            raise ValueError(
                "`momentum` must be at least 0 and less than 1. "
                f"Received: momentum={momentum!r}"
            )
        self.momentum = float(momentum)
        self.batch_size = positive_integer("batch_size", batch_size)
        self.epsilon = positive("epsilon", epsilon)
        self.floor = positive("floor", floor)
        self.start: AbstractScheme | None = None if start is None else resolved(start)
        self.verbose = bool(verbose)

    def stream(self, task: Task) -> Stream | None:
        """The samples; None for noise."""
        return None if task.data is None else super().stream(task)

    def search(
        self, problem: Problem, stream: Stream | None, seed: int
    ) -> AbstractSearch:
        """The search, over the norms of kernels."""
        known = _chosen(problem.graph)

        def chosen(variable: Any, rank: int) -> bool:
            is_kept = id(variable) in problem.stay
            return not is_kept and known.get(id(variable), rank > 1)

        scales = Scales(problem.model, chosen)
        source = stream or Noise(problem.model, problem.program, problem.loss, seed)
        return _Search(self, scales, problem, source)


def _chosen(graph: Graph) -> dict[int, bool]:
    """Of the variables of kernels, whether they say how large the kernel is."""
    chosen = {}
    for site in graph.sites:
        kernel = site.kernel
        chosen[id(kernel.variable)] = kernel.gain is None
        if kernel.gain is not None:
            chosen[id(kernel.gain)] = True
    return chosen


class _Search(AbstractSearch):
    def __init__(
        self,
        settings: MetaInit,
        scales: Scales,
        problem: Problem,
        source: Stream | Noise,
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

    def step(self) -> Found:
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
        return Found((float(quotient),), numbers)

    def _compute(self, values: list[Any], at: Any, *batch: Any) -> Any:
        points = self.scales.applied(values[: self._count], at)

        def statistic(gradients: list[Any], products: list[Any]) -> Any:
            return gradient_quotient(gradients, products, self._settings.epsilon)

        derive = backend.curvature_gradient(self._loss, statistic)
        loss, quotient, gradients = derive(points, values[self._count :], *batch)
        # By the scales; the norm is proportional to them, so the sign is the same.
        return loss, quotient, self.scales.slopes(values[: self._count], gradients)


def gradient_quotient(gradients: list[Any], products: list[Any], epsilon: float) -> Any:
    """The mean of |(g - H g) / (g + epsilon sign(g)) - 1| over all weights.

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
