"""A forward pass in training mode that notes a few numbers at each layer call."""

import dataclasses
import functools
import math
import operator
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

from keras_convinit import backend
from keras_convinit._loss import LossScope
from keras_convinit._masks import keep_mask
from keras_convinit._types import KerasLayer, Nest, Tensor, Variable
from keras_convinit.analysis import (
    BlockBegins,
    BlockEnds,
    Cast,
    LayerCall,
    Program,
    RegularizedOutputs,
    TensorRef,
    canonical_activation,
    find_kernels,
    fused_activation,
    is_activation,
)
from keras_convinit.kernels import Kernel


@dataclasses.dataclass(frozen=True)
class Step:
    """Static description of one layer call.

    Args:
        path: Path of the layer with those of the models around it; no other step has
            it.
        layer: The layer or operation.
        sources: Indices of the steps whose outputs enter; -1, -2 and so on for the
            inputs of the model.
        channels: Channels of the output.
        positions: Positions of the output in one sample.
        kernels: Kernels of the layer.
        owners: For each kernel the variable of the model that holds it, and at which
            index: of a stack's variable the number of the block.
        trainable: Indices of the layer's variables among the `TrainableValues`.
        has_unknown_kernels: Whether it has matrices of weights that `kernels_of` does
            not know.
        given_infinity: Whether an argument is an infinite number, as for padding
            before a maximum.
    """

    path: str
    layer: KerasLayer
    sources: tuple[int, ...]
    channels: int
    positions: int
    kernels: tuple[Kernel, ...]
    owners: tuple[tuple[Variable, tuple[int, ...]], ...]
    trainable: tuple[int, ...]
    has_unknown_kernels: bool = False
    given_infinity: bool = False


class TrainableValues:
    """Values of trainable variables, those of a stack one for each block.

    Args:
        variables: Trainable variables of a model.
        num_blocks: Number of blocks by the id of a variable of a stack.
        values: Values of the model's variables, the trainable ones first.
    """

    def __init__(
        self,
        variables: Sequence[Variable],
        num_blocks: dict[int, int],
        values: Sequence[Tensor],
    ) -> None:
        self._variables = list(variables)
        self._num_blocks = num_blocks
        self.values: list[Tensor] = []
        self._indices: dict[tuple[int, tuple[int, ...]], int] = {}
        for variable, value in zip(variables, values, strict=False):
            blocks = num_blocks.get(id(variable))
            if blocks is None:
                self._indices[id(variable), ()] = len(self.values)
                self.values.append(value)
                continue
            for number, row in enumerate(ops.unstack(value, blocks, axis=0)):
                self._indices[id(variable), (number,)] = len(self.values)
                self.values.append(row)

    def replace(self, values: Sequence[Tensor]) -> "TrainableValues":
        """Returns a copy with other values."""
        other = object.__new__(TrainableValues)
        other.__dict__.update(self.__dict__, values=list(values))
        return other

    def get_index(self, variable: Variable, block: tuple[int, ...] = ()) -> int | None:
        """Returns the index of a variable's value, or of its row for a block."""
        return self._indices.get((id(variable), block))

    def get_row(self, variable: Variable, number: int, whole: Tensor) -> Tensor:
        """Returns the row of a stack's variable; of `whole` if it is not trained."""
        index = self.get_index(variable, (number,))
        return whole[number] if index is None else self.values[index]

    def stack_regularized(self) -> Iterator[tuple[Variable, Tensor]]:
        """Yields the regularized variables of stacks with their rows stacked."""
        for variable in self._variables:
            blocks = self._num_blocks.get(id(variable))
            if blocks is not None and variable.regularizer is not None:
                indices = (self._indices[id(variable), (n,)] for n in range(blocks))
                yield variable, ops.stack([self.values[index] for index in indices])

    def insert_into(self, values: Sequence[Tensor]) -> list[Tensor]:
        """Returns the values of all variables, with these in their places."""
        inserted = list(values)
        for place, variable in enumerate(self._variables):
            index = self.get_index(variable)
            if index is not None:
                inserted[place] = self.values[index]
        return inserted


class InstrumentedForward:
    """One run of a program in training mode, with a probe at the output of each layer.

    Args:
        scope: Scope without state that has the values of all variables.
        values: Values of the trainable variables.
        steps: Steps that an earlier run has found; none in the first one.
        probes: For each of these steps a scalar whose gradient becomes the norm of the
            error signal at its output; none for a run without gradients.
    """

    def __init__(
        self,
        scope: LossScope,
        values: TrainableValues,
        steps: Sequence[Step] = (),
        probes: Sequence[Tensor] = (),
    ) -> None:
        self.steps: list[Step] = []
        # By the index of a step and a name, such as "norm".
        self.numbers: dict[tuple[int, str], Tensor] = {}
        self._scope = scope
        self._values = values
        self._earlier = steps
        self._probes = probes
        # The blocks of stacks that are being run, outermost first.
        self._blocks: list[BlockBegins] = []
        # For a variable of a stack's branch: that of the stack, and the block.
        self._owners: dict[int, tuple[Variable, int]] = {}
        # Source and channel axis of the inputs, by their numbers in the program.
        self._inputs: dict[int, tuple[int, int]] = {}
        # The same of tensors, by ids, which are free again when their owners are gone.
        self._known: dict[int, tuple[int, int]] = {}
        self._held: list[Tensor] = []

    def run(self, program: Program, inputs: Nest) -> Nest:
        """Runs a model.

        Args:
            program: The program of the model, with stacks block by block.
            inputs: Tensors in the structure of the program's inputs, as it takes them.

        Returns:
            The outputs of the model, in their structure.
        """
        symbols, given = map(keras.tree.flatten, (program.inputs, inputs))
        for index, (symbol, x) in enumerate(zip(symbols, given, strict=True)):
            if is_floating(x):
                self._inputs[symbol.id] = -1 - index, find_input_axis(program, x)
                self._note(x, *self._inputs[symbol.id])
        return program.run(inputs, self._call, training=True)

    def find_source(self, x: Tensor) -> int:
        """Returns the index of the step that a tensor comes from, or a negative one."""
        return self._known.get(id(x), (-1, -1))[0]

    def _call(self, call: LayerCall, *args: Any, **kwargs: Any) -> Any:
        layer = call.layer
        symbols, given = map(keras.tree.flatten, (call.arguments, args))
        for symbol, x in zip(symbols, given, strict=True):
            # The program may have converted what it was given.
            if isinstance(symbol, TensorRef) and symbol.id in self._inputs:
                self._note(x, *self._inputs[symbol.id])
        entering = [
            self._known[id(x)]
            for x in keras.tree.flatten((args, kwargs))
            if id(x) in self._known
        ]
        if isinstance(layer, RegularizedOutputs):
            self._regularize(layer, args[0])
        elif isinstance(layer, BlockEnds):
            self._blocks.pop()
        elif isinstance(layer, BlockBegins):
            self._begin(layer)
        outputs = layer(*args, **kwargs)
        flat = keras.tree.flatten(outputs)
        marks = BlockBegins, Cast, RegularizedOutputs
        if isinstance(layer, marks) and entering:
            self._note(flat[0], *entering[0])
            return outputs
        real = next((i for i, x in enumerate(flat) if is_floating(x)), None)
        if real is None:
            return outputs
        axis = _find_output_axis(layer, entering, flat)
        index, x = len(self.steps), flat[real]
        if self._earlier:
            step = self._earlier[index]
        else:
            sources = tuple(source for source, _ in entering)
            step = self._describe(call, sources, (args, kwargs), x, axis)
        self.steps.append(step)
        self._measure(index, step, args, ops.stop_gradient(x), axis)
        if self._probes:
            probe = self._probes[index]
            x = keep_mask(x, lambda x: backend.gradient_probe(x, probe, backend.norm))
        flat[real] = x
        for each in flat:
            self._note(each, index, axis)
        return keras.tree.pack_sequence_as(outputs, flat)

    def _begin(self, block: BlockBegins) -> None:
        """Gives the branch of a stack the values of a block."""
        self._blocks.append(block)
        for pair in block.stack.stacked_variables:
            value = self._scope.get_current_value(pair.variable)
            row = self._values.get_row(pair.variable, block.index, value)
            self._scope.add_update((pair.template, row))
            self._owners[id(pair.template)] = pair.variable, block.index

    def _regularize(self, mark: RegularizedOutputs, x: Tensor) -> None:
        # What is opened is not called, so that Keras does not do this.
        size = ops.cast(ops.shape(x)[0], x.dtype)
        self._scope.add_loss(mark.layer.activity_regularizer(x) / size)

    def _describe(
        self,
        call: LayerCall,
        sources: tuple[int, ...],
        arguments: Nest,
        x: Tensor,
        axis: int,
    ) -> Step:
        layer, given = call.layer, keras.tree.flatten(arguments)
        # An operation may be given a variable of the layer that it was found in.
        variables = [
            *getattr(layer, "trainable_variables", ()),
            *(x for x in given if isinstance(x, keras.Variable)),
        ]
        indices = (self._values.get_index(*self._find_owner(v)) for v in variables)
        kernels = _read_kernels(layer)
        return Step(
            self._name(call.path),
            layer,
            sources,
            count_channels(x.shape, axis),
            count_positions(x.shape, axis),
            kernels or (),
            tuple(self._find_owner(kernel.variable) for kernel in kernels or ()),
            tuple(index for index in indices if index is not None),
            kernels is None,
            any(isinstance(x, float) and math.isinf(x) for x in given),
        )

    def _find_owner(self, variable: Variable) -> tuple[Variable, tuple[int, ...]]:
        """Returns the model's variable that holds another one, and where it does."""
        index: tuple[int, ...] = ()
        # A stack may be in the branch of another one.
        while id(variable) in self._owners:
            variable, number = self._owners[id(variable)]
            index = number, *index
        return variable, index

    def _name(self, path: str) -> str:
        """Returns the path of a call with the blocks that it is in."""
        path = path.removesuffix("".join(f"[{b.index}]" for b in self._blocks))
        for block in reversed(self._blocks):
            inner = path.removeprefix(f"{block.prefix}/")
            path = f"{block.prefix}/{block.stack.block_path(block.index, inner)}"
        return path

    def _measure(
        self, index: int, step: Step, args: Sequence[Tensor], x: Tensor, axis: int
    ) -> None:
        numbers = {"norm": backend.norm(x)}
        if _has_activation(step.layer):
            numbers["dead"] = _count_dead_channels(x, axis)
        if isinstance(step.layer, keras.layers.BatchNormalization):
            entering = ops.stop_gradient(args[0])
            numbers["varying"] = _compute_varying_fraction(entering, axis)
        numbers.update(_compute_weight_norms(step.layer, step.kernels))
        self.numbers.update({(index, name): x for name, x in numbers.items()})

    def _note(self, x: Tensor, source: int, axis: int) -> None:
        self._known[id(x)] = source, axis
        self._held.append(x)


def read_value(variable: Variable, block: tuple[int, ...]) -> Tensor:
    """Returns the value of a variable, of a stack's variable that for a block."""
    return functools.reduce(operator.getitem, block, variable)


def is_floating(x: Tensor) -> bool:
    """Returns True for a tensor of real numbers, which has a gradient."""
    return keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype))


def count_channels(shape: Sequence[int], axis: int) -> int:
    """Returns the number of channels of a tensor of a known shape."""
    return int(shape[axis]) if len(shape) > 1 else 1


def count_positions(shape: Sequence[int], axis: int) -> int:
    """Returns the number of positions of a sample of a known shape."""
    return math.prod(int(d) for d in shape[1:]) // count_channels(shape, axis)


def find_input_axis(program: Program, x: Tensor) -> int:
    """Returns the channel axis of an input of a model."""
    if len(x.shape) < 3:
        return -1
    for call in program.calls:
        data_format = getattr(call.layer, "data_format", None)
        if data_format is not None:
            return 1 if data_format == "channels_first" else -1
    return -1


def _find_output_axis(
    layer: KerasLayer, entering: Sequence[tuple[int, int]], outputs: Sequence[Tensor]
) -> int:
    rank = len(outputs[0].shape) if outputs else 0
    if rank < 3:
        return -1
    data_format = getattr(layer, "data_format", None)
    if data_format is None and isinstance(layer, keras.layers.Wrapper):
        data_format = getattr(layer.layer, "data_format", None)
    if data_format is not None:
        return 1 if data_format == "channels_first" else -1
    return entering[0][1] if entering else -1


def _has_activation(layer: KerasLayer) -> bool:
    """Returns True if outputs have been through an activation that is not linear."""
    if is_activation(layer):
        return canonical_activation(layer) is not None
    return fused_activation(layer) is not None


def _count_dead_channels(x: Tensor, axis: int) -> Tensor:
    """Counts the channels that are zero all over the batch."""
    zero = ops.all(ops.equal(x, 0), axis=_list_other_axes(x, axis))
    return ops.sum(ops.cast(zero, "float32"))


def _compute_varying_fraction(x: Tensor, axis: int) -> Tensor:
    """Computes the fraction of the mean square that is variance within channels."""
    x = ops.cast(x, "float32")
    # The squares of what is far from 1 would leave the range of numbers.
    largest = ops.max(ops.abs(x))
    x = x / ops.where(largest > 0, largest, 1.0)
    others = _list_other_axes(x, axis)
    squares = ops.sum(ops.mean(ops.square(x), axis=others))
    means = ops.sum(ops.square(ops.mean(x, axis=others)))
    return 1 - means / ops.where(squares > 0, squares, 1.0)


def _list_other_axes(x: Tensor, axis: int) -> list[int]:
    rank = len(x.shape)
    return [i for i in range(rank) if rank == 1 or i != axis % rank]


def _read_kernels(layer: KerasLayer) -> tuple[Kernel, ...] | None:
    """Returns the kernels of a layer; None if it has matrices that are not known."""
    if not isinstance(layer, keras.layers.Layer) or not layer.built:
        return ()
    return find_kernels(layer)


def _compute_weight_norms(
    layer: KerasLayer, kernels: Sequence[Kernel]
) -> Iterator[tuple[str, Tensor]]:
    """Computes the norms of a layer's weights, by name.

    Of a weight-normalized layer that of the effective kernel, of one with LoRA that of
    the sum; a quantized kernel, whose variable holds codes, has none. A layer without a
    kernel has those of all its trainable variables.
    """
    effective = getattr(layer, "effective_kernel", None)
    for number, kernel in enumerate(kernels):
        values = kernel.variable
        if effective:
            values = effective()
        elif kernel.computed and layer.quantization_mode not in (None, "float8"):
            continue
        elif kernel.computed:
            values = layer.kernel
        yield f"weights {number}", _compute_norm(values)
    if not kernels:
        for number, variable in enumerate(getattr(layer, "trainable_variables", ())):
            yield f"weights {number}", _compute_norm(variable)
    for name, variable in (
        ("bias", find_bias(layer)),
        ("gamma", getattr(layer, "gamma", None)),
        ("beta", getattr(layer, "beta", None)),
    ):
        if variable is not None and hasattr(variable, "shape"):
            yield name, _compute_norm(variable)


def find_bias(layer: KerasLayer) -> Variable | None:
    """Returns the variable of the bias of a layer, or of the one that it wraps."""
    bias = getattr(layer, "bias", None)
    wrapped = getattr(layer, "layer", None)
    return getattr(wrapped, "bias", None) if bias is None else bias


def _compute_norm(values: Tensor) -> Tensor:
    values = ops.stop_gradient(ops.convert_to_tensor(values))
    return backend.norm(values, wide=False)
