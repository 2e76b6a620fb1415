"""Opens composite layers for reading: a stack is one block that stands for all."""

import dataclasses
from typing import Any

import keras

from keras_convinit.graph.composites import ScaledSum, open_up
from keras_convinit.kernels import Kernel
from keras_convinit.layers import ScaledResidualStack


class Templates:
    """Opens composite layers, and knows to which variables what is inside belongs."""

    def __init__(self) -> None:
        # For a variable of a template: the stack, and its variable.
        self._stacks: dict[int, tuple[Any, Any]] = {}

    def open(self, layer: Any, apply: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Writes the call of a layer as calls of its parts, a stack as one block."""
        if isinstance(layer, keras.layers.TimeDistributed):
            return _over_time(layer, apply, *args, **kwargs)
        if not isinstance(layer, ScaledResidualStack):
            return open_up(layer, apply, *args, **kwargs)
        template = layer._branch.layer
        for variable, stacked in zip(template.weights, layer._stacked, strict=True):
            self._stacks[id(variable)] = layer, stacked
        inputs = args[0] if args else kwargs["inputs"]
        total = ScaledSum(layer.branch_factor, layer.compute_dtype, layer.num_blocks)
        return apply(total, inputs, apply(template, inputs))

    def owner(self, layer: Any, kernel: Kernel) -> tuple[Any, Kernel]:
        """The layer of the user's that a kernel belongs to, and the kernel there."""
        while id(kernel.variable) in self._stacks:
            layer, variable = self._stacks[id(kernel.variable)]
            _, gain = self._stacks.get(id(kernel.gain), (None, None))
            kernel = dataclasses.replace(
                kernel,
                name=f"branch.{kernel.name}",
                variable=variable,
                gain=gain,
                copies=layer.num_blocks * kernel.copies,
                stacked=True,
            )
        return layer, kernel


def _over_time(layer: Any, apply: Any, inputs: Any, **_: Any) -> Any:
    batch, time, *sample = inputs.shape
    outputs = apply(layer.layer, apply(Reshaped((batch, *sample)), inputs))
    return apply(Reshaped((batch, time, *outputs.shape[1:])), outputs)


class Reshaped(keras.Operation):
    """Stands for a change of shape.

    Args:
        shape: The shape that comes out.
    """

    def __init__(self, shape: Any) -> None:
        super().__init__(name="reshaped")
        self.shape = shape

    def compute_output_spec(self, x: Any) -> Any:
        """The shape that comes out."""
        return keras.KerasTensor(self.shape, dtype=x.dtype)
