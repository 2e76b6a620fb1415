"""What GradInit computes: a gradient, the slopes of its norm, those of a step."""

from typing import Any

import numpy as np
from keras import ops

from keras_convinit import backend
from keras_convinit._loss import list_variables, make_stateless_loss
from keras_convinit.schemes._inference import forward_of
from keras_convinit.schemes._scales import Scales
from keras_convinit.schemes._search import Problem


class Programs:
    """The three things that are computed, each compiled once.

    A batch is of tensors: inputs, labels, and sample weights or None.

    Args:
        scales: What is scaled.
        problem: The model and its loss.
        step_size: Length of the step that is tried.
        signs: Whether a step goes by the signs of the gradient, as Adam's first one
            does, and its norm is the sum of magnitudes.
    """

    def __init__(
        self, scales: Scales, problem: Problem, step_size: float, signs: bool
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
        """The loss, the norm of its gradient, and the gradient."""
        loss, norm, gradient = self._gradient(_tensor(at), *batch)
        return _number(loss), _number(norm), gradient

    def of_norm(
        self, at: np.ndarray, gradient: Any, norm: float, *batch: Any
    ) -> np.ndarray:
        """The slopes of the norm of the gradient."""
        slopes = self._of_norm(_tensor(at), gradient, _tensor(norm), *batch)
        return ops.convert_to_numpy(slopes).astype("float64")

    def after_step(
        self, at: np.ndarray, gradient: Any, norm: float, *batch: Any
    ) -> tuple[float, np.ndarray]:
        """The loss after a step, and the slopes of it over the length of the step."""
        loss, slopes = self._after_step(_tensor(at), gradient, _tensor(norm), *batch)
        return _number(loss), ops.convert_to_numpy(slopes).astype("float64")

    def _directions(self, gradient: list[Any], norm: Any) -> list[Any]:
        """The derivatives of the norm by the gradient: the step goes against them."""
        if self._signs:
            return [ops.sign(each) for each in gradient]
        tiny = ops.maximum(norm, 1e-30)
        return [each / ops.cast(tiny, each.dtype) for each in gradient]

    def _compute_gradient(self, values: list[Any], at: Any, *batch: Any) -> Any:
        points = self._scales.applied(values[: self._count], at)
        loss, _, gradient = self._derived(points, values[self._count :], *batch)
        if self._signs:
            sizes = [ops.cast(ops.sum(ops.abs(g)), "float32") for g in gradient]
            return loss, ops.sum(ops.stack(sizes)), gradient
        sizes = [backend.norm(each, wide=False) for each in gradient]
        return loss, backend.norm(ops.stack(sizes), wide=False), gradient

    def _compute_of_norm(
        self, values: list[Any], at: Any, gradient: Any, norm: Any, *batch: Any
    ) -> Any:
        points = self._scales.applied(values[: self._count], at)
        directions = self._directions(gradient, norm)
        product = backend.hessian_vector_product(self._loss)
        _, products = product(points, directions, values[self._count :], *batch)
        return self._scales.slopes(values[: self._count], products)

    def _compute_after_step(
        self, values: list[Any], at: Any, gradient: Any, norm: Any, *batch: Any
    ) -> Any:
        points = [
            point - self._step_size * direction
            for point, direction in zip(
                self._scales.applied(values[: self._count], at),
                self._directions(gradient, norm),
                strict=True,
            )
        ]
        loss, _, slopes = self._derived(points, values[self._count :], *batch)
        slopes = self._scales.slopes(values[: self._count], slopes)
        return loss, slopes / self._step_size

    def _derived(self, points: list[Any], others: list[Any], *batch: Any) -> Any:
        def value(points: list[Any]) -> Any:
            return self._loss(points, others, *batch), ()

        return backend.value_and_gradient(value)(points)


def _tensor(number: Any) -> Any:
    return ops.convert_to_tensor(np.asarray(number, "float32"))


def _number(tensor: Any) -> float:
    return float(ops.convert_to_numpy(tensor))
