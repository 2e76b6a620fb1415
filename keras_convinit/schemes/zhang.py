"""The variance rules of Zhang et al., by what really stands around each kernel."""

from typing import Any

import keras

from keras_convinit._checks import positive
from keras_convinit.graph import Graph, Site, activation_name
from keras_convinit.initializers import ZhangBackward as BackwardInitializer
from keras_convinit.initializers import ZhangForward as ForwardInitializer
from keras_convinit.schemes._named import named
from keras_convinit.schemes._rules import AbstractRules, Rule
from keras_convinit.schemes.presets import gamma_and_classifier

SAME = "same"


def own_rule(label: str, initializer: Any, default: Rule, same: Rule) -> Rule:
    """What the caller wants for a kernel that stands out.

    Args:
        label: What it is called in the report.
        initializer: None for the default, `"same"` for the rule of all others, or an
            initializer.
        default: The default.
        same: The rule of all others.

    Returns:
        One of the rules, or a new one.
    """
    if initializer is None:
        return default
    if isinstance(initializer, str) and initializer == SAME:
        return same
    found = keras.initializers.get(initializer)
    return Rule(f"{label} by {type(found).__name__}", found)


def classifier_rule() -> Rule:
    """Eq. 21: a variance of 1 / fan_in, for what no activation precedes or follows."""
    return Rule("eq. 21 (classifier)", ForwardInitializer("linear"))


@named("zhang_forward")
class ZhangForward(AbstractRules):
    """Var(w) = scale * forward_scale / fan_in: the signal keeps its size.

    The activation is the one that really precedes: none for the first layer and behind
    a sum of residual branches, whose variance is that of eq. 21.

    Args:
        activation: For kernels behind an activation that cannot be read, or all
            kernels: an activation as `forward_scale` takes it. None for what the graph
            says.
        scale: Factor of all variances but the classifier's.
        variance: The variance of what the activation is applied to.
        classifier: None for eq. 21, `"same"` for the rule of all others, or a Keras
            initializer.
        first: The same for the first layer, for which None is eq. 21 too.
        stride_aware: Whether fans count only what a strided window visits.

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
        activation: Any = None,
        scale: float = 1.0,
        variance: float = 1.0,
        classifier: Any = None,
        first: Any = None,
        stride_aware: bool = False,
    ) -> None:
        self.activation = activation
        self.scale = positive("scale", scale)
        self.variance = positive("variance", variance)
        self.classifier = classifier
        self.first = first
        self.stride_aware = stride_aware

    def rule(self, site: Site, graph: Graph) -> Rule:
        """Eq. 22, eq. 21 for the first layer and the classifier."""
        del graph
        same = forward_rule(site, self.activation, self.scale, self.variance)
        if site.classifier:
            return own_rule("classifier", self.classifier, classifier_rule(), same)
        if site.first:
            linear = ForwardInitializer("linear", scale=self.scale)
            default = Rule("eq. 21 (first layer)", linear)
            return own_rule("first layer", self.first, default, same)
        return same


def forward_rule(
    site: Site, activation: Any = None, scale: float = 1.0, variance: float = 1.0
) -> Rule:
    """Eq. 22 with the activation that precedes, eq. 21 where none does."""
    before = site.preceding if activation is None else activation
    linear = ForwardInitializer("linear", scale=scale)
    if before is None:
        return Rule("eq. 21 (nothing before)", linear)
    name = activation_name(before)
    try:
        initializer = ForwardInitializer(before, scale=scale, variance=variance)
    except ValueError:
        if activation is not None:
            raise
        return Rule(f"eq. 21 ({name} before is not elementwise)", linear)
    return Rule(f"eq. 22 ({name} before)", initializer)


@named("zhang_backward")
class ZhangBackward(AbstractRules):
    """Var(w) = backward_scale / (gamma * fan_out): the error signal keeps its size.

    For every kernel but the classifier's, stem and shortcuts included, with the
    activation that follows. With batch normalisation behind it, the size of a kernel
    changes neither signal nor error signal, but how much a step changes the kernel:
    that goes with gamma (eq. 41), which goes with the learning rate.

    Args:
        gamma: A positive number, or the name of a preset of
            `keras_convinit.schemes.presets`, which brings a rule for the classifier.
        activation: For all kernels; None for what the graph says follows.
        variance: The variance of what the activation is applied to.
        classifier: None for the preset's rule or eq. 21, `"same"` for the rule of all
            others, or a Keras initializer.
        stride_aware: Whether fans count only what a strided window visits.

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
        gamma: float | str = 1.0,
        activation: Any = None,
        variance: float = 1.0,
        classifier: Any = None,
        stride_aware: bool = False,
    ) -> None:
        self.gamma, self.classifier = gamma_and_classifier(gamma, classifier)
        self.activation = activation
        self.variance = positive("variance", variance)
        self.stride_aware = stride_aware

    def rule(self, site: Site, graph: Graph) -> Rule:
        """Eq. 34, eq. 41 before a normalisation, eq. 21 for the classifier."""
        del graph
        same = backward_rule(site, self.gamma, self.activation, self.variance)
        if site.classifier:
            return own_rule("classifier", self.classifier, classifier_rule(), same)
        return same


def backward_rule(
    site: Site, gamma: float, activation: Any = None, variance: float = 1.0
) -> Rule:
    """Eq. 34 with the activation that follows, eq. 41 before a normalisation."""
    after = site.following if activation is None else activation
    what = "nothing after" if after is None else f"{activation_name(after)} after"
    try:
        initializer = BackwardInitializer(
            "linear" if after is None else after, gamma=gamma, variance=variance
        )
    except ValueError:
        if activation is not None:
            raise
        initializer = BackwardInitializer("linear", gamma=gamma)
        what += " is not elementwise"
    if site.normalized or gamma != 1:
        return Rule(f"eq. 41 ({what}, gamma {gamma:.4g})", initializer)
    return Rule(f"eq. 34 ({what})", initializer)
