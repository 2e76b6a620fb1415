"""Scales after which one step of the optimizer lowers the loss the most."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_convinit import _sample, backend
from keras_convinit._checks import positive, positive_integer
from keras_convinit._loss import all_variables, stateless_loss
from keras_convinit.schemes._batch import as_the_model_takes
from keras_convinit.schemes._inference import forward_of
from keras_convinit.schemes._named import named, resolved
from keras_convinit.schemes._scales import Scales
from keras_convinit.schemes._scheme import AbstractScheme
from keras_convinit.schemes._search import (
    AbstractScaling,
    AbstractSearch,
    Found,
    Problem,
)
from keras_convinit.schemes._stream import Stream, joined
from keras_convinit.schemes.gradinit_presets import gradinit_preset

OPTIMIZERS = ("sgd", "adam")


@named("gradinit")
class GradInit(AbstractScaling):
    """A scale for each variable, learnt so that the first step pays.

    Each iteration draws a batch S and looks at the gradient g of its loss with respect
    to all trained variables. Where its norm is above `max_gradient_norm`, the scales
    descend on that norm. Otherwise they descend on the loss of a batch S' after one
    step, L(S'; theta - step_size * g / ||g||) / step_size, where half of S' is from S.
    The step itself is taken for constant. Norms are Euclidean; with
    `optimizer="adam"` they are sums of magnitudes, and the step is step_size * sign(g).

    Scales descend by Adam, with a first moment for each of the two aims and one second
    moment for both. Batch normalisation works with the statistics of the batch, and
    its averages stay as they are; dropout does nothing. Of a stack each block has
    scales of its own. What is zero everywhere, such as most biases, has none.

    Interrupted from the keyboard, or where numbers stop being finite, it ends with the
    best scales so far, a warning and a note in the report.

    Args:
        iterations: How many, of both kinds together. None for the preset's, or 390.
        learning_rate: Of the scales. None for the preset's, or 0.01.
        batch_size: Samples of S. None for the preset's, or 128.
        preset: Name of the settings of a network, one of `GRADINIT_PRESETS`.
        optimizer: What the model will be trained with: `"sgd"` or `"adam"`.
        step_size: Length of the step that is tried, eta.
        max_gradient_norm: The bound of the norm, gamma. For `"adam"` it has to be
            larger by about the root of the number of weights.
        overlap: Whether half of S' is from S; all of it is new otherwise.
        min_scale: The least scale of a weight; that of a bias is 0.
        clip: The largest magnitude of a derivative by a scale; beyond it is cut off.
        start: The scheme that draws the weights to scale, as `initialize` takes it;
            None for the weights as they are.
        verbose: Whether to show progress.

    Example:
        >>> report = initialize(
        ...     model, GradInit(iterations=100), data=(x_train, y_train), loss=loss
        ... )

    Reference:
        Zhu, Ni, Xu, Kong, Huang, Goldstein 2021, *GradInit: Learning to Initialize
        Neural Networks for Stable and Efficient Training*, algorithm 1.
    """

    shown = ("loss", "gradient_norm", "constrained")

    def __init__(
        self,
        iterations: int | None = None,
        learning_rate: float | None = None,
        batch_size: int | None = None,
        *,
        preset: str | None = None,
        optimizer: str = "sgd",
        step_size: float = 0.1,
        max_gradient_norm: float = 1.0,
        overlap: bool = True,
        min_scale: float = 0.01,
        clip: float = 1.0,
        start: Any = "he_normal",
        verbose: bool = True,
    ) -> None:
        settings = None if preset is None else gradinit_preset(preset)

        def given(name: str, value: Any, default: Any) -> Any:
            if value is not None:
                return value
            return default if settings is None else getattr(settings, name)

        self.iterations = positive_integer(
            "iterations", given("iterations", iterations, 390)
        )
        self.learning_rate = positive(
            "learning_rate", given("learning_rate", learning_rate, 0.01)
        )
        self.batch_size = positive_integer(
            "batch_size", given("batch_size", batch_size, 128)
        )
        if self.batch_size < 2:
            raise ValueError(
                "`batch_size` must be at least 2, for two halves. "
                f"Received: batch_size={batch_size}"
            )
        if optimizer not in OPTIMIZERS:
            raise ValueError(
                f"`optimizer` must be one of {', '.join(OPTIMIZERS)}. "
                f"Received: optimizer={optimizer!r}"
            )
        self.optimizer = optimizer
        self.step_size = positive("step_size", step_size)
        self.max_gradient_norm = positive("max_gradient_norm", max_gradient_norm)
        self.overlap = bool(overlap)
        self.min_scale = positive("min_scale", min_scale)
        self.clip = positive("clip", clip)
        self.start: AbstractScheme | None = None if start is None else resolved(start)
        self.verbose = bool(verbose)

    def search(
        self, problem: Problem, stream: Stream | None, seed: int
    ) -> AbstractSearch:
        """The search, over all variables that are not zero everywhere."""
        del seed
        assert stream is not None
        scales = Scales(
            problem.model,
            lambda v, _: bool(np.any(keras.ops.convert_to_numpy(v))),
        )
        return _Search(self, scales, problem, stream)


class _Search(AbstractSearch):
    def __init__(
        self, settings: GradInit, scales: Scales, problem: Problem, stream: Stream
    ) -> None:
        super().__init__(scales, settings.iterations)
        self._settings = settings
        self._problem = problem
        self._stream = stream
        self._half = settings.batch_size // 2
        self._programs = _Programs(settings, scales, problem)
        lowest = [0.0 if e.is_bias else settings.min_scale for e in scales.entries]
        self._descent = TwofoldAdam(
            scales.size, settings.learning_rate, settings.clip, scales.each(lowest)
        )

    def step(self) -> Found:
        """Descends on the norm of the gradient, or on the loss after a step."""
        first, second = (self._stream.next(self._half) for _ in range(2))
        batch = self._tensors(joined([first, second]))
        loss, norm, gradient = self._programs.gradient(self.at, *batch)
        constrained = norm > self._settings.max_gradient_norm
        if constrained:
            after = norm
            slopes = self._programs.of_norm(self.at, gradient, norm, *batch)
        else:
            kept = first if self._settings.overlap else self._stream.next(self._half)
            batch = self._tensors(joined([kept, self._stream.next(self._half)]))
            after, slopes = self._programs.after_step(self.at, gradient, norm, *batch)
        numbers = {
            "loss": loss,
            "gradient_norm": norm,
            "constrained": float(constrained),
        }
        # A sum of slopes that is not finite is a trouble of the gradient, too.
        if not np.isfinite(slopes).all():
            numbers["gradient_norm"] = float("nan")
        else:
            self.at = self._descent.step(
                self.at, slopes, "norm" if constrained else "loss"
            )
        return Found((float(constrained), after), numbers)

    def _tensors(self, pair: tuple[Any, Any]) -> tuple[Any, Any]:
        x, y = pair
        problem = self._problem
        x = as_the_model_takes(problem.model, problem.program, x)
        return _sample.tensors(x), _sample.tensors(y)


class _Programs:
    """The three things that are computed, each compiled once."""

    def __init__(self, settings: GradInit, scales: Scales, problem: Problem) -> None:
        self._adam = settings.optimizer == "adam"
        self._step_size = settings.step_size
        self._scales = scales
        model = problem.model
        self._count = len(model.trainable_variables)
        self._loss = stateless_loss(
            model, problem.loss, forward_of(problem.program, batch_statistics=True)
        )

        def compiled(function: Any) -> Any:
            return backend.compiled(function, lambda: all_variables(model))

        self._gradient = compiled(self._compute_gradient)
        self._of_norm = compiled(self._compute_of_norm)
        self._after_step = compiled(self._compute_after_step)

    def gradient(self, at: np.ndarray, x: Any, y: Any) -> tuple[float, float, Any]:
        """The loss, the norm of its gradient, and the gradient."""
        loss, norm, gradient = self._gradient(_tensor(at), x, y)
        return _number(loss), _number(norm), gradient

    def of_norm(
        self, at: np.ndarray, gradient: Any, norm: float, x: Any, y: Any
    ) -> np.ndarray:
        """The slopes of the norm of the gradient."""
        slopes = self._of_norm(_tensor(at), gradient, _tensor(norm), x, y)
        return ops.convert_to_numpy(slopes).astype("float64")

    def after_step(
        self, at: np.ndarray, gradient: Any, norm: float, x: Any, y: Any
    ) -> tuple[float, np.ndarray]:
        """The loss after a step, and the slopes of it over the length of the step."""
        loss, slopes = self._after_step(_tensor(at), gradient, _tensor(norm), x, y)
        return _number(loss), ops.convert_to_numpy(slopes).astype("float64")

    def _directions(self, gradient: list[Any], norm: Any) -> list[Any]:
        """The derivatives of the norm by the gradient: the step goes against them."""
        if self._adam:
            return [ops.sign(each) for each in gradient]
        tiny = ops.maximum(norm, 1e-30)
        return [each / ops.cast(tiny, each.dtype) for each in gradient]

    def _compute_gradient(self, values: list[Any], at: Any, x: Any, y: Any) -> Any:
        points = self._scales.applied(values[: self._count], at)
        loss, _, gradient = self._derived(points, values[self._count :], x, y)
        sizes = [backend.norm(each, wide=False) for each in gradient]
        if self._adam:
            sizes = [ops.cast(ops.sum(ops.abs(g)), "float32") for g in gradient]
            return loss, ops.sum(ops.stack(sizes)), gradient
        return loss, backend.norm(ops.stack(sizes), wide=False), gradient

    def _compute_of_norm(
        self, values: list[Any], at: Any, gradient: Any, norm: Any, x: Any, y: Any
    ) -> Any:
        points = self._scales.applied(values[: self._count], at)
        directions = self._directions(gradient, norm)
        product = backend.hessian_product(self._loss)
        _, products = product(points, directions, values[self._count :], x, y)
        return self._scales.slopes(values[: self._count], products)

    def _compute_after_step(
        self, values: list[Any], at: Any, gradient: Any, norm: Any, x: Any, y: Any
    ) -> Any:
        points = [
            point - self._step_size * direction
            for point, direction in zip(
                self._scales.applied(values[: self._count], at),
                self._directions(gradient, norm),
                strict=True,
            )
        ]
        loss, _, slopes = self._derived(points, values[self._count :], x, y)
        slopes = self._scales.slopes(values[: self._count], slopes)
        return loss, slopes / self._step_size

    def _derived(self, points: list[Any], others: list[Any], x: Any, y: Any) -> Any:
        def value(points: list[Any]) -> Any:
            return self._loss(points, others, x, y), ()

        return backend.gradient(value)(points)


class TwofoldAdam:
    """Adam for two aims by turns: a first moment for each, one second moment for both.

    Args:
        size: How many numbers there are.
        learning_rate: The learning rate.
        clip: The largest magnitude of a derivative.
        lowest: The least value of each number.
    """

    def __init__(
        self, size: int, learning_rate: float, clip: float, lowest: np.ndarray
    ) -> None:
        self._learning_rate = learning_rate
        self._clip = clip
        self._lowest = lowest
        self._first = {"norm": np.zeros(size), "loss": np.zeros(size)}
        self._steps = {"norm": 0, "loss": 0}
        self._second = np.zeros(size)

    def step(self, at: np.ndarray, slopes: np.ndarray, aim: str) -> np.ndarray:
        """The numbers after one step.

        Args:
            at: The numbers.
            slopes: The derivatives of the aim.
            aim: `"norm"` or `"loss"`.
        """
        slopes = np.clip(slopes, -self._clip, self._clip)
        self._steps[aim] += 1
        self._first[aim] = 0.9 * self._first[aim] + 0.1 * slopes
        self._second = 0.999 * self._second + 0.001 * slopes**2
        mean = self._first[aim] / (1 - 0.9 ** self._steps[aim])
        square = self._second / (1 - 0.999 ** sum(self._steps.values()))
        moved = at - self._learning_rate * mean / (np.sqrt(square) + 1e-8)
        return np.maximum(moved, self._lowest)


def _tensor(number: Any) -> Any:
    return ops.convert_to_tensor(np.asarray(number, "float32"))


def _number(tensor: Any) -> float:
    return float(ops.convert_to_numpy(tensor))
