"""Residual networks without normalisation, whose branches begin at zero."""

import collections
import dataclasses
from typing import Any

import keras

from keras_convinit.graph import Graph, Site
from keras_convinit.schemes._named import named
from keras_convinit.schemes._rules import AbstractRules, Rule
from keras_convinit.schemes.zhang import own_rule


@named("fixup")
class Fixup(AbstractRules):
    """He's rule, times L^(-1 / (2m - 2)) in residual branches, which end with zeros.

    L is the number of residual blocks of the model, m that of the kernels in the
    branch: L^(-1/2) for blocks of two, L^(-1/4) for bottlenecks. The last kernel of
    each branch and the classifier are zero; so are the biases of all layers with
    kernels, unless `others` is `"keep"`. Of a weight-normalised layer the gain is
    zero, and the direction drawn.

    The paper adds a scalar bias in front of each layer and activation, and one scalar
    multiplier to each branch: `keras_convinit.layers.ScalarBias` and
    `ScalarMultiplier`, which are for the model to have.

    Args:
        initializer: Keras initializer of all kernels that are not zero. None for a
            normal distribution with the variance 2 / fan_out, as the paper's code.
        classifier: None for zeros, `"same"` for the initializer of all others, or a
            Keras initializer.

    Example:
        >>> x = inputs = keras.Input((4,))
        >>> for _ in range(3):
        ...     inner = keras.layers.Dense(4, activation="relu")(x)
        ...     x = x + keras.layers.Dense(4)(inner)
        >>> model = keras.Model(inputs, x)
        >>> report = keras_convinit.initialize(model, "fixup", seed=0)

    Reference:
        Zhang, Dauphin, Ma 2019, *Fixup Initialization: Residual Learning Without
        Normalization*, section 3.
    """

    zero_biases = True

    def __init__(self, initializer: Any = None, classifier: Any = None) -> None:
        if initializer is None:
            initializer = keras.initializers.VarianceScaling(
                2.0, "fan_out", "untruncated_normal"
            )
        self.initializer = keras.initializers.get(initializer)
        self.classifier = classifier
        self._lengths: dict[int | None, int] = {}

    def check(self, graph: Graph) -> None:
        """Refuses a model without residual branches, or with normalisation."""
        if not graph.stages:
            raise ValueError(
                "`model` must have residual blocks for the scheme Fixup; for others "
                'there is the scheme "auto". Received: a model with none'
            )
        for site in graph.sites:
            if site.normalized or site.preceded_by_normalization:
                where = "behind" if site.normalized else "before"
                raise ValueError(
                    "`model` must have no normalisation for the scheme Fixup; for "
                    'others there is the scheme "auto". '
                    f"Received: a model with one {where} {site.path}"
                )
        self._lengths = dict(
            collections.Counter(site.branch for site in graph.sites if _in_branch(site))
        )

    def rule(self, site: Site, graph: Graph) -> Rule:
        """The initializer, less in branches, nothing at their ends."""
        name = type(self.initializer).__name__
        if isinstance(self.initializer, keras.initializers.VarianceScaling):
            name = f"He ({self.initializer.mode})"
        same = Rule(name, self.initializer)
        if site.classifier:
            zero = dataclasses.replace(same, label="0 (classifier)", factor=0.0)
            return own_rule("classifier", self.classifier, zero, same)
        if not _in_branch(site):
            return same
        if site.last_in_branch:
            return dataclasses.replace(same, label="0 (last of branch)", factor=0.0)
        blocks, length = sum(graph.stages), self._lengths[site.branch]
        # A kernel behind which another one is the last has m > 1.
        power = 2 * max(length, 2) - 2
        label = f"{blocks}^(-1/{power}) {name}"
        return dataclasses.replace(same, label=label, factor=blocks ** (-1 / power))


def _in_branch(site: Site) -> bool:
    return site.branch is not None and not site.projection
