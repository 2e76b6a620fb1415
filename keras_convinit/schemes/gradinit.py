"""Scales after which one step of the optimizer lowers the loss the most."""

from typing import Any

import keras
import numpy as np

from keras_convinit import _data
from keras_convinit._checks import positive, positive_integer
from keras_convinit.schemes._gradinit_programs import Programs
from keras_convinit.schemes._named import named, resolved
from keras_convinit.schemes._scales import Scales
from keras_convinit.schemes._scheme import AbstractScheme
from keras_convinit.schemes._search import (
    AbstractScaling,
    AbstractSearch,
    Found,
    Problem,
)
from keras_convinit.schemes._stream import Stream
from keras_convinit.schemes._twofold_adam import TwofoldAdam
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

        def chosen(variable: Any, rank: int) -> bool:
            del rank
            is_kept = id(variable) in problem.stay
            return not is_kept and bool(np.any(keras.ops.convert_to_numpy(variable)))

        scales = Scales(problem.model, chosen)
        return _Search(self, scales, problem, stream)


class _Search(AbstractSearch):
    def __init__(
        self, settings: GradInit, scales: Scales, problem: Problem, stream: Stream
    ) -> None:
        super().__init__(scales, settings.iterations)
        self._settings = settings
        self._stream = stream
        size = _data.get_batch_size(problem.model) or 2 * (settings.batch_size // 2)
        self._sizes = size // 2, size - size // 2
        self._programs = Programs(
            scales,
            problem,
            step_size=settings.step_size,
            signs=settings.optimizer == "adam",
        )
        lowest = [0.0 if e.is_bias else settings.min_scale for e in scales.entries]
        self._descent = TwofoldAdam(
            scales.size, settings.learning_rate, settings.clip, scales.each(lowest)
        )

    def step(self) -> Found:
        """Descends on the norm of the gradient, or on the loss after a step."""
        first, second = map(self._stream.next, self._sizes)
        batch = _data.concatenate_batches([first, second]).to_tensors()
        loss, norm, gradient = self._programs.gradient(self.at, *batch)
        constrained = norm > self._settings.max_gradient_norm
        if constrained:
            after = norm
            slopes = self._programs.of_norm(self.at, gradient, norm, *batch)
        else:
            if not self._settings.overlap:
                first = self._stream.next(self._sizes[0])
            second = self._stream.next(self._sizes[1])
            batch = _data.concatenate_batches([first, second]).to_tensors()
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
