"""LSUV: unit variance of every pre-activation, layer after layer."""

import math
import warnings
from typing import Any

import keras

from keras_convinit._checks import check_positive, check_positive_int
from keras_convinit._types import InitializerLike, KerasLayer
from keras_convinit.analysis import KernelContext
from keras_convinit.kernels import Kernel
from keras_convinit.schemes.base import register_scheme
from keras_convinit.schemes.layerwise import (
    LayerContext,
    LayerwiseScheme,
    scaled_variable,
    unwrap,
)
from keras_convinit.schemes.report import std_of

_STATES = (keras.layers.RNN, keras.layers.Bidirectional)


@register_scheme("lsuv")
class LSUV(LayerwiseScheme):
    """Orthogonal kernels, rescaled so that outputs have unit variance on a batch.

    In one pass: the outputs of a layer are linear in its kernel, so that they are
    scaled along with it. Of a weight-normalized layer the gain is scaled, of a
    separable convolution the pointwise kernel. A layer that is not known to be linear,
    such as attention, runs again after each rescaling of its last kernel. Where that
    does not lead to unit variance, as behind a sigmoid that is a part of the layer, the
    kernel is left as drawn. Recurrent layers have orthogonal kernels that are not
    rescaled.

    Batch normalization works with the statistics of the batch, since its averages are
    not known yet; dropout is off. A warning names the layers without unit variance.

    Args:
        tolerance: How far the variance may be from 1. A layer within it is not scaled.
            Public versions have 0.1; scaling once is exact for a linear layer.
        max_tries: How often a kernel is scaled at most.
        floor: A variance of the outputs below which the kernel is left as drawn:
            dividing by it would give weights of any size.
        initializer: Keras initializer of the kernels, drawn with the layer's true
            geometry; None for the kernels as they are.
        samples: How many samples to look at. None for the first batch of a data set,
            or the first 256 of arrays.

    Raises:
        ValueError: `tolerance` or `floor` is not positive, `max_tries` or `samples` no
            positive integer, or `initializer` no Keras initializer; `initialize` is
            called without data, with less than two samples, or with data that are not
            finite or give outputs that are not.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> x = np.random.normal(size=(32, 8))
        >>> report = keras_convinit.initialize(model, "lsuv", data=x, seed=0)
        >>> round(float(np.std(model.predict(x, verbose=0))), 1)
        1.0

    Reference:
        Mishkin, Matas 2016, *All you need is a good init*, algorithm 1.
    """

    def __init__(
        self,
        tolerance: float = 0.02,
        max_tries: int = 10,
        floor: float = 1e-10,
        initializer: InitializerLike = "orthogonal",
        samples: int | None = None,
    ) -> None:
        self.tolerance = check_positive("tolerance", tolerance)
        self.max_tries = check_positive_int("max_tries", max_tries)
        self.floor = check_positive("floor", floor)
        self.initializer = (
            None if initializer is None else keras.initializers.get(initializer)
        )
        self.samples = (
            None if samples is None else check_positive_int("samples", samples)
        )

    def treats(
        self, layer: KerasLayer, kernels: list[tuple[Kernel, KernelContext]]
    ) -> bool:
        """Returns True: LSUV sets all kernels."""
        del layer, kernels
        return True

    def visit(self, layer: LayerContext) -> Any:
        """Draws the kernels, and scales the last one to outputs of unit variance.

        Args:
            layer: The layer, its kernels, and the signal that reaches it.

        Returns:
            The outputs for the new kernels.
        """
        if self.initializer is not None:
            for kernel, _ in layer.kernels:
                layer.draw(kernel, self.initializer)
        if isinstance(unwrap(layer.layer), _STATES):
            layer.issues.append((layer.path, "its outputs are states, not scaled"))
            for kernel, context in layer.kernels:
                layer.report(kernel, context, self._label())
            return layer.run()
        *others, (kernel, context) = layer.kernels
        with layer.without_activation() as activation:
            outputs, before, after, rescalings = self._scale(layer, kernel)
        rule = self._label()
        if abs(after**2 - 1) <= self.tolerance:
            rule = f"{rule}, unit variance"
            absorbs = context.absorbed != 1
        else:
            drawn = "left as it was" if self.initializer is None else "left as drawn"
            sentence = f"its outputs have the standard deviation {after:.3g}; {drawn}"
            layer.issues.append((layer.path, sentence))
            # A gain that was left alone holds the factor already.
            absorbs = context.absorbed != 1 and self.initializer is not None
        if absorbs:
            # Its gain holds the factor of the branch, which no activation is behind.
            layer.scale(kernel, context.absorbed)
            if layer.is_linear():
                outputs = layer.scale_outputs(outputs, context.absorbed)
            rule = f"{rule} * {context.absorbed:.4g}"
            after = after * context.absorbed
        for other, other_context in others:
            layer.report(other, other_context, self._label())
        layer.report(
            kernel,
            context,
            rule,
            num_rescalings=rescalings,
            output_std_before=before,
            output_std_after=after,
        )
        if not layer.is_linear() and (absorbs or activation is not None):
            # It may do more behind its activation.
            return layer.run()
        return outputs if activation is None else layer.transform(outputs, activation)

    def _scale(
        self, layer: LayerContext, kernel: Kernel
    ) -> tuple[Any, float, float, int]:
        """Scales a kernel to outputs of unit variance, or leaves it alone.

        Returns:
            The outputs, their standard deviation before and after, and how often the
            kernel was scaled.
        """
        start = layer.overlay.current(scaled_variable(kernel))
        outputs = layer.run()
        before = after = std_of(outputs)
        rescalings = 0
        while (
            self.floor < after**2 < float("inf")
            and abs(after**2 - 1) > self.tolerance
            and rescalings < self.max_tries
        ):
            factor = 1 / after
            layer.scale(kernel, factor)
            if layer.is_linear():
                outputs = layer.scale_outputs(outputs, factor)
            else:
                outputs = layer.run()
            old, after = after, std_of(outputs)
            rescalings += 1
            if not _follows(after / old, factor):
                break
        if rescalings and not abs(after**2 - 1) <= self.tolerance:
            # What is bounded would only be driven further into saturation.
            layer.overlay.put(scaled_variable(kernel), start)
            return layer.run(), before, before, 0
        return outputs, before, after, rescalings

    def conclude(self, issues: list[tuple[str, str]]) -> None:
        """Warns of layers without unit variance.

        Args:
            issues: Pairs of a path and a sentence.
        """
        if issues:
            named = "; ".join(f"{path}: {sentence}" for path, sentence in issues)
            warnings.warn(f"No unit variance of {named}", stacklevel=4)

    def _label(self) -> str:
        if self.initializer is None:
            return "as it was"
        if isinstance(self.initializer, keras.initializers.Orthogonal):
            return "orthonormal"
        return type(self.initializer).__name__


def _follows(ratio: float, factor: float) -> bool:
    """Returns True if outputs change with the kernel, by a thousandth of it at least.

    Args:
        ratio: What the standard deviation of the outputs was multiplied by.
        factor: What the kernel was multiplied by.
    """
    if not 0 < ratio < float("inf"):
        return False
    return abs(math.log(ratio)) > 1e-3 * abs(math.log(factor))
