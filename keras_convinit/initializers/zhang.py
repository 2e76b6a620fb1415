"""Initializers with the variance rules of Zhang et al. 2022, forward and backward."""

import math
import types
from collections.abc import Callable

import keras

from keras_convinit._checks import check_positive
from keras_convinit._registry import register
from keras_convinit._types import ActivationLike, Config, Seed
from keras_convinit.geometry import Geometry
from keras_convinit.initializers._drawing import FanInitializer
from keras_convinit.scales import backward_scale, forward_scale


@register("zhang_forward")
class ZhangForward(FanInitializer):
    """Keeps the second moment of the forward signal, for any activation.

    The weights are normal, not truncated, with

        Var(w) = scale * forward_scale(activation, variance) / fan_in.

    Use `activation="linear"` (the paper's eq. 21) for the first layer, which no
    activation precedes. As a string, `"zhang_forward"` is the rule for ReLU.

    Keras calls it with the shape of the kernel alone, which is taken for that of an
    ordinary Dense or Conv layer, so that `fan_in` is wrong for depthwise and transposed
    convolutions. `keras_convinit.initialize` uses the true geometry of each layer.

    Args:
        activation: The activation that *precedes* the layer: None, the name of a Keras
            activation, an activation layer, or any elementwise function.
        scale: A positive factor on the variance.
        variance: Variance of the pre-activations, a positive number. It matters only
            where the activation is not positively homogeneous, such as tanh.
        seed: None, an integer, or a `keras.random.SeedGenerator`.

    Raises:
        ValueError: `activation` is unknown, not elementwise or without a second
            moment; `scale` or `variance` is not a finite positive number; or `seed`
            is not a seed.

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
        activation: ActivationLike = "relu",
        scale: float = 1.0,
        variance: float = 1.0,
        seed: Seed = None,
    ) -> None:
        super().__init__(seed)
        self.activation = _deserialize_activation(activation)
        self.scale = check_positive("scale", scale)
        self.variance = check_positive("variance", variance)
        self._forward_scale = forward_scale(self.activation, self.variance)

    def kernel_variance(self, geometry: Geometry, stride_aware: bool = False) -> float:
        """Computes Var(w) for a kernel of this geometry."""
        fan_in, _ = geometry.fans(stride_aware)
        return self.scale * self._forward_scale / fan_in

    def get_config(self) -> Config:
        """Returns constructor arguments for the same distribution, serializable.

        An activation that cannot be serialized, such as a function that is not
        registered with Keras or a layer that is trained, becomes `"linear"`, with the
        factor that it stands for in `scale`.
        """
        activation, factor = _serialize(
            self.activation, forward_scale, self.variance, self._forward_scale
        )
        return {
            "activation": activation,
            "scale": self.scale * factor,
            "variance": self.variance,
            **super().get_config(),
        }


@register("zhang_backward")
class ZhangBackward(FanInitializer):
    """Keeps the second moment of the backpropagated error, for any activation.

    The weights are normal, not truncated, with

        Var(w) = backward_scale(activation, variance) / (gamma * fan_out).

    `gamma` is a hyperparameter for convolutions that batch normalization follows.
    There the scale of the kernel changes neither the signal nor the error, but the
    effective step size: relative to its norm, a larger kernel moves less. The paper's
    values for a learning rate of 0.1 range from 0.4 (CIFAR-10, VGG-19) to 1.667
    (CIFAR-100, DenseNet-100). As a string, `"zhang_backward"` is the rule for ReLU with
    gamma 1.

    Keras calls it with the shape of the kernel alone, which is taken for that of an
    ordinary Dense or Conv layer, so that `fan_out` is wrong for grouped, depthwise and
    transposed convolutions. `keras_convinit.initialize` uses the true geometry of each
    layer.

    Args:
        activation: The activation that *follows* the layer: None, the name of a
            Keras activation, an activation layer, or any elementwise function that the
            backend can differentiate.
        gamma: A positive divisor of the variance.
        variance: Variance of the pre-activations, a positive number.
        seed: None, an integer, or a `keras.random.SeedGenerator`.

    Raises:
        ValueError: `activation` is unknown, not elementwise or not differentiable, or
            its derivative has no second moment or is zero; `gamma` or `variance` is
            not a finite positive number; or `seed` is not a seed.

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
        activation: ActivationLike = "relu",
        gamma: float = 1.0,
        variance: float = 1.0,
        seed: Seed = None,
    ) -> None:
        super().__init__(seed)
        self.activation = _deserialize_activation(activation)
        self.gamma = check_positive("gamma", gamma)
        self.variance = check_positive("variance", variance)
        self._backward_scale = backward_scale(self.activation, self.variance)

    def kernel_variance(self, geometry: Geometry, stride_aware: bool = False) -> float:
        """Computes Var(w) for a kernel of this geometry."""
        _, fan_out = geometry.fans(stride_aware)
        return self._backward_scale / (self.gamma * fan_out)

    def get_config(self) -> Config:
        """Returns constructor arguments for the same distribution, serializable.

        An activation that cannot be serialized, such as a function that is not
        registered with Keras or a layer that is trained, becomes `"linear"`, with the
        factor that it stands for in `gamma`.
        """
        activation, factor = _serialize(
            self.activation, backward_scale, self.variance, self._backward_scale
        )
        return {
            "activation": activation,
            "gamma": self.gamma / factor,
            "variance": self.variance,
            **super().get_config(),
        }


def _deserialize_activation(activation: ActivationLike) -> ActivationLike:
    if isinstance(activation, dict):
        return keras.saving.deserialize_keras_object(activation)
    return activation


def _serialize(
    activation: ActivationLike,
    rule: Callable[[ActivationLike, float], float],
    variance: float,
    scale: float,
) -> tuple[ActivationLike, float]:
    """Returns the serialized activation, and a factor of the variance beside it.

    Only an activation that is certain to be read back as it was is stored by name:
    Keras may have a function with the name of one of the user's own.
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
        config = keras.saving.serialize_keras_object(activation)
        # The slopes of a layer may be others than it started with.
        if _has_scale(config, rule, variance, scale):
            return config, 1.0
    return "linear", scale


def _has_scale(
    config: Config,
    rule: Callable[[ActivationLike, float], float],
    variance: float,
    scale: float,
) -> bool:
    try:
        found = rule(_deserialize_activation(config), variance)
    # Third-party layers may raise anything when they are deserialized.
    except Exception:
        return False
    return math.isclose(found, scale, rel_tol=1e-9)


def _is_registered(known: object) -> bool:
    name = keras.saving.get_registered_name(known)
    return keras.saving.get_registered_object(name) is known
