"""One pass forward and back, of which numbers come out and nothing else."""

import dataclasses
import weakref
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_convinit import backend
from keras_convinit.diagnostics import _sample, _statistics
from keras_convinit.diagnostics._loss import check_labels, is_sum, loss_of_outputs
from keras_convinit.diagnostics._walk import Step, Walk, axis_of_input
from keras_convinit.graph import Trace
from keras_convinit.graph.program import as_input
from keras_convinit.layers import ScaledResidualStack


@dataclasses.dataclass(frozen=True)
class Measurement:
    """The numbers of one pass, in float64.

    Args:
        steps: What ran, in order.
        inputs: What `of_signal` gives for each input of the model; zeros where it
            holds no real numbers.
        signals: What `of_signal` gives for the output of each step.
        errors: The norm of the error signal at the output of each step: over positions
            and channels, and the root mean square of that over samples.
        weights: What `_weights.norms` gives for each step.
        gradients: The norm of the gradient of each of the values that can be trained.
        loss: The loss, or what has been derived in place of one.
        input_sizes: Channels and positions of each input of the model.
        outputs: The steps whose outputs are outputs of the model.
    """

    steps: tuple[Step, ...]
    inputs: np.ndarray
    signals: np.ndarray
    errors: np.ndarray
    weights: np.ndarray
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
        loss: What `check_loss` gives; nothing if `supervised` is False.
        supervised: Whether there are labels. If not, a random error signal of norm 1
            enters for each sample, shared between the outputs.
    """

    def __init__(
        self, model: keras.Model, program: Trace, loss: Any, supervised: bool
    ) -> None:
        self._model = weakref.ref(model)
        self._program = program
        self._loss = loss
        self._supervised = supervised
        self._stacks = [
            call.layer
            for call in program.calls
            if isinstance(call.layer, ScaledResidualStack)
        ]
        self._rows = {
            id(variable): stack.num_blocks
            for stack in self._stacks
            for variable in stack.weights
        }
        self._steps: tuple[Step, ...] = ()
        self._outputs: Any = None
        self._ends: frozenset[int] = frozenset()
        self._input_sizes: tuple[tuple[int, int], ...] = ()
        self._compiled = backend.compiled(self._measure)

    def __call__(self, x: Any, y: Any, seed: int) -> Measurement:
        """Measures, with the weights of the moment."""
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
        trainable, other = (
            [ops.convert_to_tensor(variable) for variable in variables]
            for variables in (model.trainable_variables, model.non_trainable_variables)
        )
        if not self._steps:
            backend.outline(self._look, trainable, other, inputs)
            if self._supervised:
                self._check(trainable, other, inputs, y)
        size = _sample.size_of(x)
        labels = (
            _sample.tensors(y) if self._supervised else self._cotangents(size, seed)
        )
        found = self._compiled(trainable, other, inputs, labels)
        numbers = {
            name: np.asarray(ops.convert_to_numpy(value), np.float64)
            for name, value in found.items()
        }
        loss = model.loss if self._loss is None and model.compiled else self._loss
        # The loss is a mean over samples, so what a sample gives is divided by them.
        summed = self._supervised and is_sum(loss)
        factor = size**-0.5 if summed else size**0.5
        return Measurement(
            self._steps,
            numbers["inputs"],
            numbers["signals"],
            factor * numbers["errors"],
            numbers["weights"],
            numbers["gradients"],
            float(numbers["loss"]),
            self._input_sizes,
            self._ends,
        )

    def _alive(self) -> keras.Model:
        model = self._model()
        assert model is not None
        return model

    def _scope(self, trainable: list[Any], other: list[Any]) -> Any:
        model = self._alive()
        variables = [*model.trainable_variables, *model.non_trainable_variables]
        # In a trace nothing may be made for later, such as the metrics of a loss.
        return keras.StatelessScope(
            list(zip(variables, [*trainable, *other], strict=True)),
            initialize_variables=False,
        )

    def _look(self, trainable: list[Any], other: list[Any], inputs: list[Any]) -> Any:
        """Finds out what runs, and the shapes that come out."""
        points, values = self._points(trainable)
        scope = self._scope(trainable, other)
        walk = Walk(scope, points, self._blocks(values, points, other))
        with scope:
            outputs = walk.run(self._program, self._structured(inputs))
        self._steps = tuple(walk.steps)
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

    def _check(
        self, trainable: list[Any], other: list[Any], inputs: list[Any], y: Any
    ) -> None:
        few = self._structured([each[:2] for each in inputs])
        with self._scope(trainable, other):
            check_labels(
                self._alive(),
                self._loss,
                few,
                y,
                keras.tree.map_structure(lambda spec: spec.zeros(2), self._outputs),
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

    def _points(self, trainable: list[Any]) -> tuple[dict[Any, int], list[Any]]:
        """Where the values to derive for are, and the values: of stacks the rows."""
        points: dict[Any, int] = {}
        values: list[Any] = []
        for variable, value in zip(
            self._alive().trainable_variables, trainable, strict=True
        ):
            blocks = self._rows.get(id(variable))
            if blocks is None:
                points[id(variable)] = len(values)
                values.append(value)
                continue
            for number, row in enumerate(ops.unstack(value, blocks, axis=0)):
                points[id(variable), number] = len(values)
                values.append(row)
        return points, values

    def _blocks(
        self, values: list[Any], points: dict[Any, int], other: list[Any]
    ) -> dict[int, Any]:
        """The rows of the variables of stacks."""
        fixed = {
            id(variable): value
            for variable, value in zip(
                self._alive().non_trainable_variables, other, strict=True
            )
        }
        return {
            key: (
                ops.unstack(fixed[key], blocks, axis=0)
                if key in fixed
                else [values[points[key, number]] for number in range(blocks)]
            )
            for key, blocks in self._rows.items()
        }

    def _measure(
        self, trainable: list[Any], other: list[Any], inputs: list[Any], labels: Any
    ) -> dict[str, Any]:
        points, values = self._points(trainable)
        count = len(self._steps)

        def run(given: list[Any]) -> Any:
            handles, values = given[:count], given[count:]
            current = [
                old
                if points.get(id(variable)) is None
                else values[points[id(variable)]]
                for variable, old in zip(
                    self._alive().trainable_variables, trainable, strict=True
                )
            ]
            scope = self._scope(current, other)
            walk = Walk(scope, points, self._blocks(values, points, other), handles)
            with scope:
                outputs = walk.run(self._program, self._structured(inputs))
            value = self._value(trainable, other, inputs, labels, outputs)
            return value, (ops.stack(walk.signals), ops.stack(walk.weights))

        handles = [ops.zeros((), "float32") for _ in range(count)]
        value, (signals, weights), gradients = backend.gradient(run)(
            [*handles, *values]
        )
        return {
            "inputs": ops.stack([self._of_input(x) for x in inputs]),
            "signals": signals,
            "weights": weights,
            "errors": ops.stack(gradients[:count]),
            # The first is no gradient: a model may have none.
            "gradients": ops.stack(
                [
                    ops.zeros((), "float32"),
                    *map(_statistics.euclidean_norm, gradients[count:]),
                ]
            )[1:],
            "loss": value,
        }

    def _value(
        self,
        trainable: list[Any],
        other: list[Any],
        inputs: Any,
        labels: Any,
        outputs: Any,
    ) -> Any:
        if self._supervised:
            # With the weights as they are: regularizers are no part of the signal.
            with self._scope(trainable, other):
                x = self._structured(inputs)
                return loss_of_outputs(self._alive(), self._loss, x, labels, outputs)
        real = [x for x in keras.tree.flatten(outputs) if _statistics.is_floating(x)]
        size = keras.tree.flatten(inputs)[0].shape[0]
        terms = [
            ops.sum(ops.cast(x * label, "float32"))
            for x, label in zip(real, labels, strict=True)
        ]
        return sum(terms[1:], terms[0]) / size

    def _of_input(self, x: Any) -> Any:
        if not _statistics.is_floating(x):
            return ops.zeros((3,), "float32")
        return _statistics.of_signal(x, axis_of_input(self._program, x))
