"""The gains of Arpit et al. for weight-normalised networks, and their baselines."""

from typing import Any

import keras

from keras_convinit.graph import Graph, Site, activation_name
from keras_convinit.initializers import WeightNormGain
from keras_convinit.scales import forward_scale
from keras_convinit.schemes._named import named
from keras_convinit.schemes._rules import AbstractRules, Rule
from keras_convinit.schemes.zhang import SAME, own_rule

# Of the last layer of the b-th block of a stage, b = 1, 2, ...
HANIN = 0.9


class AbstractGains(AbstractRules):
    """Directions by one initializer, gains by the place in the network.

    Args:
        direction: Keras initializer of v.
        mode: Of the gains, see `WeightNormGain`.
        classifier: None for an orthogonal kernel, `"same"` for a gain like all others,
            or a Keras initializer.
    """

    def __init__(
        self,
        direction: Any = "orthogonal",
        mode: str = "forward",
        classifier: Any = None,
    ) -> None:
        self.direction = keras.initializers.get(direction)
        self.mode = WeightNormGain(mode=mode).mode
        self.classifier = classifier

    def check(self, graph: Graph) -> None:
        """Refuses a model without weight-normalised layers."""
        if all(site.kernel.gain is None for site in graph.sites):
            raise ValueError(
                "`model` must have weight-normalised layers, such as those of "
                f"`keras_convinit.layers`, for the scheme {self.name()}; for others "
                'there is the scheme "auto". Received: a model with none'
            )

    def rule(self, site: Site, graph: Graph) -> Rule:
        """A gain by position, an orthogonal kernel for the classifier."""
        del graph
        same = self.gain_rule(site)
        if site.classifier:
            orthogonal = keras.initializers.Orthogonal()
            default = Rule("orthogonal (classifier)", orthogonal)
            return own_rule("classifier", self.classifier, default, same)
        return same

    def gain_rule(self, site: Site) -> Rule:
        """The gain of a kernel that is not the classifier's."""
        gamma, why = self.gamma(site)

        def gains(copy: int) -> WeightNormGain:
            del copy
            return WeightNormGain(gamma, mode=self.mode)

        return Rule(f"gamma {why}", self.direction, gains)

    def gamma(self, site: Site) -> tuple[float, str]:
        """What the layer has to make up for, and how to say it."""
        if site.projection:
            return 1.0, "1 (projection)"
        if site.last_in_branch:
            return last_of_branch(site)
        return of_activation(site)


def of_activation(site: Site) -> tuple[float, str]:
    """The gamma of a layer by the activation that follows it."""
    if site.following is None:
        return 1.0, "1 (nothing after)"
    name = activation_name(site.following)
    try:
        gamma = forward_scale(site.following)
    except ValueError:
        return 1.0, f"1 ({name} is not elementwise)"
    return gamma, f"{gamma:.4g} ({name} after)"


def last_of_branch(site: Site) -> tuple[float, str]:
    """The gamma of the last layer of a branch: 1 / B, unless the model divides."""
    if site.branch_factor != 1:
        return 1.0, "1 (last, the model divides)"
    if site.absorbed != 1:
        return 1.0, "1 (last, the gain divides)"
    blocks = site.blocks or 1
    return 1 / blocks, f"1/{blocks} (last of branch)"


@named("arpit")
class Arpit(AbstractGains):
    """g = sqrt(gamma * inputs / outputs), gamma by position, orthogonal directions.

    gamma is 2 where ReLU follows (the `forward_scale` of another activation), 1 where
    none does and for projections, 1 / B for the last layer of a residual branch in a
    stage of B blocks. A branch that the model divides by sqrt(B) itself, as
    `ScaledResidual` does, has 1. Biases are zero. A kernel that is not
    weight-normalised becomes what it would be if it were.

    Args:
        direction: Keras initializer of v, whose norm has no effect.
        mode: `"forward"` for the norm of the signal, `"backward"` for that of the
            error signal.
        classifier: None for an orthogonal kernel, as the paper says; `"same"` for a
            gain like all others; or a Keras initializer, such as PyTorch's
            `VarianceScaling(1 / 3, distribution="uniform")` that the paper's code has.

    Example:
        >>> layer = keras_convinit.layers.WeightNormDense(4)
        >>> model = keras.Sequential([keras.Input((8,)), layer])
        >>> scheme = keras_convinit.schemes.Arpit(mode="backward")
        >>> report = keras_convinit.initialize(model, scheme, seed=0)

    Reference:
        Arpit, Campos, Bengio 2019, *How to Initialize your Network? Robust
        Initialization for WeightNorm & ResNets*, theorems 1, 2 and 7.
    """


@named("hanin")
class Hanin(AbstractGains):
    """Like `Arpit`, with g = 0.9^b for the last layer of the b-th block of a stage.

    Meant for models that do not divide their branches.

    Args:
        direction: Keras initializer of v, whose norm has no effect.
        mode: `"forward"` or `"backward"`.
        classifier: As of `Arpit`.

    Example:
        >>> layer = keras_convinit.layers.WeightNormDense(4)
        >>> model = keras.Sequential([keras.Input((8,)), layer])
        >>> report = keras_convinit.initialize(model, "hanin", seed=0)

    Reference:
        Hanin and Rolnick 2018, *How to Start Training: The Effect of Initialization
        and Architecture*; for stages as in the code of Arpit, Campos, Bengio 2019.
    """

    def gain_rule(self, site: Site) -> Rule:
        """0.9^b for the last of a branch, the gains of `Arpit` elsewhere."""
        if not site.last_in_branch or site.projection or site.block is None:
            return super().gain_rule(site)
        first = site.block + 1

        def gains(copy: int) -> WeightNormGain:
            return WeightNormGain(HANIN ** (2 * (first + copy)), mode=self.mode)

        last = first + site.kernel.copies - 1
        blocks = f"b = {first}" if last == first else f"b = {first} to {last}"
        return Rule(f"0.9^b ({blocks})", self.direction, gains)


@named("kernel")
class KernelGain(AbstractGains):
    """g = ||v||: the effective kernel is v as it was drawn, as PyTorch does it.

    Args:
        direction: Keras initializer of v.
        classifier: None for v's initializer like all others, or a Keras initializer.

    Example:
        >>> layer = keras_convinit.layers.WeightNormDense(4)
        >>> model = keras.Sequential([keras.Input((8,)), layer])
        >>> scheme = keras_convinit.schemes.KernelGain("orthogonal")
        >>> report = keras_convinit.initialize(model, scheme, seed=0)
    """

    def __init__(self, direction: Any = "he_normal", classifier: Any = None) -> None:
        super().__init__(
            direction, "kernel", SAME if classifier is None else classifier
        )

    def gain_rule(self, site: Site) -> Rule:
        """The kernel as it is drawn."""
        del site
        return Rule("g = ||v||", self.direction)
