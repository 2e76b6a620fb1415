"""One pass forward and back through a model, of which only norms come out."""

import dataclasses
import math
import weakref
from collections.abc import Hashable, Sequence

import keras
import numpy as np
from keras import ops

from keras_convinit import _data, backend
from keras_convinit._loss import (
    Loss,
    LossScope,
    attach_added_losses,
    check_labels,
    check_regularizers,
    compute_loss_of_outputs,
    identify_loss,
    list_variables,
    resolve_loss,
    sums_over_samples,
)
from keras_convinit._types import DataLike, KerasModel, LossLike, Nest, Tensor
from keras_convinit.analysis import (
    BlockBegins,
    Program,
    as_input,
    make_executable,
    trace_opened,
)
from keras_convinit.diagnostics._forward import (
    InstrumentedForward,
    Step,
    TrainableValues,
    count_channels,
    count_positions,
    find_input_axis,
    is_floating,
)


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Numbers of one pass.

    Args:
        steps: Layer calls, in order of execution.
        inputs: Norm of a position of each input of the model; 0 where it holds no real
            numbers.
        signals: Norm of a position of the output of each step.
        errors: Norm of the error signal at the output of each step: over positions and
            channels, as root mean square over samples.
        numbers: By the index of a step and a name, what else is known of it: the number
            of dead channels, and the norms of weights.
        gradients: Norm of the gradient of each of the trainable values.
        loss: The loss; None without labels.
        input_sizes: Channels and positions of each input of the model.
        outputs: Indices of the steps whose outputs are outputs of the model.
        program: Program of the model, with composite layers opened.
    """

    steps: tuple[Step, ...]
    inputs: tuple[float, ...]
    signals: np.ndarray
    errors: np.ndarray
    numbers: dict[tuple[int, str], float]
    gradients: np.ndarray
    loss: float | None
    input_sizes: tuple[tuple[int, int], ...]
    outputs: frozenset[int]
    program: Program


def measure_signals(
    model: KerasModel, x: DataLike, y: DataLike, loss: LossLike, seed: int
) -> Measurement:
    """Sends a batch through a model and an error signal back.

    Args:
        model: As of `signal_report`.
        x: As of `signal_report`.
        y: As of `signal_report`.
        loss: As of `signal_report`.
        seed: As of `signal_report`.

    Returns:
        The numbers of the pass.

    Raises:
        ValueError: As of `signal_report`.
    """
    if not (isinstance(model, keras.Model) and model.built):
        raise ValueError(
            f"`model` must be a built Keras model. Received: model={model!r}"
        )
    with backend.preserve_state(model):
        batch = _data.take_first_batch(model, x, y)
        # Labels of a data set may be there for something else.
        used = y is not None or loss is not None or model.compiled
        x, y = batch.x, batch.y if used else None
        identity: tuple[Hashable, ...] = ()
        if y is not None:
            loss = resolve_loss(model, loss)
            identity = identify_loss(model, loss)
        layers = tuple((id(layer), layer.trainable) for layer in model.layers)
        variables = tuple(id(variable) for variable in model.trainable_variables)
        # Steps are known for one structure of the data and one size.
        kinds = keras.tree.map_structure(
            lambda each: (tuple(each.shape[1:]), str(each.dtype)), x
        )
        probe = backend.cached_by_model(
            model,
            "signals",
            (layers, variables, repr(kinds), *identity),
            lambda: SignalProbe(
                model, trace_opened(model, x, training=True), loss, y is not None
            ),
        )
        return probe(x, y, batch.weights, seed)


@dataclasses.dataclass(frozen=True)
class _TensorSpec:
    shape: tuple[int, ...]
    dtype: str

    @classmethod
    def of(cls, x: Tensor) -> "_TensorSpec":
        return cls(tuple(x.shape), keras.backend.standardize_dtype(x.dtype))

    @property
    def is_floating(self) -> bool:
        return keras.backend.is_float_dtype(self.dtype)

    def zeros(self, limit: int) -> Tensor:
        return ops.zeros((min(limit, self.shape[0]), *self.shape[1:]), self.dtype)


class SignalProbe:
    """A model's pass forward and back, compiled for each shape of the data.

    Args:
        model: The model, which is held weakly.
        program: Program of the model, with composite layers opened.
        loss: As `resolve_loss` returns it; of no use if `supervised` is False.
        supervised: Whether there are labels. If not, a random error signal of norm 1
            enters for each sample, shared between the outputs.
    """

    def __init__(
        self, model: KerasModel, program: Program, loss: Loss, supervised: bool
    ) -> None:
        self._model = weakref.ref(model)
        self._opened = program
        self._program = make_executable(program, blocks=True)
        self._loss = loss
        self._supervised = supervised
        self._num_blocks = {
            id(pair.variable): call.layer.stack.num_blocks
            for call in self._program.calls
            if isinstance(call.layer, BlockBegins)
            for pair in call.layer.stack.stacked_variables
        }
        self._steps: tuple[Step, ...] = ()
        # What a first run finds: specs of the outputs, and names of the numbers.
        self._outputs: Nest = None
        self._ends: frozenset[int] = frozenset()
        self._input_sizes: tuple[tuple[int, int], ...] = ()
        self._names: tuple[tuple[int, str], ...] = ()
        self._compiled = backend.compile_function(
            self._compute, lambda: list_variables(self._get_model()), lazily=True
        )

    def __call__(self, x: Nest, y: Nest, weights: Nest, seed: int) -> Measurement:
        """Measures with the weights of the moment; random states are the caller's.

        Args:
            x: Inputs in the structure of the model's own, as arrays.
            y: Labels; None if not `supervised`.
            weights: Sample weights; None for none.
            seed: Seed of the error signal, and of what the model draws.
        """
        model = self._get_model()
        symbols, given = map(keras.tree.flatten, (self._program.inputs, x))
        shapes, dtypes = self._program.shapes, self._program.dtypes
        inputs = [
            as_input(each, shapes[symbol.id], dtypes[symbol.id])
            for symbol, each in zip(symbols, given, strict=True)
        ]
        if not self._steps:
            values = [ops.convert_to_tensor(v) for v in list_variables(model)]
            # Keras' generator for what has no seed comes about at its first use. Here
            # it is initialized, and as it would be in a training.
            with keras.StatelessScope():
                backend.abstract_trace(self._find_steps, values, inputs)
            if self._supervised:
                self._check(values, inputs, y, weights)
        size = _data.count_samples(x)
        labels: Nest = self._draw_cotangents(size, seed)
        if self._supervised:
            labels = _data.to_tensors(y), _data.to_tensors(weights)
        backend.seed_generators(seed)
        found = self._compiled(inputs, labels)
        return self._summarize(size, {k: _to_array(v) for k, v in found.items()})

    def _summarize(self, size: int, found: dict[str, np.ndarray]) -> Measurement:
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
        summed = self._supervised and sums_over_samples(self._get_model(), self._loss)
        return Measurement(
            self._steps,
            inputs,
            signals,
            found["errors"] * (size**-0.5 if summed else size**0.5),
            numbers,
            found["gradients"],
            float(found["loss"]) if self._supervised else None,
            self._input_sizes,
            self._ends,
            self._opened,
        )

    def _get_model(self) -> KerasModel:
        model = self._model()
        assert model is not None
        return model

    def _run(
        self,
        values: list[Tensor],
        trainable: TrainableValues,
        inputs: list[Tensor],
        probes: Sequence[Tensor] = (),
        labels: Nest = None,
    ) -> tuple[InstrumentedForward, Nest, Tensor | None]:
        """Runs the model forward.

        Returns:
            The run, the outputs of the model, and the loss; None without labels.
        """
        variables = list_variables(self._get_model())
        scope = LossScope(zip(variables, trainable.insert_into(values), strict=True))
        forward = InstrumentedForward(scope, trainable, self._steps, probes)
        with scope:
            outputs = forward.run(self._program, self._pack(inputs))
            loss = None
            if labels is not None:
                for pair in trainable.stack_regularized():
                    scope.add_update(pair)
                loss = self._compute_loss(scope, inputs, labels, outputs)
            return forward, outputs, loss

    def _find_steps(self, values: list[Tensor], inputs: list[Tensor]) -> Nest:
        """Finds out what runs, and the shapes that come out."""
        forward, outputs, _ = self._run(values, self._split(values), inputs)
        self._steps = tuple(forward.steps)
        self._names = tuple(forward.numbers)
        self._outputs = keras.tree.map_structure(_TensorSpec.of, outputs)
        self._ends = frozenset(map(forward.find_source, keras.tree.flatten(outputs)))
        axes = [find_input_axis(self._program, x) for x in inputs]
        self._input_sizes = tuple(
            (count_channels(x.shape, axis), count_positions(x.shape, axis))
            for x, axis in zip(inputs, axes, strict=True)
        )
        return outputs

    def _split(self, values: list[Tensor]) -> TrainableValues:
        trainable = self._get_model().trainable_variables
        return TrainableValues(trainable, self._num_blocks, values)

    def _check(
        self, values: list[Tensor], inputs: list[Tensor], y: Nest, weights: Nest
    ) -> None:
        if self._loss is None:
            check_regularizers(self._get_model())
        few = self._pack([each[:2] for each in inputs])
        # Losses of several outputs make metrics at the first call, which need values.
        pairs = zip(list_variables(self._get_model()), values, strict=True)
        with keras.StatelessScope(list(pairs)):
            check_labels(
                self._get_model(),
                self._loss,
                few,
                y,
                keras.tree.map_structure(lambda spec: spec.zeros(2), self._outputs),
                weights,
            )

    def _pack(self, inputs: list[Tensor]) -> Nest:
        return keras.tree.pack_sequence_as(self._program.inputs, inputs)

    def _draw_cotangents(self, size: int, seed: int) -> list[Tensor]:
        """Draws an error signal of norm 1 for each sample, as one for each output."""
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

    def _compute(
        self, values: list[Tensor], inputs: list[Tensor], labels: Nest
    ) -> dict[str, Tensor]:
        trainable = self._split(values)
        count = len(self._steps)

        def run(points: list[Tensor]) -> tuple[Tensor | None, Tensor]:
            moved = trainable.replace(points[count:])
            forward, _, loss = self._run(values, moved, inputs, points[:count], labels)
            return loss, ops.stack(list(forward.numbers.values()))

        probes = [ops.zeros((), "float32") for _ in range(count)]
        points = [*probes, *trainable.values]
        loss, numbers, gradients = backend.value_and_gradient(run)(points)
        # The first is none: a model may have nothing that can be trained.
        norms = [ops.zeros((), "float32"), *map(backend.norm, gradients[count:])]
        return {
            "inputs": ops.stack([_compute_input_norm(x) for x in inputs]),
            "numbers": numbers,
            "errors": ops.stack(gradients[:count]),
            "gradients": ops.stack(norms)[1:],
            "loss": loss,
        }

    def _compute_loss(
        self, scope: LossScope, inputs: list[Tensor], labels: Nest, outputs: Nest
    ) -> Tensor:
        if self._supervised:
            model, x = self._get_model(), self._pack(inputs)
            attach_added_losses(model, scope)
            return compute_loss_of_outputs(
                model, self._loss, x, labels[0], outputs, labels[1], training=True
            )
        real = [x for x in keras.tree.flatten(outputs) if is_floating(x)]
        terms = [
            ops.sum(ops.cast(x * label, "float32"))
            for x, label in zip(real, labels, strict=True)
        ]
        return sum(terms[1:], terms[0]) / inputs[0].shape[0]


def _to_array(values: Tensor) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(values), np.float64)


def _compute_input_norm(x: Tensor) -> Tensor:
    return backend.norm(x) if is_floating(x) else ops.zeros((), "float32")
