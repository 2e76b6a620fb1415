"""Random inputs and labels, for a scheme that needs no data."""

from typing import Any

import keras
import numpy as np

from keras_convinit._data import Batch
from keras_convinit.graph import Trace

CLASSES = ("sparse_categorical_crossentropy", "SparseCategoricalCrossentropy")
ONE_HOT = ("categorical_crossentropy", "CategoricalCrossentropy")
NUMBERS = ("mean_squared_error", "MeanSquaredError", "mse")


class Noise:
    """Inputs from N(0, 1), and labels that have nothing to do with them.

    Args:
        model: The model.
        program: The model as a program of calls.
        loss: A loss, or None for that with which the model is compiled.
        seed: An integer.

    Raises:
        ValueError: The model takes what cannot be drawn, or the loss does not say what
            labels are.
    """

    def __init__(
        self, model: keras.Model, program: Trace, loss: Any, seed: int
    ) -> None:
        self._structure = program.inputs
        self._inputs = _described(program, program.inputs)
        outputs = _described(program, program.outputs)
        for shape, dtype in self._inputs:
            if None in shape or not keras.backend.is_float_dtype(dtype):
                raise ValueError(
                    "`data` must be given for a model with inputs that are no real "
                    "numbers, or of any size. "
                    f"Received: data=None, for an input of shape {shape} and {dtype}"
                )
        self._kind = _kind(model.loss if loss is None else loss)
        if len(outputs) != 1 or self._kind is None:
            raise ValueError(
                "`data` must be given for a model with several outputs, or a loss that "
                f"is none of {', '.join((*CLASSES, *ONE_HOT, *NUMBERS))}. "
                f"Received: data=None, {len(outputs)} outputs, loss={loss!r}"
            )
        (self._output, _), *_ = outputs
        self._generator = np.random.default_rng(seed)

    def next(self, count: int) -> Batch:
        """So many samples, with labels."""
        draw = self._generator
        dtype = keras.config.floatx()
        leaves = [
            draw.standard_normal((count, *shape)).astype(dtype)
            for shape, _ in self._inputs
        ]
        x = keras.tree.pack_sequence_as(self._structure, leaves)
        *places, classes = self._output
        if self._kind == "numbers":
            numbers = draw.standard_normal((count, *self._output))
            return Batch(x, numbers.astype(dtype))
        labels = draw.integers(0, classes, (count, *places))
        if self._kind == "one_hot":
            return Batch(x, np.eye(classes, dtype=dtype)[labels])
        return Batch(x, labels)


def _described(program: Trace, values: Any) -> list[tuple[tuple[Any, ...], str]]:
    """Shape of a sample and dtype of each."""
    return [
        (tuple(program.shapes[value.id][1:]), program.dtypes[value.id])
        for value in keras.tree.flatten(values)
    ]


def _kind(loss: Any) -> str | None:
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", None)
    if isinstance(loss, keras.Loss):
        name = type(loss).__name__
    kinds = {"classes": CLASSES, "one_hot": ONE_HOT, "numbers": NUMBERS}
    return next((kind for kind, names in kinds.items() if name in names), None)
