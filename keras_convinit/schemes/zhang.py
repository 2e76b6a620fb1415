"""The variance rules of Zhang et al., by what really stands around each kernel."""

import dataclasses
from typing import Any

import keras

from keras_convinit._checks import check_positive, look_up
from keras_convinit._types import ActivationLike, Initializer, InitializerLike
from keras_convinit.analysis import KernelContext, ModelAnalysis, activation_name
from keras_convinit.initializers import ZhangBackward, ZhangForward
from keras_convinit.schemes.base import register_scheme
from keras_convinit.schemes.per_kernel import KernelInit, PerKernelScheme


@dataclasses.dataclass(frozen=True)
class Preset:
    """The settings of the paper for one network.

    Args:
        dataset: The name of the data set.
        network: The name of the network.
        learning_rate: The initial learning rate that it was used with.
        gamma: The factor of eq. 41; the paper states 2 / gamma, the numerator of the
            variance.
        classifier_scale: The variance of the classifier is that divided by its fan_in;
            None for N(0, 0.01^2).

    Example:
        >>> from keras_convinit.schemes import preset
        >>> preset("zhang2022/cifar10/wrn28_10").classifier_scale
        0.25
    """

    dataset: str
    network: str
    learning_rate: float
    gamma: float
    classifier_scale: float | None

    def classifier(self) -> keras.initializers.Initializer:
        """Returns the initializer of the classifier."""
        if self.classifier_scale is None:
            # The paper says "constant 0.01". With equal weights all logits are equal
            # and no gradient reaches the features; the code that it builds on draws.
            return keras.initializers.RandomNormal(stddev=0.01)
        return ZhangForward("linear", scale=self.classifier_scale)


# Reference: Zhang et al. 2022, section 5: the numerators 5, 5, 5, 3 for CIFAR-10 and
# 1.5, 1.5, 1.2, 2.5 for CIFAR-100. "0.25/m" of the classifier is called a forward
# formula there, so m is taken for its fan_in.
PRESETS = {
    "zhang2022/cifar10/vgg19": Preset("cifar10", "vgg19", 0.1, 2 / 5, 1.0),
    "zhang2022/cifar10/resnet110": Preset("cifar10", "resnet110", 0.1, 2 / 5, 1.0),
    "zhang2022/cifar10/densenet100": Preset("cifar10", "densenet100", 0.1, 2 / 5, 1.0),
    "zhang2022/cifar10/wrn28_10": Preset("cifar10", "wrn28_10", 0.1, 2 / 3, 0.25),
    "zhang2022/cifar100/vgg19": Preset("cifar100", "vgg19", 0.1, 2 / 1.5, None),
    "zhang2022/cifar100/resnet110": Preset("cifar100", "resnet110", 0.1, 2 / 1.5, None),
    "zhang2022/cifar100/densenet100": Preset(
        "cifar100", "densenet100", 0.1, 2 / 1.2, 0.25
    ),
    "zhang2022/cifar100/wrn28_10": Preset("cifar100", "wrn28_10", 0.1, 2 / 2.5, 1.0),
}


def preset(name: str) -> Preset:
    """Returns the preset of a name.

    Args:
        name: Such as `"zhang2022/cifar10/vgg19"`.

    Returns:
        The preset.

    Raises:
        ValueError: No preset has the name.

    Example:
        >>> from keras_convinit.schemes import preset
        >>> preset("zhang2022/cifar10/vgg19").gamma
        0.4
    """
    return look_up("gamma", name, PRESETS, "a positive number or the name of a preset")


def gamma_and_classifier(
    gamma: float | str, classifier: InitializerLike
) -> tuple[float, Any]:
    """Returns gamma as a number, and the initializer of the classifier.

    Args:
        gamma: A positive number, or the name of a preset.
        classifier: An initializer of the caller's; None for that of the preset.

    Returns:
        gamma, and an initializer or None.

    Raises:
        ValueError: `gamma` is neither a positive number nor the name of a preset.
    """
    if isinstance(gamma, str):
        settings = preset(gamma)
        if classifier is None:
            classifier = settings.classifier()
        return settings.gamma, classifier
    return check_positive("gamma", gamma), classifier


SAME = "same"


def override_rule(
    label: str, initializer: Initializer, default: KernelInit, same: KernelInit
) -> KernelInit:
    """Resolves an override of the rule of the classifier or the first layer.

    Args:
        label: The name of the kernel in the report.
        initializer: None for `default`, `"same"` for `same`, or a Keras initializer.
        default: The rule without an override.
        same: The rule of all other kernels.

    Returns:
        One of the rules, or a new one.
    """
    if initializer is None:
        return default
    if isinstance(initializer, str) and initializer == SAME:
        return same
    found = keras.initializers.get(initializer)
    return KernelInit(f"{label} by {type(found).__name__}", found)


def classifier_rule() -> KernelInit:
    """Returns eq. 21, a variance of 1 / fan_in."""
    return KernelInit("eq. 21 (classifier)", ZhangForward("linear"))


@register_scheme("zhang_forward")
class ZhangForwardScheme(PerKernelScheme):
    """Var(w) = scale * forward_scale / fan_in: the signal keeps its size.

    The activation is the one that really precedes: none for the first layer and behind
    a sum of residual branches, whose variance is that of eq. 21.

    Args:
        activation: For kernels behind an activation that cannot be read, or all
            kernels: an activation as `forward_scale` takes it. None for the one that
            precedes.
        scale: Factor of all variances but the classifier's.
        variance: The variance of what the activation is applied to.
        classifier: None for eq. 21, `"same"` for the rule of all others, or a Keras
            initializer.
        first: The same for the first layer, for which None is eq. 21 too.
        stride_aware: Whether fans count only the taps of a strided window that meet an
            input.

    Raises:
        ValueError: `scale` or `variance` is not a positive number; `initialize` is
            called with an `activation` that is not elementwise or not known, or with a
            `classifier` or `first` that is nothing of the kind.

    Example:
        >>> layers = [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)]
        >>> model = keras.Sequential(layers)
        >>> report = keras_convinit.initialize(model, "zhang_forward", scale=1.5)

    Reference:
        Zhang et al. 2022, *Necessary conditions for convergence of CNNs and
        initialization of convolution kernels*, eq. 21 and 22.
    """

    def __init__(
        self,
        activation: ActivationLike = None,
        scale: float = 1.0,
        variance: float = 1.0,
        classifier: InitializerLike = None,
        first: Any = None,
        stride_aware: bool = False,
    ) -> None:
        self.activation = activation
        self.scale = check_positive("scale", scale)
        self.variance = check_positive("variance", variance)
        self.classifier = classifier
        self.first = first
        self.stride_aware = stride_aware

    def rule(self, context: KernelContext, analysis: ModelAnalysis) -> KernelInit:
        """Returns eq. 22; eq. 21 for the first layer and the classifier.

        Args:
            context: The kernel and its surroundings.
            analysis: The model.
        """
        del analysis
        same = forward_rule(context, self.activation, self.scale, self.variance)
        if context.classifier:
            return override_rule("classifier", self.classifier, classifier_rule(), same)
        if context.first:
            linear = ZhangForward("linear", scale=self.scale)
            default = KernelInit("eq. 21 (first layer)", linear)
            return override_rule("first layer", self.first, default, same)
        return same


def forward_rule(
    context: KernelContext,
    activation: ActivationLike = None,
    scale: float = 1.0,
    variance: float = 1.0,
) -> KernelInit:
    """Returns eq. 22 with the activation that precedes, eq. 21 if none does."""
    before = context.preceding if activation is None else activation
    linear = ZhangForward("linear", scale=scale)
    if before is None:
        return KernelInit("eq. 21 (nothing before)", linear)
    name = activation_name(before)
    try:
        initializer = ZhangForward(before, scale=scale, variance=variance)
    except ValueError:
        if activation is not None:
            raise
        return KernelInit(f"eq. 21 ({name} before is not elementwise)", linear)
    return KernelInit(f"eq. 22 ({name} before)", initializer)


@register_scheme("zhang_backward")
class ZhangBackwardScheme(PerKernelScheme):
    """Var(w) = backward_scale / (gamma * fan_out): the error signal keeps its size.

    For every kernel but the classifier's, stem and shortcuts included, with the
    activation that follows. With batch normalization behind it, the size of a kernel
    changes neither signal nor error signal, but how much a step changes the kernel:
    that goes with gamma (eq. 41), which goes with the learning rate.

    Args:
        activation: For all kernels; None for the one that follows.
        gamma: A positive number, or the name of a preset of
            `keras_convinit.schemes.PRESETS`, which brings a rule for the classifier.
        variance: The variance of what the activation is applied to.
        classifier: None for the preset's rule or eq. 21, `"same"` for the rule of all
            others, or a Keras initializer.
        stride_aware: Whether fans count only the taps of a strided window that meet an
            input.

    Raises:
        ValueError: `gamma` is neither a positive number nor the name of a preset, or
            `variance` not a positive number; `initialize` is called with an
            `activation` that is not elementwise or has no derivative, or with a
            `classifier` that is nothing of the kind.

    Example:
        >>> layers = [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)]
        >>> model = keras.Sequential(layers)
        >>> gamma = "zhang2022/cifar10/vgg19"
        >>> report = keras_convinit.initialize(model, "zhang_backward", gamma=gamma)

    Reference:
        Zhang et al. 2022, *Necessary conditions for convergence of CNNs and
        initialization of convolution kernels*, eq. 34 and 41.
    """

    def __init__(
        self,
        activation: ActivationLike = None,
        gamma: float | str = 1.0,
        variance: float = 1.0,
        classifier: InitializerLike = None,
        stride_aware: bool = False,
    ) -> None:
        self.gamma, self.classifier = gamma_and_classifier(gamma, classifier)
        self.activation = activation
        self.variance = check_positive("variance", variance)
        self.stride_aware = stride_aware

    def rule(self, context: KernelContext, analysis: ModelAnalysis) -> KernelInit:
        """Returns eq. 34; eq. 41 before a normalization, eq. 21 for the classifier.

        Args:
            context: The kernel and its surroundings.
            analysis: The model.
        """
        del analysis
        same = backward_rule(context, self.gamma, self.activation, self.variance)
        if context.classifier:
            return override_rule("classifier", self.classifier, classifier_rule(), same)
        return same


def backward_rule(
    context: KernelContext,
    gamma: float,
    activation: ActivationLike = None,
    variance: float = 1.0,
) -> KernelInit:
    """Returns eq. 34 with the activation that follows; eq. 41 if it is normalized."""
    after = context.following if activation is None else activation
    what = "nothing after" if after is None else f"{activation_name(after)} after"
    try:
        initializer = ZhangBackward(
            "linear" if after is None else after, gamma=gamma, variance=variance
        )
    except ValueError:
        if activation is not None:
            raise
        initializer = ZhangBackward("linear", gamma=gamma)
        what += " is not elementwise"
    if context.normalized or gamma != 1:
        return KernelInit(f"eq. 41 ({what}, gamma {gamma:.4g})", initializer)
    return KernelInit(f"eq. 34 ({what})", initializer)
