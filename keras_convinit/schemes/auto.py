"""The rule that fits each kernel, by reading what stands around it."""

import dataclasses
import math
from typing import Any

from keras_convinit.graph import Graph, Site
from keras_convinit.schemes._named import named
from keras_convinit.schemes._rules import AbstractRules, Rule
from keras_convinit.schemes.arpit import Arpit
from keras_convinit.schemes.presets import gamma_and_classifier
from keras_convinit.schemes.zhang import (
    backward_rule,
    classifier_rule,
    forward_rule,
    own_rule,
)


@named("auto")
class Auto(AbstractRules):
    """Both papers, each kernel by the rule that fits what stands around it.

    | kernel | rule |
    |---|---|
    | of a weight-normalised layer | as by `Arpit` |
    | with a normalisation right behind it | eq. 41, with gamma |
    | the classifier | eq. 21 |
    | the last of a residual branch without any normalisation | eq. 22, divided by sqrt(B) |
    | any other | eq. 22 with the activation that really precedes |

    The division by sqrt(B), B being the number of blocks of the stage, is ours: it does
    for plain layers what Arpit et al. do for weight-normalised ones. A branch that the
    model divides itself is not divided again.

    Args:
        gamma: Of eq. 41: a positive number, or the name of a preset.
        classifier: None for the preset's rule or eq. 21, `"same"` for the rule of all
            others, or a Keras initializer.
        stride_aware: Whether fans count only what a strided window visits.

    Example:
        >>> layers = [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)]
        >>> model = keras.Sequential(layers)
        >>> report = keras_convinit.initialize(model, "auto", gamma=0.4, seed=0)

    Reference:
        Zhang et al. 2022, eq. 21, 22 and 41; Arpit et al. 2019, theorems 1 and 7.
    """  # noqa: E501

    def __init__(
        self,
        gamma: float | str = 1.0,
        classifier: Any = None,
        stride_aware: bool = False,
    ) -> None:
        self.gamma, self.classifier = gamma_and_classifier(gamma, classifier)
        self.stride_aware = stride_aware
        self._weight_norm = Arpit()
        self._normalized: dict[int, set[int]] = {}

    def rule(self, site: Site, graph: Graph) -> Rule:
        """The rule that fits."""
        same = self._rule(site, graph)
        if site.classifier:
            return own_rule("classifier", self.classifier, classifier_rule(), same)
        return same

    def _rule(self, site: Site, graph: Graph) -> Rule:
        if site.kernel.gain is not None:
            return self._weight_norm.gain_rule(site)
        if site.normalized:
            return backward_rule(site, self.gamma)
        rule = forward_rule(site)
        divided = (
            site.last_in_branch
            and not site.projection
            and site.branch_factor == site.absorbed == 1
            and (site.blocks or 1) > 1
            and not _is_normalized(site.branch, graph)
        )
        if divided:
            label = f"ours: {rule.label} / sqrt({site.blocks})"
            return dataclasses.replace(
                rule, label=label, factor=1 / math.sqrt(site.blocks or 1)
            )
        return rule


def _is_normalized(branch: int | None, graph: Graph) -> bool:
    return any(
        site.normalized or site.preceded_by_normalization
        for site in graph.sites
        if site.branch == branch
    )
