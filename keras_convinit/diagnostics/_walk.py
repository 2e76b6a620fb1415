"""Runs a model layer by layer, and keeps of each output a few numbers."""

import collections
import functools
import math
import re
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_convinit import backend
from keras_convinit._masks import keep_mask
from keras_convinit.diagnostics import _statistics, _weights
from keras_convinit.diagnostics._axes import axis_of_input, axis_of_output
from keras_convinit.diagnostics._kinds import has_activation
from keras_convinit.diagnostics._points import Points
from keras_convinit.diagnostics._step import Step
from keras_convinit.graph import Program, TensorRef, expand, trace
from keras_convinit.graph.composites import Cast, apply_block, enter_stack
from keras_convinit.graph.program import takes_training


class Walk:
    """One run of a program in training mode, in a scope without state.

    Args:
        scope: The scope, which has the values of all variables.
        points: The values that are derived for.
        steps: What a run before this one has found, if there was one.
        handles: One for each step then.
    """

    def __init__(
        self,
        scope: Any,
        points: Points,
        steps: Sequence[Step] = (),
        handles: Sequence[Any] = (),
    ) -> None:
        self.steps: list[Step] = []
        # By the index of the step, and what it is.
        self.numbers: dict[tuple[int, str], Any] = {}
        self._before = steps
        self._scope = scope
        self._points = points
        # In a block, for the id of a variable of the branch: that of the stack.
        self._stacked: dict[int, Any] = {}
        self._handles = handles
        self._block: tuple[Any, int] | None = None
        self._names: collections.Counter[str] = collections.Counter()
        self._programs: dict[int, Program | None] = {}
        # Source and channel axis of a tensor; an id is free again when it is gone.
        self._known: dict[int, tuple[int, int]] = {}
        self._kept: list[Any] = []

    def run(self, program: Program, inputs: Any) -> Any:
        """Runs a whole model, whose inputs are converted already."""
        for index, x in enumerate(keras.tree.flatten(inputs)):
            if _statistics.is_floating(x):
                self._note(x, -1 - index, axis_of_input(program, x))
        return self._run(program, inputs, "")

    def source_of(self, x: Any) -> int:
        """The index of the step that a tensor comes from, or less than 0."""
        return self._known.get(id(x), (-1, -1))[0]

    def _run(self, program: Program, inputs: Any, prefix: str) -> Any:
        sources = {
            value.id: self._known.get(id(x))
            for value, x in zip(
                keras.tree.flatten(program.inputs),
                keras.tree.flatten(inputs),
                strict=True,
            )
        }

        def call(step: Any, *args: Any, **kwargs: Any) -> Any:
            pairs = zip(
                keras.tree.flatten(step.arguments),
                keras.tree.flatten(args),
                strict=True,
            )
            for value, x in pairs:
                # The program may have converted what it was given.
                known = sources.get(value.id) if isinstance(value, TensorRef) else None
                if known is not None:
                    self._note(x, *known)
            return self._apply(f"{prefix}{step.path}", step.layer, args, kwargs)

        return program.run(inputs, call, training=True)

    def _apply(self, path: str, layer: Any, args: Any, kwargs: Any) -> Any:
        outputs = self._opened(path, layer, args, kwargs)
        if outputs is NotImplemented:
            return self._leaf(path, layer, args, kwargs)
        # What is opened is not called, so that Keras does not do this.
        regularizer: Any = getattr(layer, "activity_regularizer", None)
        if regularizer is not None:
            for x in keras.tree.flatten(outputs):
                size = ops.cast(ops.shape(x)[0], x.dtype)
                self._scope.add_loss(regularizer(x) / size)
        return outputs

    def _opened(self, path: str, layer: Any, args: Any, kwargs: Any) -> Any:
        def part(inner: Any, *args: Any, **kwargs: Any) -> Any:
            name = inner.name
            if not isinstance(inner, keras.layers.Layer):
                # The number counts the operations of a session.
                name = re.sub(r"_\d+$", "", name)
            return self._apply(f"{path}/{name}", inner, args, kwargs)

        if not isinstance(layer, keras.Model):
            x = enter_stack(layer, part, *args, **kwargs)
            if x is not NotImplemented:
                return self._stack(path, layer, x)
            return expand(layer, part, *args, **kwargs)
        program = self._program(layer)
        if program is None:
            return NotImplemented
        return self._run(program, args[0], f"{path}/")

    def _program(self, model: Any) -> Program | None:
        # The branch of a stack is run many times.
        if id(model) not in self._programs:
            try:
                self._programs[id(model)] = trace(model)
            except ValueError:
                self._programs[id(model)] = None
        return self._programs[id(model)]

    def _part(self, path: str, inner: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self._apply(f"{path}/{inner.name}", inner, args, kwargs)

    def _stack(self, path: str, stack: Any, x: Any) -> Any:
        for number in range(stack.num_blocks):
            self._block = stack, number
            for pair in stack.stacked_variables:
                whole = pair.variable
                value = self._scope.get_current_value(whole)
                row = self._points.row(whole, number, value)
                self._scope.add_update((pair.template, row))
                self._stacked[id(pair.template)] = whole
            block = f"{path}/{stack.block_path(number)}"
            x = apply_block(stack, functools.partial(self._part, block), x)
        self._block = None
        return x

    def _leaf(self, path: str, layer: Any, args: Any, kwargs: Any) -> Any:
        if takes_training(layer):
            kwargs.setdefault("training", True)
        given = [
            self._known[id(x)]
            for x in keras.tree.flatten((args, kwargs))
            if id(x) in self._known
        ]
        outputs = layer(*args, **kwargs)
        flat = keras.tree.flatten(outputs)
        axis = axis_of_output(layer, given, flat)
        if isinstance(layer, Cast) and given:
            self._note(flat[0], *given[0])
            return outputs
        real = next((i for i, x in enumerate(flat) if _statistics.is_floating(x)), None)
        if real is None:
            return outputs
        index, x = len(self.steps), flat[real]
        if self._before:
            step = self._before[index]
        else:
            sources = [source for source, _ in given]
            step = self._step(path, layer, sources, (args, kwargs), x, axis)
        self.steps.append(step)
        self._measure(index, step, args, ops.stop_gradient(x), axis)
        if self._handles:
            handle = self._handles[index]
            x = keep_mask(x, lambda x: backend.gradient_probe(x, handle, backend.norm))
        flat[real] = x
        for each in flat:
            self._note(each, index, axis)
        return keras.tree.pack_sequence_as(outputs, flat)

    def _step(
        self,
        path: str,
        layer: Any,
        sources: Sequence[int],
        arguments: Any,
        x: Any,
        axis: int,
    ) -> Step:
        self._names[path] += 1
        count = self._names[path]
        given = keras.tree.flatten(arguments)
        # An operation may be given a variable of the layer that it was found in.
        variables = [
            *getattr(layer, "trainable_variables", ()),
            *(x for x in given if isinstance(x, keras.Variable)),
        ]
        points = map(self._point, variables)
        kernels = _weights.kernels(layer)
        return Step(
            path if count == 1 else f"{path}#{count}",
            layer,
            tuple(sources),
            _statistics.channels_of(x.shape, axis),
            _statistics.positions_of(x.shape, axis),
            kernels or (),
            tuple(point for point in points if point is not None),
            self._block,
            kernels is None,
            any(isinstance(x, float) and math.isinf(x) for x in given),
        )

    def _point(self, variable: Any) -> int | None:
        whole = self._stacked.get(id(variable))
        if whole is None or self._block is None:
            return self._points.index(variable)
        _, number = self._block
        index = self._points.index(whole, number)
        return self._points.index(whole) if index is None else index

    def _measure(self, index: int, step: Step, args: Any, x: Any, axis: int) -> None:
        found = {"norm": backend.norm(x)}
        if has_activation(step.layer):
            found["dead"] = _statistics.dead_channels(x, axis)
        if isinstance(step.layer, keras.layers.BatchNormalization):
            entering = ops.stop_gradient(args[0])
            found["varying"] = _statistics.varying_share(entering, axis)
        found.update(_weights.norms(step.layer, step.kernels))
        self.numbers.update({(index, name): value for name, value in found.items()})

    def _note(self, x: Any, source: int, axis: int) -> None:
        self._known[id(x)] = source, axis
        self._kept.append(x)
