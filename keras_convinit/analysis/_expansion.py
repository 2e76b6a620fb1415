"""A program with its composite layers as calls of their own, or of each block."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import keras

from keras_convinit._masks import MaskPreservingOperation
from keras_convinit._types import KerasLayer, Tensor
from keras_convinit.analysis.composites import ScaledSum
from keras_convinit.analysis.program import LayerCall, OpenedCall, Program, TensorRef


def make_executable(
    program: Program,
    *,
    stay_whole: Callable[[Any], bool] = lambda layer: False,
    blocks: bool = False,
) -> Program:
    """Rewrites a program that `trace_opened` has recorded as one that can be run.

    Args:
        program: The program, in which every composite layer is opened, and a stack is
            one block.
        stay_whole: Returns True for a composite layer that is to be called itself.
        blocks: Whether stacks are written out block by block. The blocks are not
            copies: all are the template that the stack holds, between a `BlockBegins`,
            where it has to be given its row of each variable, and a `BlockEnds`.
            Otherwise stacks are called themselves.

    Returns:
        The program.

    Example:
        >>> from keras_convinit.analysis import make_executable, trace_opened
        >>> branch = keras.layers.Dense(4, name="dense")
        >>> stack = keras_convinit.layers.ScaledResidualStack(branch, 2, name="stack")
        >>> model = keras.Sequential([keras.Input((4,)), stack])
        >>> program = make_executable(trace_opened(model), blocks=True)
        >>> [call.path for call in program.calls][1:3]
        ['stack/dense[0]', 'stack/scaled_sum[0]']
    """
    writer = _Writer(program, stay_whole, blocks)
    names: dict[int, int] = {}
    writer.copy(0, len(program.calls), program.opened, names, "", fresh=False)
    outputs = keras.tree.map_structure(
        lambda x: _renamed(x, names),
        program.outputs,
    )
    return Program(
        tuple(writer.calls),
        program.inputs,
        outputs,
        tuple(writer.shapes),
        tuple(writer.dtypes),
        program.names,
    )


def regularizes_outputs(layer: KerasLayer) -> bool:
    """Returns True if Keras regularizes the outputs of a layer when it is called.

    Args:
        layer: A layer or an operation.

    Example:
        >>> from keras_convinit.analysis import regularizes_outputs
        >>> regularizes_outputs(keras.layers.Dense(4, activity_regularizer="l2"))
        True
    """
    return getattr(layer, "activity_regularizer", None) is not None


class BlockBegins(MaskPreservingOperation):
    """Marks where a block of a stack begins; the identity of the signal.

    Args:
        stack: The stack.
        index: The number of the block, from 0.
        prefix: What the paths of the calls in the block begin with.

    Example:
        >>> from keras_convinit.analysis import BlockBegins
        >>> branch = keras.layers.Dense(4)
        >>> stack = keras_convinit.layers.ScaledResidualStack(branch, 2)
        >>> float(BlockBegins(stack, 0)(np.ones(1))[0])
        1.0
    """

    def __init__(self, stack: KerasLayer, index: int, prefix: str = "") -> None:
        super().__init__(name="block_begins")
        self.stack = stack
        self.index = index
        self.prefix = prefix

    def call(self, x: Tensor) -> Any:
        """Returns its input."""
        return x

    def compute_output_spec(self, x: Tensor) -> Any:
        """Returns the spec of its input."""
        return keras.KerasTensor(x.shape, dtype=x.dtype)


class BlockEnds(BlockBegins):
    """Marks where a block of a stack ends; the identity of the signal.

    Args:
        stack: The stack.
        index: The number of the block, from 0.
        prefix: What the paths of the calls in the block begin with.

    Example:
        >>> from keras_convinit.analysis import BlockEnds
        >>> branch = keras.layers.Dense(4)
        >>> stack = keras_convinit.layers.ScaledResidualStack(branch, 2)
        >>> float(BlockEnds(stack, 0)(np.ones(1))[0])
        1.0
    """


class RegularizedOutputs(MaskPreservingOperation):
    """Marks outputs that a layer would regularize if it were called; the identity.

    Args:
        layer: A layer with an activity regularizer, whose parts are called instead.

    Example:
        >>> from keras_convinit.analysis import RegularizedOutputs
        >>> layer = keras.layers.Dense(2, activity_regularizer="l2")
        >>> float(RegularizedOutputs(layer)(np.ones(1))[0])
        1.0
    """

    def __init__(self, layer: KerasLayer) -> None:
        super().__init__(name="regularized_outputs")
        self.layer = layer

    def call(self, x: Tensor) -> Any:
        """Returns its input."""
        return x

    def compute_output_spec(self, x: Tensor) -> Any:
        """Returns the spec of its input."""
        return keras.KerasTensor(x.shape, dtype=x.dtype)


class _Writer:
    def __init__(
        self, program: Program, stay_whole: Callable[[Any], bool], blocks: bool
    ) -> None:
        self.calls: list[LayerCall] = []
        self.shapes = list(program.shapes)
        self.dtypes = list(program.dtypes)
        self._program = program
        self._stay_whole = stay_whole
        self._blocks = blocks

    def copy(
        self,
        first: int,
        end: int,
        opened: Iterable[OpenedCall],
        names: dict[int, int],
        suffix: str,
        fresh: bool,
    ) -> None:
        """Copies a range of calls, with what of it is opened.

        Args:
            first: The index of the first call.
            end: The index behind the last one.
            opened: What is opened in the range, in order.
            names: The numbers that values have here, where they differ; is added to.
            suffix: Is added to each path.
            fresh: Whether the outputs get numbers of their own.
        """
        for each in opened:
            self._plain(first, each.whole.index, names, suffix, fresh)
            first = each.end
            whole = not each.runs or self._stay_whole(each.whole.layer)
            if whole or (each.block is not None and not self._blocks):
                self._call(each.whole, names, suffix, fresh)
            elif each.block is not None:
                self._each_block(each, each.block, names, suffix, fresh)
                self._regularize(each, names, suffix)
            else:
                start = each.whole.index
                self.copy(start, each.end, each.parts, names, suffix, fresh)
                self._regularize(each, names, suffix)
        self._plain(first, end, names, suffix, fresh)

    def _plain(
        self, first: int, end: int, names: dict[int, int], suffix: str, fresh: bool
    ) -> None:
        for call in self._program.calls[first:end]:
            self._call(call, names, suffix, fresh)

    def _each_block(
        self,
        opened: OpenedCall,
        block: tuple[int, int, int],
        names: dict[int, int],
        suffix: str,
        fresh: bool,
    ) -> None:
        start, enters, leaves = block
        stack, prefix = opened.whole.layer, opened.prefix
        self._plain(opened.whole.index, start, names, suffix, fresh)
        x = names.get(enters, enters)
        for index in range(stack.num_blocks):
            path = f"{suffix}[{index}]"
            begins = BlockBegins(stack, index, prefix)
            inside = {enters: self._mark(begins, x, opened, path)}
            self.copy(start, opened.end, opened.parts, inside, path, fresh=True)
            ends = BlockEnds(stack, index, prefix)
            x = self._mark(ends, inside[leaves], opened, path)
        names[leaves] = x

    def _regularize(
        self, opened: OpenedCall, names: dict[int, int], suffix: str
    ) -> None:
        layer = opened.whole.layer
        if regularizes_outputs(layer):
            for output in opened.whole.outputs:
                x = names.get(output, output)
                names[output] = self._mark(RegularizedOutputs(layer), x, opened, suffix)

    def _mark(
        self,
        mark: BlockBegins | RegularizedOutputs,
        x: int,
        opened: OpenedCall,
        suffix: str,
    ) -> int:
        path = f"{opened.whole.path}/{mark.name}{suffix}"
        number = self._new(x)
        self._add(LayerCall(0, mark, path, (TensorRef(x),), {}, (x,), (number,)))
        return number

    def _call(
        self, call: LayerCall, names: dict[int, int], suffix: str, fresh: bool
    ) -> None:
        arguments, keywords = keras.tree.map_structure(
            lambda x: _renamed(x, names), (call.arguments, call.keywords)
        )
        inputs = tuple(names.get(number, number) for number in call.inputs)
        if fresh:
            names.update({number: self._new(number) for number in call.outputs})
        layer = call.layer
        if isinstance(layer, ScaledSum) and layer.count > 1 and self._blocks:
            layer = ScaledSum(layer.factor, layer.dtype, absorbed=layer.absorbed)
        self._add(
            dataclasses.replace(
                call,
                layer=layer,
                path=call.path + suffix,
                arguments=arguments,
                keywords=keywords,
                inputs=inputs,
                outputs=tuple(names.get(number, number) for number in call.outputs),
            )
        )

    def _new(self, like: int) -> int:
        self.shapes.append(self.shapes[like])
        self.dtypes.append(self.dtypes[like])
        return len(self.shapes) - 1

    def _add(self, call: LayerCall) -> None:
        self.calls.append(dataclasses.replace(call, index=len(self.calls)))


def _renamed(x: Tensor, names: dict[int, int]) -> Any:
    return TensorRef(names.get(x.id, x.id)) if isinstance(x, TensorRef) else x
