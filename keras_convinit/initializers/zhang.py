"""The variance rules of Zhang et al. 2022, forward and backward."""

import math
import types
from collections.abc import Callable
from typing import Any

import keras

from keras_convinit._checks import positive
from keras_convinit._registry import register
from keras_convinit.geometry import Geometry
from keras_convinit.initializers._fan import AbstractFan
from keras_convinit.scales import backward_scale, forward_scale


@register("zhang_forward")
class ZhangForward(AbstractFan):
    """Keeps the size of the signal on its way forward, for any activation.

    The weights are normal, not truncated, with

        Var(w) = scale * forward_scale(activation, variance) / fan_in.

    For the first layer and for a classifier nothing precedes, or the paper's eq. 21 is
    wanted: `activation="linear"`. As a string, `"zhang_forward"` is the rule for ReLU.

    Called by Keras it sees only the shape of the kernel, and takes it for that of an
    ordinary Dense or Conv layer; `fan_in` is wrong for a depthwise or a transposed
    convolution. `keras_convinit.kernels_of` tells the truth about a layer.

    Args:
        activation: The activation that *precedes* the layer: None, the name of a Keras
            activation, an activation layer, or any elementwise function.
        scale: A positive factor on the variance.
        variance: Variance of the pre-activations that enter the activation. It matters
            where the activation is not homogeneous, such as tanh.
        seed: None, an integer, or a `keras.random.SeedGenerator`.

    Raises:
        ValueError: An argument is not what is said here.

    Example:
        >>> from keras_convinit.initializers import ZhangForward
        >>> layer = keras.layers.Conv2D(64, 3, kernel_initializer="zhang_forward")
        >>> layer = keras.layers.Conv2D(
        ...     64, 3, kernel_initializer=ZhangForward(keras.layers.LeakyReLU(0.25))
        ... )

    Reference:
        Zhang et al. 2022, *Necessary conditions for convergence of CNNs and
        initialization of convolution kernels*, eq. 21 (linear), eq. 22 (any
        activation), eq. 24 (ReLU). Eq. 25 (PReLU) is misprinted: it must read
        2 / ((1 + a^2) n).
    """

    def __init__(
        self,
        activation: Any = "relu",
        scale: float = 1.0,
        variance: float = 1.0,
        seed: Any = None,
    ) -> None:
        super().__init__(seed)
        self.activation = _activation(activation)
        self.scale = positive("scale", scale)
        self.variance = positive("variance", variance)
        self._forward_scale = forward_scale(self.activation, self.variance)

    def kernel_variance(self, geometry: Geometry, stride_aware: bool = False) -> float:
        """Var(w) for a kernel of this geometry."""
        fan_in, _ = geometry.fans(stride_aware)
        return self.scale * self._forward_scale / fan_in

    def get_config(self) -> dict[str, Any]:
        """The arguments with which to make an initializer of the same law.

        An activation that cannot be told in words, such as a function that is not
        registered with Keras or a layer that is trained, goes into `scale`, beside the
        activation `"linear"`.
        """
        activation, factor = _in_file(
            self.activation, forward_scale, self.variance, self._forward_scale
        )
        return {
            "activation": activation,
            "scale": self.scale * factor,
            "variance": self.variance,
            **super().get_config(),
        }


@register("zhang_backward")
class ZhangBackward(AbstractFan):
    """Keeps the size of the error signal on its way back, for any activation.

    The weights are normal, not truncated, with

        Var(w) = backward_scale(activation, variance) / (gamma * fan_out).

    `gamma` is the paper's knob for convolutions that batch normalisation follows.
    There the size of the kernel changes neither the signal nor the error signal, but
    the step that a learning rate takes: a larger kernel moves less. The paper's
    choices for a learning rate of 0.1 run from 0.4 (CIFAR-10, VGG-19) to 1.667
    (CIFAR-100, DenseNet-100). As a string, `"zhang_backward"` is the rule for ReLU with
    gamma 1.

    Called by Keras it sees only the shape of the kernel, and takes it for that of an
    ordinary Dense or Conv layer; `fan_out` is wrong for a grouped, depthwise or
    transposed convolution. `keras_convinit.kernels_of` tells the truth about a layer.

    Args:
        activation: The activation that the error signal passes: None, the name of a
            Keras activation, an activation layer, or any elementwise function that the
            backend can differentiate.
        gamma: A positive divisor of the variance.
        variance: Variance of the pre-activations that enter the activation.
        seed: None, an integer, or a `keras.random.SeedGenerator`.

    Raises:
        ValueError: An argument is not what is said here.

    Example:
        >>> from keras_convinit.initializers import ZhangBackward
        >>> layer = keras.layers.Conv2D(64, 3, kernel_initializer="zhang_backward")
        >>> layer = keras.layers.Conv2D(
        ...     64, 3, kernel_initializer=ZhangBackward(gamma=0.4)
        ... )

    Reference:
        Zhang et al. 2022, *Necessary conditions for convergence of CNNs and
        initialization of convolution kernels*, eq. 34 (any activation), eq. 36 (ReLU),
        eq. 41 (gamma). A factor gamma on the error signal scales its variance by
        gamma^2; the paper prints gamma, its presets follow the print, and so does this.
    """

    def __init__(
        self,
        activation: Any = "relu",
        gamma: float = 1.0,
        variance: float = 1.0,
        seed: Any = None,
    ) -> None:
        super().__init__(seed)
        self.activation = _activation(activation)
        self.gamma = positive("gamma", gamma)
        self.variance = positive("variance", variance)
        self._backward_scale = backward_scale(self.activation, self.variance)

    def kernel_variance(self, geometry: Geometry, stride_aware: bool = False) -> float:
        """Var(w) for a kernel of this geometry."""
        _, fan_out = geometry.fans(stride_aware)
        return self._backward_scale / (self.gamma * fan_out)

    def get_config(self) -> dict[str, Any]:
        """The arguments with which to make an initializer of the same law.

        An activation that cannot be told in words, such as a function that is not
        registered with Keras or a layer that is trained, goes into `gamma`, beside the
        activation `"linear"`.
        """
        activation, factor = _in_file(
            self.activation, backward_scale, self.variance, self._backward_scale
        )
        return {
            "activation": activation,
            "gamma": self.gamma / factor,
            "variance": self.variance,
            **super().get_config(),
        }


def _activation(activation: Any) -> Any:
    if isinstance(activation, dict):
        return keras.saving.deserialize_keras_object(activation)
    return activation


def _in_file(
    activation: Any, rule: Callable[[Any, float], float], variance: float, scale: float
) -> tuple[Any, float]:
    """What a file says of an activation, and the factor of the variance beside it.

    Only what is read back everywhere as it was is told by its name. Under that of a
    function of the user's own there may be one of Keras.
    """
    while isinstance(activation, keras.layers.Activation):
        activation = activation.activation
    if activation is None or isinstance(activation, str):
        return activation, 1.0
    name = getattr(activation, "__name__", "")
    if activation is getattr(keras.activations, name, None):
        return name, 1.0
    if isinstance(activation, types.FunctionType):
        if _is_registered(activation):
            return keras.activations.serialize(activation), 1.0
    elif type(activation).__module__.startswith("keras.") or _is_registered(
        type(activation)
    ):
        words = keras.saving.serialize_keras_object(activation)
        # The slopes of a layer may be others than it started with.
        if _has_scale(words, rule, variance, scale):
            return words, 1.0
    return "linear", scale


def _has_scale(
    words: Any, rule: Callable[[Any, float], float], variance: float, scale: float
) -> bool:
    try:
        found = rule(_activation(words), variance)
    # Layers of others may fail in any way when they are made again.
    except Exception:
        return False
    return math.isclose(found, scale, rel_tol=1e-9)


def _is_registered(known: Any) -> bool:
    name = keras.saving.get_registered_name(known)
    return keras.saving.get_registered_object(name) is known
