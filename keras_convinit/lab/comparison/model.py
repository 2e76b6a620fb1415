"""The model of a comparison, made anew for every run."""

import weakref
from collections.abc import Sequence
from typing import Any

import keras

from keras_convinit.lab.errors import LabError
from keras_convinit.lab.model_source import model_from


class ModelSource:
    """Makes one model after the other, all alike but for their weights.

    Args:
        source: See `model_from`.
        imports: Modules to import before.
        **shapes: `input_shape` and `num_classes` of a network of the lab.
    """

    def __init__(self, source: str, imports: Sequence[str], **shapes: Any) -> None:
        self.source = source
        self.imports = imports
        self.shapes = shapes
        self._last: weakref.ref[keras.Model] | None = None

    def __call__(self) -> keras.Model:
        """A model that gives logits.

        Raises:
            LabError: It cannot be had, or is the same one again.
        """
        model = model_from(self.source, self.imports, **self.shapes)
        if self._last is not None and self._last() is model:
            raise LabError(
                "MODEL must be made anew for every run: a network of the lab, a "
                "`.keras` file, or a function that makes a new one each time it is "
                f"called. Received: {self.source!r}, which gives the same model again"
            )
        self._last = weakref.ref(model)
        return without_softmax(model)


def without_softmax(model: keras.Model) -> keras.Model:
    """The model up to the softmax that it ends in, if it does.

    Cross-entropy is then computed from logits, which is the same and more exact.

    Args:
        model: A model; its last activation may be changed.

    Returns:
        The model, or one that shares its layers and lacks the last.
    """
    last: Any = model.layers[-1]
    if isinstance(last, keras.layers.Softmax):
        return keras.Model(model.inputs, last.input)
    if getattr(last, "activation", None) is keras.activations.softmax:
        last.activation = keras.activations.linear
    return model
