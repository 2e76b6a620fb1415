"""Fixup: residual networks without normalization, whose branches begin at zero."""

import dataclasses

import keras

from keras_convinit._types import InitializerLike
from keras_convinit.analysis import KernelContext, ModelAnalysis
from keras_convinit.schemes.base import register_scheme
from keras_convinit.schemes.per_kernel import KernelInit, PerKernelScheme
from keras_convinit.schemes.zhang import override_rule


@register_scheme("fixup")
class Fixup(PerKernelScheme):
    """He's rule, times L^(-1 / (2m - 2)) in residual branches, which end with zeros.

    L is the number of residual blocks of the model, m that of the kernels in the
    branch: L^(-1/2) for blocks of two, L^(-1/4) for bottlenecks. The last kernel of
    each branch and the classifier are zero; so are the biases of all layers with
    kernels, unless `others` is `"keep"`. Of a weight-normalized layer the gain is
    zero, and the direction drawn.

    The paper adds a scalar bias in front of each layer and activation, and one scalar
    multiplier to each branch: `keras_convinit.layers.ScalarBias` and
    `ScalarMultiplier`, which are for the model to have.

    Args:
        initializer: Keras initializer of all kernels that are not zero. None for a
            normal distribution with the variance 2 / fan_out, as the paper's code.
        classifier: None for zeros, `"same"` for the initializer of all others, or a
            Keras initializer.

    Raises:
        ValueError: `initializer` is no Keras initializer; `initialize` is called with a
            model without residual blocks or with normalization, or with a `classifier`
            that is nothing of the kind.

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

    def __init__(
        self, initializer: InitializerLike = None, classifier: InitializerLike = None
    ) -> None:
        if initializer is None:
            initializer = keras.initializers.VarianceScaling(
                2.0, "fan_out", "untruncated_normal"
            )
        self.initializer = keras.initializers.get(initializer)
        self.classifier = classifier

    def check(self, analysis: ModelAnalysis) -> None:
        """Refuses a model without residual branches, or with normalization.

        Args:
            analysis: The model.

        Raises:
            ValueError: The model has no residual blocks, or a normalization.
        """
        if not analysis.stages:
            raise ValueError(
                "`model` must have residual blocks for the scheme Fixup; for others "
                'there is the scheme "auto". Received: a model with none'
            )
        for context in analysis.kernels:
            if context.normalized or context.preceded_by_normalization:
                where = "behind" if context.normalized else "before"
                raise ValueError(
                    "`model` must have no normalization for the scheme Fixup; for "
                    'others there is the scheme "auto". '
                    f"Received: a model with one {where} {context.path}"
                )

    def rule(self, context: KernelContext, analysis: ModelAnalysis) -> KernelInit:
        """Returns the initializer, scaled down in branches and zero at their ends.

        Args:
            context: The kernel and its surroundings.
            analysis: The model.
        """
        name = type(self.initializer).__name__
        if isinstance(self.initializer, keras.initializers.VarianceScaling):
            name = f"He ({self.initializer.mode})"
        same = KernelInit(name, self.initializer)
        if context.classifier:
            zero = dataclasses.replace(same, label="0 (classifier)", factor=0.0)
            return override_rule("classifier", self.classifier, zero, same)
        if not _in_branch(context):
            return same
        if context.last_in_branch:
            return dataclasses.replace(same, label="0 (last of branch)", factor=0.0)
        branch = analysis.branches[context.branch]
        length = sum(_in_branch(each) for each in branch)
        blocks = sum(analysis.stages)
        # A layer that is called twice in its branch may be alone there, m = 1.
        power = 2 * max(length, 2) - 2
        label = f"{blocks}^(-1/{power}) {name}"
        return dataclasses.replace(same, label=label, factor=blocks ** (-1 / power))


def _in_branch(context: KernelContext) -> bool:
    return context.branch is not None and not context.projection
