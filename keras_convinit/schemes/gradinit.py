"""GradInit: scales after which one step of the optimizer lowers the loss the most."""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_convinit import _data, backend
from keras_convinit._checks import check_positive, check_positive_int, look_up
from keras_convinit._loss import list_variables, make_stateless_loss
from keras_convinit._types import Tensor, Variable
from keras_convinit.schemes._inference import forward_of
from keras_convinit.schemes.base import Scheme, register_scheme
from keras_convinit.schemes.resolve import resolve_scheme
from keras_convinit.schemes.scale_search import (
    BatchSampler,
    ScaleSearch,
    ScaleSearchScheme,
    ScaleVector,
    SearchProblem,
    StepResult,
)


@dataclasses.dataclass(frozen=True)
class GradInitPreset:
    """The settings of the authors of GradInit for one network.

    Args:
        network: The name of the network.
        batch_normalized: Whether it has batch normalization.
        learning_rate: The learning rate of the scales.
        iterations: The number of iterations.
        batch_size: The number of samples of an iteration, in two halves.

    Example:
        >>> from keras_convinit.schemes import gradinit_preset
        >>> gradinit_preset("zhu2021/cifar10/vgg19").iterations
        390
    """

    network: str
    batch_normalized: bool
    learning_rate: float
    iterations: int
    batch_size: int


# Reference: Zhu et al. 2021, section 4 and the scripts of its code. Common to all: the
# form for SGD, step 0.1, largest gradient norm 1, smallest scale 0.01, clipped at 1.
GRADINIT_PRESETS = {
    "zhu2021/cifar10/vgg19_bn": GradInitPreset("vgg19", True, 1e-1, 390, 128),
    "zhu2021/cifar10/vgg19": GradInitPreset("vgg19", False, 1e-2, 390, 128),
    "zhu2021/cifar10/resnet110_bn": GradInitPreset("resnet110", True, 1e-3, 390, 128),
    "zhu2021/cifar10/resnet110": GradInitPreset("resnet110", False, 5e-2, 390, 128),
    "zhu2021/cifar10/densenet100_bn": GradInitPreset(
        "densenet100", True, 1e-2, 780, 64
    ),
    "zhu2021/cifar10/densenet100": GradInitPreset("densenet100", False, 5e-3, 780, 64),
    "zhu2021/cifar10/wrn28_10_bn": GradInitPreset("wrn28_10", True, 3e-3, 780, 64),
}


def gradinit_preset(name: str) -> GradInitPreset:
    """Returns the preset of a name.

    Args:
        name: Such as `"zhu2021/cifar10/vgg19_bn"`.

    Returns:
        The preset.

    Raises:
        ValueError: No preset has the name.

    Example:
        >>> from keras_convinit.schemes import gradinit_preset
        >>> gradinit_preset("zhu2021/cifar10/vgg19_bn").learning_rate
        0.1
    """
    return look_up("preset", name, GRADINIT_PRESETS, "the name of a preset")


OPTIMIZERS = ("sgd", "adam")


@register_scheme("gradinit")
class GradInit(ScaleSearchScheme):
    """GradInit: scales of variables that minimize the loss after one optimizer step.

    Each iteration draws a batch S and looks at the gradient g of its loss with respect
    to all trained variables. Where its norm is above `max_gradient_norm`, the scales
    descend on that norm. Otherwise they descend on the loss of a batch S' after one
    step, L(S'; theta - step_size * g / ||g||) / step_size, where half of S' is from S.
    The step itself is taken for constant. Norms are Euclidean; with
    `optimizer="adam"` they are sums of magnitudes, and the step is step_size * sign(g).

    The scales descend by Adam, with a first moment for each of the two objectives and
    one second moment for both. Batch normalization works with the statistics of the
    batch, and its averages stay as they are; dropout is off. Each block of a stack has
    scales of its own. Variables that are zero, such as most biases, have none.

    Interrupted from the keyboard, or where numbers stop being finite, it ends with the
    best scales so far, a warning and a note in the report.

    Args:
        iterations: The number of iterations. None for the preset's, or 390.
        learning_rate: Learning rate of the scales. None for the preset's, or 0.01.
        batch_size: Samples of S. None for the preset's, or 128; of no account where
            the model has a batch size.
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

    Raises:
        ValueError: A number is not of the kind that is said here, `preset` or
            `optimizer` not one of those there are, or `start` no scheme; `initialize`
            is called without inputs and labels, or with a loss that they have none of
            or that is not finite at the start.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> data = np.random.normal(size=(32, 8)), np.zeros((32, 4))
        >>> scheme = keras_convinit.schemes.GradInit(
        ...     iterations=2, batch_size=8, verbose=False
        ... )
        >>> report = keras_convinit.initialize(model, scheme, data=data, loss="mse")
        >>> len(report.history["loss"])
        2

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

        def given(name: str, value: Tensor, default: Any) -> Any:
            if value is not None:
                return value
            return default if settings is None else getattr(settings, name)

        self.iterations = check_positive_int(
            "iterations", given("iterations", iterations, 390)
        )
        self.learning_rate = check_positive(
            "learning_rate", given("learning_rate", learning_rate, 0.01)
        )
        self.batch_size = check_positive_int(
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
        self.step_size = check_positive("step_size", step_size)
        self.max_gradient_norm = check_positive("max_gradient_norm", max_gradient_norm)
        self.overlap = bool(overlap)
        self.min_scale = check_positive("min_scale", min_scale)
        self.clip = check_positive("clip", clip)
        self.start: Scheme | None = None if start is None else resolve_scheme(start)
        self.verbose = bool(verbose)

    def search(
        self, problem: SearchProblem, sampler: BatchSampler | None, seed: int
    ) -> ScaleSearch:
        """Returns the search over all variables that are not zero everywhere.

        Args:
            problem: The model and its loss.
            sampler: The source of samples.
            seed: Has no effect.
        """
        del seed
        assert sampler is not None

        def chosen(variable: Variable, rank: int) -> bool:
            del rank
            is_kept = id(variable) in problem.kept
            return not is_kept and bool(np.any(keras.ops.convert_to_numpy(variable)))

        scales = ScaleVector(problem.model, chosen)
        return _Search(self, scales, problem, sampler)


class _Search(ScaleSearch):
    def __init__(
        self,
        settings: GradInit,
        scales: ScaleVector,
        problem: SearchProblem,
        sampler: BatchSampler,
    ) -> None:
        super().__init__(scales, settings.iterations)
        self._settings = settings
        self._sampler = sampler
        size = _data.get_batch_size(problem.model) or 2 * (settings.batch_size // 2)
        self._sizes = size // 2, size - size // 2
        self._programs = _Programs(
            scales,
            problem,
            step_size=settings.step_size,
            signs=settings.optimizer == "adam",
        )
        lowest = [0.0 if e.is_bias else settings.min_scale for e in scales.entries]
        self._descent = AlternatingAdam(
            scales.size, settings.learning_rate, settings.clip, scales.repeat(lowest)
        )

    def step(self) -> StepResult:
        """Descends on the norm of the gradient, or on the loss after a step."""
        first, second = map(self._sampler.next, self._sizes)
        batch = _data.concatenate_batches([first, second]).to_tensors()
        loss, norm, gradient = self._programs.gradient(self.at, *batch)
        constrained = norm > self._settings.max_gradient_norm
        if constrained:
            after = norm
            slopes = self._programs.of_norm(self.at, gradient, norm, *batch)
        else:
            if not self._settings.overlap:
                first = self._sampler.next(self._sizes[0])
            second = self._sampler.next(self._sizes[1])
            batch = _data.concatenate_batches([first, second]).to_tensors()
            after, slopes = self._programs.after_step(self.at, gradient, norm, *batch)
        numbers = {
            "loss": loss,
            "gradient_norm": norm,
            "constrained": float(constrained),
        }
        # Slopes that are not finite mean a gradient that is not finite.
        if not np.isfinite(slopes).all():
            numbers["gradient_norm"] = float("nan")
        else:
            self.at = self._descent.step(
                self.at, slopes, "norm" if constrained else "loss"
            )
        return StepResult((float(constrained), after), numbers)


class _Programs:
    """The three programs of the search, each compiled once.

    A batch is of tensors: inputs, labels, and sample weights or None.

    Args:
        scales: The variables that are scaled.
        problem: The model and its loss.
        step_size: Length of the step that is tried.
        signs: Whether a step goes by the signs of the gradient, as Adam's first one
            does, and its norm is the sum of magnitudes.
    """

    def __init__(
        self, scales: ScaleVector, problem: SearchProblem, step_size: float, signs: bool
    ) -> None:
        self._signs = signs
        self._step_size = step_size
        self._scales = scales
        model = problem.model
        self._count = len(model.trainable_variables)
        self._loss = make_stateless_loss(
            model, problem.loss, forward_of(problem.program, batch_statistics=True)
        )

        def compiled(function: Any) -> Any:
            return backend.compile_function(function, lambda: list_variables(model))

        self._gradient = compiled(self._compute_gradient)
        self._of_norm = compiled(self._compute_of_norm)
        self._after_step = compiled(self._compute_after_step)

    def gradient(self, at: np.ndarray, *batch: Any) -> tuple[float, float, Any]:
        """Returns the loss, the norm of its gradient, and the gradient."""
        loss, norm, gradient = self._gradient(_tensor(at), *batch)
        return _number(loss), _number(norm), gradient

    def of_norm(
        self, at: np.ndarray, gradient: Any, norm: float, *batch: Any
    ) -> np.ndarray:
        """Returns the derivatives of the norm of the gradient by the scales."""
        slopes = self._of_norm(_tensor(at), gradient, _tensor(norm), *batch)
        return ops.convert_to_numpy(slopes).astype("float64")

    def after_step(
        self, at: np.ndarray, gradient: Any, norm: float, *batch: Any
    ) -> tuple[float, np.ndarray]:
        """Returns the loss after a step, and its derivatives over the step size."""
        loss, slopes = self._after_step(_tensor(at), gradient, _tensor(norm), *batch)
        return _number(loss), ops.convert_to_numpy(slopes).astype("float64")

    def _directions(self, gradient: list[Any], norm: Any) -> list[Any]:
        """Returns the derivatives of the norm by the gradient."""
        if self._signs:
            return [ops.sign(each) for each in gradient]
        tiny = ops.maximum(norm, 1e-30)
        return [each / ops.cast(tiny, each.dtype) for each in gradient]

    def _compute_gradient(self, values: list[Any], at: Any, *batch: Any) -> Any:
        points = self._scales.apply(values[: self._count], at)
        loss, _, gradient = self._derived(points, values[self._count :], *batch)
        if self._signs:
            sizes = [ops.cast(ops.sum(ops.abs(g)), "float32") for g in gradient]
            return loss, ops.sum(ops.stack(sizes)), gradient
        sizes = [backend.norm(each, wide=False) for each in gradient]
        return loss, backend.norm(ops.stack(sizes), wide=False), gradient

    def _compute_of_norm(
        self, values: list[Any], at: Any, gradient: Any, norm: Any, *batch: Any
    ) -> Any:
        points = self._scales.apply(values[: self._count], at)
        directions = self._directions(gradient, norm)
        product = backend.hessian_vector_product(self._loss)
        _, products = product(points, directions, values[self._count :], *batch)
        return self._scales.derivative(values[: self._count], products)

    def _compute_after_step(
        self, values: list[Any], at: Any, gradient: Any, norm: Any, *batch: Any
    ) -> Any:
        points = [
            point - self._step_size * direction
            for point, direction in zip(
                self._scales.apply(values[: self._count], at),
                self._directions(gradient, norm),
                strict=True,
            )
        ]
        loss, _, slopes = self._derived(points, values[self._count :], *batch)
        slopes = self._scales.derivative(values[: self._count], slopes)
        return loss, slopes / self._step_size

    def _derived(self, points: list[Any], others: list[Any], *batch: Any) -> Any:
        def value(points: list[Any]) -> Any:
            return self._loss(points, others, *batch), ()

        return backend.value_and_gradient(value)(points)


def _tensor(number: Any) -> Any:
    return ops.convert_to_tensor(np.asarray(number, "float32"))


def _number(tensor: Any) -> float:
    return float(ops.convert_to_numpy(tensor))


class AlternatingAdam:
    """Adam for two objectives in turn: a first moment for each, one second moment.

    Args:
        size: The number of parameters.
        learning_rate: The learning rate.
        clip: The largest magnitude of a derivative.
        lowest: The least value of each parameter.
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
        """Returns the parameters after one step.

        Args:
            at: The parameters.
            slopes: The derivatives of the objective.
            aim: The objective, `"norm"` or `"loss"`.
        """
        slopes = np.clip(slopes, -self._clip, self._clip)
        self._steps[aim] += 1
        self._first[aim] = 0.9 * self._first[aim] + 0.1 * slopes
        self._second = 0.999 * self._second + 0.001 * slopes**2
        mean = self._first[aim] / (1 - 0.9 ** self._steps[aim])
        square = self._second / (1 - 0.999 ** sum(self._steps.values()))
        moved = at - self._learning_rate * mean / (np.sqrt(square) + 1e-8)
        return np.maximum(moved, self._lowest)
