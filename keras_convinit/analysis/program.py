"""A model as a program: which layer is applied to what, in which order."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_convinit._data import order_inputs
from keras_convinit._types import KerasLayer, Nest, Tensor

Shape = tuple[int | None, ...]


@dataclasses.dataclass(frozen=True)
class TensorRef:
    """Stands for a tensor of the program.

    Args:
        id: Its number: an index into `Program.shapes` and `Program.dtypes`.

    Example:
        >>> from keras_convinit.analysis import trace
        >>> trace(keras.Sequential([keras.Input((4,)), keras.layers.ReLU()])).inputs
        TensorRef(id=0)
    """

    id: int


@dataclasses.dataclass(frozen=True)
class LayerCall:
    """One application of one layer.

    Args:
        index: Its place in the order of execution, from 0.
        layer: The layer of the model, or the operation where it is no layer, such as
            a sum that was written with a plus.
        path: A name that no other call has: the names of the models around the layer
            and its own, joined by "/", with "#2" behind it where that was called once
            before.
        arguments: The positional arguments, with a `TensorRef` for each tensor.
        keywords: The arguments by keyword, likewise.
        inputs: The numbers of all values among the arguments.
        outputs: The numbers of the values that it gives.
        fixed_training: Whether `training` among the keywords holds whatever the model
            is told.

    Example:
        >>> from keras_convinit.analysis import trace
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.ReLU(name="a")])
        >>> (call,) = trace(model).calls
        >>> call.path, call.arguments, call.outputs
        ('a', (TensorRef(id=0),), (1,))
    """

    index: int
    layer: Any
    path: str
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    fixed_training: bool = False


@dataclasses.dataclass(frozen=True)
class OpenedCall:
    """A call of a composite layer, in whose place the program has calls of its parts.

    Args:
        whole: The call of the layer itself; its index is that of the first part.
        end: The index behind the last part.
        parts: Those of the parts that are opened themselves.
        block: Of a stack, whose block is there once: the index of its first call, and
            the numbers of the values that enter and leave it. None for other layers.
        runs: Whether the parts can be run, and not only read.
        prefix: What the paths of the parts begin with, without the "/" behind it.

    Example:
        >>> from keras_convinit.analysis import trace_opened
        >>> branch = keras.layers.Dense(4, name="dense")
        >>> stack = keras_convinit.layers.ScaledResidualStack(branch, 2, name="stack")
        >>> model = keras.Sequential([keras.Input((4,)), stack])
        >>> (opened,) = trace_opened(model).opened
        >>> opened.whole.path, opened.end
        ('stack', 2)
    """

    whole: LayerCall
    end: int
    parts: "tuple[OpenedCall, ...]" = ()
    block: tuple[int, int, int] | None = None
    runs: bool = True
    prefix: str = ""


@dataclasses.dataclass(frozen=True)
class Program:
    """A model as a program of calls.

    Args:
        calls: The calls, in order of execution.
        inputs: The inputs of the model: their structure, with a `TensorRef` for each.
        outputs: What the model gives, likewise.
        shapes: The shape of each value, with None for what is not known, such as the
            batch.
        dtypes: The dtype of each value, by its name.
        names: The names of the inputs, in their structure; None where they have none.
        opened: The composite layers whose parts are among the calls.

    Example:
        >>> from keras_convinit.analysis import trace
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> program = trace(model)
        >>> tuple(program.run(np.ones((1, 4))).shape)
        (1, 2)
    """

    calls: tuple[LayerCall, ...]
    inputs: Any
    outputs: Any
    shapes: tuple[Shape, ...]
    dtypes: tuple[str, ...]
    names: Any = None
    opened: tuple[OpenedCall, ...] = ()

    def run(
        self,
        inputs: Nest,
        call: Callable[..., Any] | None = None,
        training: bool | None = None,
    ) -> Any:
        """Runs the program, which gives what the model does.

        Args:
            inputs: What the model takes: arrays or tensors are converted as it would;
                anything else is handed on as it is.
            call: Decides what becomes of a call: `call(call, *args, **kwargs)` gives
                the outputs. By default it is `call.layer(*args, **kwargs)`.
            training: Handed to each layer that takes it, where it is not None.

        Returns:
            The outputs, in the structure of those of the model.

        Raises:
            ValueError: There are more or fewer inputs than the model takes.
        """
        values = self._bound(inputs)
        unread = self._unread_after()
        for step in self.calls:
            arguments, keywords = keras.tree.map_structure(
                lambda x: values[x.id] if isinstance(x, TensorRef) else x,
                (step.arguments, step.keywords),
            )
            told = training is not None and not step.fixed_training
            if told and takes_training(step.layer):
                keywords["training"] = training
            if call is None:
                outputs = step.layer(*arguments, **keywords)
            else:
                outputs = call(step, *arguments, **keywords)
            values.update(zip(step.outputs, keras.tree.flatten(outputs), strict=True))
            del arguments, keywords, outputs
            for number in unread[step.index]:
                # So that its memory can be taken again.
                del values[number]
        return keras.tree.map_structure(
            lambda x: values[x.id] if isinstance(x, TensorRef) else x, self.outputs
        )

    def _unread_after(self) -> dict[int, list[int]]:
        """Returns for each call the values that no later call needs."""
        last = {n: c.index for c in self.calls for n in (*c.outputs, *c.inputs)}
        for value in keras.tree.flatten(self.outputs):
            if isinstance(value, TensorRef):
                last.pop(value.id, None)
        unread: dict[int, list[int]] = {call.index: [] for call in self.calls}
        for number, index in last.items():
            unread[index].append(number)
        return unread

    def _bound(self, inputs: Nest) -> dict[int, Any]:
        if self.names is not None:
            inputs = order_inputs("inputs", inputs, self.names)
        wanted, given = keras.tree.flatten(self.inputs), keras.tree.flatten(inputs)
        if len(wanted) != len(given):
            raise ValueError(
                f"`inputs` must be {len(wanted)} tensors, as the model takes. "
                f"Received: inputs={inputs!r}, which are {len(given)}"
            )
        return {
            value.id: as_input(x, self.shapes[value.id], self.dtypes[value.id])
            for value, x in zip(wanted, given, strict=True)
        }


def takes_training(layer: KerasLayer) -> bool:
    """Returns True if the `call` of a layer accepts `training`.

    Args:
        layer: A layer or an operation.

    Example:
        >>> from keras_convinit.analysis import takes_training
        >>> takes_training(keras.layers.Dropout(0.5))
        True
    """
    return "training" in inspect.signature(layer.call).parameters


def as_input(x: Tensor, shape: Shape, dtype: str) -> Any:
    """Converts an array to what a model takes, as a functional model does.

    Args:
        x: A number, an array or a tensor; anything else comes back as it is.
        shape: The shape of the model's input. An axis of length 1 at the end may be
            missing or too many.
        dtype: The dtype of the model's input.

    Returns:
        The tensor.

    Example:
        >>> from keras_convinit.analysis import as_input
        >>> tuple(as_input(np.ones(3), (None, 1), "float32").shape)
        (3, 1)
    """
    if not (isinstance(x, np.ndarray | np.generic | float | int) or ops.is_tensor(x)):
        return x
    x = ops.convert_to_tensor(x, dtype=dtype)
    if len(x.shape) == len(shape) + 1 and x.shape[-1] == 1:
        return ops.squeeze(x, axis=-1)
    if len(x.shape) == len(shape) - 1 and shape[-1] == 1:
        return ops.expand_dims(x, axis=-1)
    return x
