"""The rule of both papers that fits each kernel, from its surroundings."""

import dataclasses
import math

from keras_convinit._types import InitializerLike
from keras_convinit.analysis import KernelContext, ModelAnalysis
from keras_convinit.schemes.arpit import Arpit
from keras_convinit.schemes.base import register_scheme
from keras_convinit.schemes.per_kernel import KernelInit, PerKernelScheme
from keras_convinit.schemes.zhang import (
    backward_rule,
    classifier_rule,
    forward_rule,
    gamma_and_classifier,
    override_rule,
)


@register_scheme("auto")
class Auto(PerKernelScheme):
    """The rules of both papers, chosen for each kernel by its surroundings.

    | kernel | rule |
    |---|---|
    | of a weight-normalized layer | as by `Arpit` |
    | with a normalization right behind it | eq. 41, with gamma |
    | the classifier | eq. 21 |
    | the last of a residual branch without any normalization | eq. 22, divided by sqrt(B) |
    | any other | eq. 22 with the activation that really precedes |

    The division by sqrt(B), B being the number of blocks of the stage, is ours: it does
    for plain layers what Arpit et al. do for weight-normalized ones. A branch that the
    model divides itself is not divided again.

    Args:
        gamma: The factor of eq. 41: a positive number, or the name of a preset.
        classifier: None for the preset's rule or eq. 21, `"same"` for the rule of all
            others, or a Keras initializer.
        stride_aware: Whether fans count only the taps of a strided window that meet an
            input.

    Raises:
        ValueError: `gamma` is neither a positive number nor the name of a preset;
            `initialize` is called with a `classifier` that is nothing of the kind.

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
        classifier: InitializerLike = None,
        stride_aware: bool = False,
    ) -> None:
        self.gamma, self.classifier = gamma_and_classifier(gamma, classifier)
        self.stride_aware = stride_aware
        self._weight_norm = Arpit()

    def rule(self, context: KernelContext, analysis: ModelAnalysis) -> KernelInit:
        """Returns the rule of a kernel.

        Args:
            context: The kernel and its surroundings.
            analysis: The model.
        """
        same = self._rule(context, analysis)
        if context.classifier:
            return override_rule("classifier", self.classifier, classifier_rule(), same)
        return same

    def _rule(self, context: KernelContext, analysis: ModelAnalysis) -> KernelInit:
        if context.kernel.gain is not None:
            return self._weight_norm.gain_rule(context)
        if context.normalized:
            return backward_rule(context, self.gamma)
        rule = forward_rule(context)
        divided = (
            context.last_in_branch
            and context.branch_factor == context.absorbed == 1
            and (context.blocks or 1) > 1
            and not _is_normalized(context.branch, analysis)
        )
        if divided:
            label = f"ours: {rule.label} / sqrt({context.blocks})"
            return dataclasses.replace(
                rule, label=label, factor=1 / math.sqrt(context.blocks or 1)
            )
        return rule


def _is_normalized(branch: int | None, analysis: ModelAnalysis) -> bool:
    return any(
        context.normalized or context.preceded_by_normalization
        for context in analysis.branches.get(branch, ())
    )
