"""One pass forward and back, of which numbers come out and nothing else."""

import dataclasses
import math
import weakref
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_convinit import _data, backend
from keras_convinit._loss import (
    LossScope,
    attach_added_losses,
    check_labels,
    check_regularizers,
    compute_loss_of_outputs,
    list_variables,
    sums_over_samples,
)
from keras_convinit.diagnostics import _statistics
from keras_convinit.diagnostics._axes import axis_of_input
from keras_convinit.diagnostics._points import Points
from keras_convinit.diagnostics._step import Step
from keras_convinit.diagnostics._walk import Walk
from keras_convinit.graph import Program
from keras_convinit.graph.program import as_input
from keras_convinit.layers import stacked_variables_of


@dataclasses.dataclass(frozen=True)
class Measurement:
    """The numbers of one pass.

    Args:
        steps: What ran, in order.
        inputs: The norm of a position of each input of the model; 0 where it holds no
            real numbers.
        signals: The norm of a position of the output of each step.
        errors: The norm of the error signal at the output of each step: over positions
            and channels, and the root mean square of that over samples.
        numbers: By the index of a step and a name what else is known of it: the number
            of dead channels, and the norms of weights.
        gradients: The norm of the gradient of each of the values that can be trained.
        loss: The loss, or what has been derived in place of one.
        input_sizes: Channels and positions of each input of the model.
        outputs: The steps whose outputs are outputs of the model.
    """

    steps: tuple[Step, ...]
    inputs: tuple[float, ...]
    signals: np.ndarray
    errors: np.ndarray
    numbers: dict[tuple[int, str], float]
    gradients: np.ndarray
    loss: float
    input_sizes: tuple[tuple[int, int], ...]
    outputs: frozenset[int]


@dataclasses.dataclass(frozen=True)
class _Spec:
    shape: tuple[int, ...]
    dtype: str

    @classmethod
    def of(cls, x: Any) -> "_Spec":
        return cls(tuple(x.shape), keras.backend.standardize_dtype(x.dtype))

    @property
    def is_floating(self) -> bool:
        return keras.backend.is_float_dtype(self.dtype)

    def zeros(self, most: int) -> Any:
        return ops.zeros((min(most, self.shape[0]), *self.shape[1:]), self.dtype)


class Measurer:
    """Measures a model; compiled at the first time, for each shape of data.

    Args:
        model: The model, which is held weakly.
        program: What it does.
        loss: What `resolve_loss` gives; nothing if `supervised` is False.
        supervised: Whether there are labels. If not, a random error signal of norm 1
            enters for each sample, shared between the outputs.
    """

    def __init__(
        self, model: keras.Model, program: Program, loss: Any, supervised: bool
    ) -> None:
        self._model = weakref.ref(model)
        self._program = program
        self._loss = loss
        self._supervised = supervised
        self._stacks = [
            call.layer for call in program.calls if stacked_variables_of(call.layer)
        ]
        self._steps: tuple[Step, ...] = ()
        self._outputs: Any = None
        self._ends: frozenset[int] = frozenset()
        self._input_sizes: tuple[tuple[int, int], ...] = ()
        self._names: tuple[tuple[int, str], ...] = ()
        self._compiled = backend.compile_function(
            self._measure, lambda: list_variables(self._alive()), lazily=True
        )

    def __call__(self, x: Any, y: Any, weights: Any, seed: int) -> Measurement:
        """Measures, with the weights of the moment, where nothing is disturbed."""
        model = self._alive()
        inputs = [
            as_input(
                each, self._program.shapes[value.id], self._program.dtypes[value.id]
            )
            for value, each in zip(
                keras.tree.flatten(self._program.inputs),
                keras.tree.flatten(x),
                strict=True,
            )
        ]
        if not self._steps:
            values = [ops.convert_to_tensor(v) for v in list_variables(model)]
            # Keras' generator for what has no seed comes about at its first use. Here
            # it is initialized, and as it would be in a training.
            with keras.StatelessScope():
                backend.abstract_trace(self._look, values, inputs)
            if self._supervised:
                self._check(values, inputs, y, weights)
        size = _data.count_samples(x)
        labels: Any = self._cotangents(size, seed)
        if self._supervised:
            labels = _data.to_tensors(y), _data.to_tensors(weights)
        backend.seed_generators(seed)
        found = self._compiled(inputs, labels)
        return self._measurement(size, {k: _array(v) for k, v in found.items()})

    def _measurement(self, size: int, found: dict[str, np.ndarray]) -> Measurement:
        numbers = dict(zip(self._names, found["numbers"].tolist(), strict=True))
        # Norms over all positions of the batch have come.
        signals = np.array(
            [
                numbers[index, "norm"] / math.sqrt(size * step.positions)
                for index, step in enumerate(self._steps)
            ]
        )
        inputs = tuple(
            float(norm) / math.sqrt(size * positions)
            for norm, (_, positions) in zip(
                found["inputs"], self._input_sizes, strict=True
            )
        )
        # The loss is a mean over samples, so what a sample gives is divided by them.
        summed = self._supervised and sums_over_samples(self._alive(), self._loss)
        errors = found["errors"] * (size**-0.5 if summed else size**0.5)
        return Measurement(
            self._steps,
            inputs,
            signals,
            errors,
            numbers,
            found["gradients"],
            float(found["loss"]),
            self._input_sizes,
            self._ends,
        )

    def _alive(self) -> keras.Model:
        model = self._model()
        assert model is not None
        return model

    def _scope(self, values: list[Any]) -> LossScope:
        return LossScope(zip(list_variables(self._alive()), values, strict=True))

    def _walk(
        self,
        values: list[Any],
        points: Points,
        inputs: list[Any],
        handles: Sequence[Any] = (),
        labels: Any = None,
    ) -> tuple[Walk, Any, Any]:
        scope = self._scope(points.whole(values))
        walk = Walk(scope, points, self._steps, handles)
        with scope:
            outputs = walk.run(self._program, self._structured(inputs))
            value = None
            if labels is not None:
                for whole, rows in points.stacks():
                    scope.add_update((whole, ops.stack(rows)))
                value = self._value(scope, inputs, labels, outputs)
            return walk, outputs, value

    def _look(self, values: list[Any], inputs: list[Any]) -> Any:
        """Finds out what runs, and the shapes that come out."""
        walk, outputs, _ = self._walk(values, self._points(values), inputs)
        self._steps = tuple(walk.steps)
        self._names = tuple(walk.numbers)
        self._outputs = keras.tree.map_structure(_Spec.of, outputs)
        self._ends = frozenset(map(walk.source_of, keras.tree.flatten(outputs)))
        axes = [axis_of_input(self._program, x) for x in inputs]
        self._input_sizes = tuple(
            (
                _statistics.channels_of(x.shape, axis),
                _statistics.positions_of(x.shape, axis),
            )
            for x, axis in zip(inputs, axes, strict=True)
        )
        return outputs

    def _points(self, values: list[Any]) -> Points:
        return Points(self._alive().trainable_variables, self._stacks, values)

    def _check(
        self, values: list[Any], inputs: list[Any], y: Any, weights: Any
    ) -> None:
        if self._loss is None:
            check_regularizers(self._alive())
        few = self._structured([each[:2] for each in inputs])
        # Losses of several outputs make metrics at the first call, which need values.
        pairs = zip(list_variables(self._alive()), values, strict=True)
        with keras.StatelessScope(list(pairs)):
            check_labels(
                self._alive(),
                self._loss,
                few,
                y,
                keras.tree.map_structure(lambda spec: spec.zeros(2), self._outputs),
                weights,
            )

    def _structured(self, inputs: list[Any]) -> Any:
        return keras.tree.pack_sequence_as(self._program.inputs, inputs)

    def _cotangents(self, size: int, seed: int) -> list[Any]:
        generator = np.random.default_rng(seed)
        specs = [spec for spec in keras.tree.flatten(self._outputs) if spec.is_floating]
        drawn = [generator.standard_normal((size, *spec.shape[1:])) for spec in specs]
        squares = sum(
            np.square(values.reshape(size, -1)).sum(axis=1) for values in drawn
        )
        return [
            ops.convert_to_tensor(
                (values.T / np.sqrt(squares)).T.astype("float32"), dtype=spec.dtype
            )
            for values, spec in zip(drawn, specs, strict=True)
        ]

    def _measure(
        self, values: list[Any], inputs: list[Any], labels: Any
    ) -> dict[str, Any]:
        points = self._points(values)
        count = len(self._steps)

        def run(given: list[Any]) -> Any:
            moved = points.at(given[count:])
            walk, _, value = self._walk(values, moved, inputs, given[:count], labels)
            return value, ops.stack(list(walk.numbers.values()))

        handles = [ops.zeros((), "float32") for _ in range(count)]
        value, numbers, gradients = backend.value_and_gradient(run)(
            [*handles, *points.values]
        )
        return {
            "inputs": ops.stack([_norm_of_input(x) for x in inputs]),
            "numbers": numbers,
            "errors": ops.stack(gradients[:count]),
            # The first is none: a model may have nothing that can be trained.
            "gradients": ops.stack(
                [ops.zeros((), "float32"), *map(backend.norm, gradients[count:])]
            )[1:],
            "loss": value,
        }

    def _value(self, scope: Any, inputs: list[Any], labels: Any, outputs: Any) -> Any:
        if self._supervised:
            model, x = self._alive(), self._structured(inputs)
            attach_added_losses(model, scope)
            return compute_loss_of_outputs(
                model, self._loss, x, labels[0], outputs, labels[1], training=True
            )
        real = [x for x in keras.tree.flatten(outputs) if _statistics.is_floating(x)]
        terms = [
            ops.sum(ops.cast(x * label, "float32"))
            for x, label in zip(real, labels, strict=True)
        ]
        return sum(terms[1:], terms[0]) / inputs[0].shape[0]


def _array(values: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(values), np.float64)


def _norm_of_input(x: Any) -> Any:
    if not _statistics.is_floating(x):
        return ops.zeros((), "float32")
    return backend.norm(x)
