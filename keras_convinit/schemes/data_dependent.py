"""Gains and biases of weight-normalized layers, from what reaches them."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_convinit._checks import check_positive, check_positive_int
from keras_convinit._types import InitializerLike, KerasLayer, Nest, Tensor
from keras_convinit.analysis import KernelContext, ModelAnalysis
from keras_convinit.kernels import Kernel, effective_kernel, gain_shape, kernels_of
from keras_convinit.schemes.base import register_scheme
from keras_convinit.schemes.layerwise import (
    LayerContext,
    LayerwiseScheme,
    broadcast,
    channel_axes,
    is_linear,
    wide,
)
from keras_convinit.schemes.zhang import SAME


@register_scheme("data_dependent")
class DataDependent(LayerwiseScheme):
    """g = 1 / sigma, b = -mu / sigma: each output has mean 0 and deviation 1 on data.

    mu and sigma are the mean and the standard deviation of one output channel of
    x * v / ||v||, over samples and positions. In a residual block the branch and the
    projection are both normalized, and nothing behind their sum. A kernel that is not
    weight-normalized becomes what it would be if it were. What is not linear in its
    kernel, such as a recurrent layer, starts as its layer says.

    A channel that is constant on the data keeps its gain, and its bias as it is or as
    its layer says; the report names it. Without a bias the mean stays. Batch
    normalization works with the statistics of the batch, dropout does nothing.

    Args:
        scaled: Whether to divide the last layer of a residual branch by sqrt(B) in a
            stage of B blocks, which is ours: otherwise the variance grows by 1 with
            each block. A branch that the model divides itself is not divided again.
        direction: Keras initializer of v, whose norm has no effect.
        epsilon: A channel is constant where sigma is no more than this share of the
            root mean square.
        classifier: None for what its layer says, or like all others if it is
            weight-normalized; `"same"` for like all others; or a Keras initializer.
        samples: How many samples to look at. None for the first batch of a data set,
            or the first 256 of arrays.

    Raises:
        ValueError: `direction` or `classifier` is not what is said here, `epsilon` is
            not positive, or `samples` no positive integer; `initialize` is called with
            a model without weight-normalized layers, without data, with less than two
            samples, or with data that are not finite or give outputs that are not.

    Example:
        >>> layer = keras_convinit.layers.WeightNormDense(4)
        >>> model = keras.Sequential([keras.Input((8,)), layer])
        >>> x = np.random.normal(size=(32, 8))
        >>> report = keras_convinit.initialize(model, "data_dependent", data=x, seed=0)

    Reference:
        Salimans, Kingma 2016, *Weight Normalization: A Simple Reparameterization to
        Accelerate Training of Deep Neural Networks*, eq. 5 and 6. For residual
        networks: the code of Arpit, Campos, Bengio 2019.
    """

    def __init__(
        self,
        scaled: bool = False,
        direction: InitializerLike = "orthogonal",
        epsilon: float = 1e-5,
        classifier: InitializerLike = None,
        samples: int | None = None,
    ) -> None:
        self.scaled = bool(scaled)
        self.direction = self.initializer = keras.initializers.get(direction)
        self.epsilon = check_positive("epsilon", epsilon)
        same = classifier is None or (
            isinstance(classifier, str) and classifier == SAME
        )
        self.classifier = classifier if same else keras.initializers.get(classifier)
        self.samples = (
            None if samples is None else check_positive_int("samples", samples)
        )

    def check(self, analysis: ModelAnalysis) -> None:
        """Refuses a model without weight-normalized layers.

        Args:
            analysis: The model.

        Raises:
            ValueError: The model has no weight-normalized layers.
        """
        if all(context.kernel.gain is None for context in analysis.kernels):
            raise ValueError(
                "`model` must have weight-normalized layers, such as those of "
                "`keras_convinit.layers`, for the scheme DataDependent; for others "
                'there are the schemes "auto" and "lsuv". '
                "Received: a model with none"
            )

    def treats(
        self, layer: KerasLayer, kernels: list[tuple[Kernel, KernelContext]]
    ) -> bool:
        """Returns True for a linear layer; for a plain classifier only if asked for.

        Args:
            layer: The layer.
            kernels: Its kernels that may be set, each with its context in the model.
        """
        kernel, context = kernels[-1]
        plain = context.kernel.gain is None
        if context.classifier and plain and self.classifier is None:
            return False
        # The last kernel gives the outputs, unless that is kept.
        return is_linear(layer) and kernel.name == kernels_of(layer)[-1].name

    def visit(self, layer: LayerContext) -> Any:
        """Normalizes the outputs of a layer.

        Args:
            layer: The layer, its kernels, and the signal that reaches it.

        Returns:
            The outputs for the new kernels.
        """
        *others, (kernel, context) = layer.kernels
        if context.classifier and isinstance(
            self.classifier, keras.initializers.Initializer
        ):
            rule = f"classifier by {type(self.classifier).__name__}"
            for each, each_context in layer.kernels:
                layer.draw(each, self.classifier)
                layer.report(each, each_context, rule)
            return layer.run()
        for each, each_context in others:
            self._draw_unit(layer, each)
            layer.report(each, each_context, "v / ||v||")
        old_gain = self._draw_unit(layer, kernel)
        bias = layer.bias()
        old_bias = None if bias is None else layer.overlay.as_float(bias)
        if bias is not None:
            layer.overlay.lend(bias, ops.zeros(bias.shape, bias.dtype))
        with layer.without_activation() as activation:
            outputs = layer.run()
        factor, reason = self._factor(context)
        gain, shift, dead, before, after = self._moments(
            layer, kernel, outputs, old_gain, old_bias, factor
        )

        def normalize(y: Any) -> Any:
            return ops.cast(wide(y) * gain + shift, y.dtype)

        outputs = layer.transform(outputs, normalize)
        if dead:
            sentence = f"constant channels keep their gains: {_list(dead)}"
            layer.issues.append((layer.path, sentence))
        layer.report(
            kernel,
            context,
            f"1/sigma{reason}",
            num_rescalings=1,
            output_std_before=before,
            output_std_after=after,
        )
        if _has_one_each(layer, old_gain):
            layer.add_row(kernel, bias, "-mu/sigma", shift)
        else:
            sentence = "without a bias for each channel that is trained, the means stay"
            layer.issues.append((layer.path, sentence))
        return outputs if activation is None else layer.transform(outputs, activation)

    def _draw_unit(self, layer: LayerContext, kernel: Kernel) -> Any:
        """Draws v, sets gains to 1, and returns the gains before."""
        overlay, axes = layer.overlay, kernel.geometry.output_axes
        before = None if kernel.gain is None else overlay.as_float(kernel.gain)
        layer.draw(kernel, self.direction)
        shape = gain_shape(kernel.variable.shape, axes)
        ones = ops.ones(shape, "float32")
        if kernel.gain is not None:
            overlay.put(kernel.gain, ones)
            return before
        direction = overlay.as_float(kernel.variable)
        overlay.put(kernel.variable, effective_kernel(direction, ones, axes))
        return ones

    def _factor(self, context: KernelContext) -> tuple[float, str]:
        if context.absorbed != 1:
            return context.absorbed, f" * {context.absorbed:.4g}"
        divided = (
            self.scaled
            and context.last_in_branch
            and context.branch_factor == 1
            and (context.blocks or 1) > 1
        )
        if not divided:
            return 1.0, ""
        return 1 / math.sqrt(context.blocks or 1), f" / sqrt({context.blocks})"

    def _moments(
        self,
        layer: LayerContext,
        kernel: Kernel,
        outputs: Nest,
        old_gain: Any,
        old_bias: Any,
        factor: float,
    ) -> tuple[Any, Any, list[int], float, float]:
        """Sets gain and bias, and returns them in the shape of the outputs.

        With them are the constant channels, and the standard deviation of all outputs
        before and after.
        """
        outputs = wide(outputs)
        rank = len(outputs.shape)
        channels = channel_axes(layer.layer, kernel, rank)
        others = [axis for axis in range(rank) if axis not in channels]
        mean = ops.mean(outputs, axis=others, keepdims=True)
        # Two passes over the outputs and no more; `ops.moments` is too coarse on JAX.
        centered = ops.square(outputs - mean)
        sigma = ops.sqrt(ops.mean(centered, axis=others, keepdims=True))
        size = ops.sqrt(ops.square(mean) + ops.square(sigma))
        dead = sigma <= self.epsilon * size
        order = _order(channels)
        kept = _to_outputs(old_gain, mean.shape, order)
        gain = ops.where(dead, kept, factor / ops.where(dead, 1.0, sigma))
        shift = ops.zeros_like(mean)
        overlay, bias = layer.overlay, layer.bias()
        if _has_one_each(layer, old_gain):
            kept = ops.broadcast_to(broadcast(old_bias, layer.layer), mean.shape)
            shift = ops.where(dead, kept, -mean * gain)
            overlay.put(bias, ops.reshape(shift, bias.shape))
        elif bias is not None:
            overlay.lend(bias, ops.cast(old_bias, bias.dtype))
            shift = broadcast(old_bias, layer.layer)
        values = _to_kernel(gain, old_gain.shape, channels, order)
        if kernel.gain is not None:
            overlay.put(kernel.gain, values)
        else:
            direction = overlay.as_float(kernel.variable)
            axes = kernel.geometry.output_axes
            overlay.put(kernel.variable, effective_kernel(direction, values, axes))
        flags = ops.convert_to_numpy(ops.reshape(dead, (-1,)))
        return (
            gain,
            shift,
            [index for index, flag in enumerate(flags) if flag],
            _together(mean, sigma),
            _together(mean * gain + shift, sigma * gain),
        )


def _together(mean: Any, sigma: Any) -> float:
    """Returns the std of all channels together, from the mean and std of each."""
    mean, sigma = (ops.convert_to_numpy(x).astype("float64") for x in (mean, sigma))
    return float(np.sqrt(np.mean(sigma**2) + np.var(mean)))


def _has_one_each(layer: LayerContext, gain: Tensor) -> bool:
    """Returns True if there is a bias for each gain, and it may be set."""
    bias = layer.bias()
    if bias is None or not layer.owner(bias).trainable:
        return False
    return math.prod(bias.shape) == math.prod(gain.shape)


def _order(channels: tuple[int, ...]) -> list[int]:
    """Returns the rank of each axis among all."""
    return [sorted(channels).index(axis) for axis in channels]


def _to_outputs(gain: Tensor, shape: Any, order: list[int]) -> Any:
    if len(order) > 1:
        gain = ops.transpose(gain, [order.index(i) for i in range(len(order))])
    return ops.reshape(gain, shape)


def _to_kernel(gain: Tensor, shape: Any, channels: Any, order: list[int]) -> Any:
    if len(order) > 1:
        sizes = [gain.shape[axis] for axis in sorted(channels)]
        gain = ops.transpose(ops.reshape(gain, sizes), order)
    return ops.reshape(gain, shape)


def _list(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:8]))
    return shown if len(numbers) <= 8 else f"{shown} and {len(numbers) - 8} more"
