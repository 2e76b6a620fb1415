"""Gains and biases of weight-normalised layers, from what reaches them."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_convinit._checks import positive, positive_integer
from keras_convinit.graph import Graph, Site
from keras_convinit.kernels import Kernel, effective_kernel, gain_shape, kernels_of
from keras_convinit.schemes._forward import AbstractForward
from keras_convinit.schemes._linear_layer import broadcast, channel_axes, is_linear
from keras_convinit.schemes._named import named
from keras_convinit.schemes._visit import Visit, wide
from keras_convinit.schemes.zhang import SAME


@named("data_dependent")
class DataDependent(AbstractForward):
    """g = 1 / sigma, b = -mu / sigma: each output has mean 0 and deviation 1 on data.

    mu and sigma are the mean and the standard deviation of one output channel of
    x * v / ||v||, over samples and positions. In a residual block the branch and the
    projection are both normalised, and nothing behind their sum. A kernel that is not
    weight-normalised becomes what it would be if it were. What is not linear in its
    kernel, such as a recurrent layer, starts as its layer says.

    A channel that is constant on the data keeps its gain, and its bias as it is or as
    its layer says; the report names it. Without a bias the mean stays. Batch
    normalisation works with the statistics of the batch, dropout does nothing.

    Args:
        scaled: Whether to divide the last layer of a residual branch by sqrt(B) in a
            stage of B blocks, which is ours: otherwise the variance grows by 1 with
            each block. A branch that the model divides itself is not divided again.
        direction: Keras initializer of v, whose norm has no effect.
        epsilon: A channel is constant where sigma is no more than this share of the
            root mean square.
        classifier: None for what its layer says, or like all others if it is
            weight-normalised; `"same"` for like all others; or a Keras initializer.
        samples: How many samples to look at. None for the first batch of a data set,
            or the first 256 of arrays.

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
        direction: Any = "orthogonal",
        epsilon: float = 1e-5,
        classifier: Any = None,
        samples: int | None = None,
    ) -> None:
        self.scaled = bool(scaled)
        self.direction = self.initializer = keras.initializers.get(direction)
        self.epsilon = positive("epsilon", epsilon)
        same = classifier is None or (
            isinstance(classifier, str) and classifier == SAME
        )
        self.classifier = classifier if same else keras.initializers.get(classifier)
        self.samples = None if samples is None else positive_integer("samples", samples)

    def check(self, graph: Graph) -> None:
        """Refuses a model without weight-normalised layers."""
        if all(site.kernel.gain is None for site in graph.sites):
            raise ValueError(
                "`model` must have weight-normalised layers, such as those of "
                "`keras_convinit.layers`, for the scheme DataDependent; for others "
                'there are the schemes "auto" and "lsuv". '
                "Received: a model with none"
            )

    def treats(self, layer: Any, sites: list[tuple[Kernel, Site]]) -> bool:
        """What is linear, the plain classifier only if that is asked for."""
        kernel, site = sites[-1]
        if site.classifier and site.kernel.gain is None and self.classifier is None:
            return False
        # The last kernel gives the outputs, unless that is kept.
        return is_linear(layer) and kernel.name == kernels_of(layer)[-1].name

    def visit(self, visit: Visit) -> Any:
        """Normalises the outputs of a layer."""
        *others, (kernel, site) = visit.sites
        if site.classifier and isinstance(
            self.classifier, keras.initializers.Initializer
        ):
            rule = f"classifier by {type(self.classifier).__name__}"
            for one, place in visit.sites:
                visit.start(one, self.classifier)
                visit.report(one, place, rule)
            return visit.run()
        for one, place in others:
            self._unit(visit, one)
            visit.report(one, place, "v / ||v||")
        kept_gain = self._unit(visit, kernel)
        kept_bias = None if visit.bias is None else visit.pending.get(visit.bias)
        if kept_bias is not None:
            zeros = ops.zeros(visit.bias.shape, visit.bias.dtype)
            visit.pending.lend(visit.bias, zeros)
        with visit.bare() as activation:
            outputs = visit.run()
        factor, why = self._factor(site)
        gain, shift, dead, before, after = self._moments(
            visit, kernel, outputs, kept_gain, kept_bias, factor
        )

        def normalised(y: Any) -> Any:
            return ops.cast(wide(y) * gain + shift, y.dtype)

        outputs = visit.hand_on(outputs, normalised)
        if dead:
            message = f"constant channels keep their gains: {_listed(dead)}"
            visit.troubles.append((visit.path, message))
        visit.report(
            kernel,
            site,
            f"1/sigma{why}",
            tries=1,
            output_std_before=before,
            output_std_after=after,
        )
        if _has_one_each(visit, kept_gain):
            visit.note(kernel, visit.bias, "-mu/sigma", shift)
        else:
            message = "without a bias for each channel that is trained, the means stay"
            visit.troubles.append((visit.path, message))
        return outputs if activation is None else visit.hand_on(outputs, activation)

    def _unit(self, visit: Visit, kernel: Kernel) -> Any:
        """Draws v, with gains of 1; gives the gains that were."""
        pending, axes = visit.pending, kernel.geometry.output_axes
        before = None if kernel.gain is None else pending.get(kernel.gain)
        visit.start(kernel, self.direction)
        shape = gain_shape(kernel.variable.shape, axes)
        ones = ops.ones(shape, "float32")
        if kernel.gain is not None:
            pending.put(kernel.gain, ones)
            return before
        direction = pending.get(kernel.variable)
        pending.put(kernel.variable, effective_kernel(direction, ones, axes))
        return ones

    def _factor(self, site: Site) -> tuple[float, str]:
        if site.absorbed != 1:
            return site.absorbed, f" * {site.absorbed:.4g}"
        divided = (
            self.scaled
            and site.last_in_branch
            and not site.projection
            and site.branch_factor == 1
            and (site.blocks or 1) > 1
        )
        if not divided:
            return 1.0, ""
        return 1 / math.sqrt(site.blocks or 1), f" / sqrt({site.blocks})"

    def _moments(
        self,
        visit: Visit,
        kernel: Kernel,
        outputs: Any,
        kept_gain: Any,
        kept_bias: Any,
        factor: float,
    ) -> tuple[Any, Any, list[int], float, float]:
        """Sets gain and bias; gives them for the outputs.

        With them come the dead channels, and the deviation of all outputs together,
        before and after.
        """
        outputs = wide(outputs)
        rank = len(outputs.shape)
        channels = channel_axes(visit.layer, kernel, rank)
        others = [axis for axis in range(rank) if axis not in channels]
        mean = ops.mean(outputs, axis=others, keepdims=True)
        # Two passes over the outputs and no more; `ops.moments` is too coarse on JAX.
        centred = ops.square(outputs - mean)
        sigma = ops.sqrt(ops.mean(centred, axis=others, keepdims=True))
        size = ops.sqrt(ops.square(mean) + ops.square(sigma))
        dead = sigma <= self.epsilon * size
        order = _order(channels)
        kept = _to_outputs(kept_gain, mean.shape, order)
        gain = ops.where(dead, kept, factor / ops.where(dead, 1.0, sigma))
        shift = ops.zeros_like(mean)
        pending = visit.pending
        if _has_one_each(visit, kept_gain):
            kept = ops.broadcast_to(broadcast(kept_bias, visit.layer), mean.shape)
            shift = ops.where(dead, kept, -mean * gain)
            pending.put(visit.bias, ops.reshape(shift, visit.bias.shape))
        elif visit.bias is not None:
            pending.lend(visit.bias, ops.cast(kept_bias, visit.bias.dtype))
            shift = broadcast(kept_bias, visit.layer)
        values = _to_kernel(gain, kept_gain.shape, channels, order)
        if kernel.gain is not None:
            pending.put(kernel.gain, values)
        else:
            direction = pending.get(kernel.variable)
            axes = kernel.geometry.output_axes
            pending.put(kernel.variable, effective_kernel(direction, values, axes))
        flags = ops.convert_to_numpy(ops.reshape(dead, (-1,)))
        return (
            gain,
            shift,
            [index for index, flag in enumerate(flags) if flag],
            _together(mean, sigma),
            _together(mean * gain + shift, sigma * gain),
        )


def _together(mean: Any, sigma: Any) -> float:
    """The deviation of all channels together, from means and deviations of each."""
    mean, sigma = (ops.convert_to_numpy(x).astype("float64") for x in (mean, sigma))
    return float(np.sqrt(np.mean(sigma**2) + np.var(mean)))


def _has_one_each(visit: Visit, gain: Any) -> bool:
    """Whether there is a bias for each gain, and may be set."""
    bias = visit.bias
    if bias is None or not visit.owner(bias).trainable:
        return False
    return math.prod(bias.shape) == math.prod(gain.shape)


def _order(channels: tuple[int, ...]) -> list[int]:
    """Where each of the axes stands when they are sorted."""
    return [sorted(channels).index(axis) for axis in channels]


def _to_outputs(gain: Any, shape: Any, order: list[int]) -> Any:
    if len(order) > 1:
        gain = ops.transpose(gain, [order.index(i) for i in range(len(order))])
    return ops.reshape(gain, shape)


def _to_kernel(gain: Any, shape: Any, channels: Any, order: list[int]) -> Any:
    if len(order) > 1:
        sizes = [gain.shape[axis] for axis in sorted(channels)]
        gain = ops.transpose(ops.reshape(gain, sizes), order)
    return ops.reshape(gain, shape)


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:8]))
    return shown if len(numbers) <= 8 else f"{shown} and {len(numbers) - 8} more"
