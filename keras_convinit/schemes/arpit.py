"""The gains of Arpit et al. for weight-normalized networks, and their baselines."""

import keras

from keras_convinit._types import InitializerLike
from keras_convinit.analysis import KernelContext, ModelAnalysis, activation_name
from keras_convinit.initializers import WeightNormGain
from keras_convinit.scales import forward_scale
from keras_convinit.schemes.base import register_scheme
from keras_convinit.schemes.per_kernel import KernelInit, PerKernelScheme
from keras_convinit.schemes.zhang import SAME, override_rule

# Of the last layer of the b-th block of a stage, b = 1, 2, ...
HANIN = 0.9


class AbstractGains(PerKernelScheme):
    """Base of schemes that set gains by the position of their layers.

    Args:
        direction: Keras initializer of v.
        mode: The mode of the gains, see `WeightNormGain`.
        classifier: None for an orthogonal kernel, `"same"` for a gain like all others,
            or a Keras initializer.
    """

    def __init__(
        self,
        direction: InitializerLike = "orthogonal",
        mode: str = "forward",
        classifier: InitializerLike = None,
    ) -> None:
        self.direction = keras.initializers.get(direction)
        self.mode = WeightNormGain(mode=mode).mode
        self.classifier = classifier

    def check(self, analysis: ModelAnalysis) -> None:
        """Refuses a model without weight-normalized layers.

        Args:
            analysis: The model.

        Raises:
            ValueError: The model has no weight-normalized layers.
        """
        if all(context.kernel.gain is None for context in analysis.kernels):
            raise ValueError(
                "`model` must have weight-normalized layers, such as those of "
                f"`keras_convinit.layers`, for the scheme {self.name()}; for others "
                'there is the scheme "auto". Received: a model with none'
            )

    def rule(self, context: KernelContext, analysis: ModelAnalysis) -> KernelInit:
        """Returns a gain by position, an orthogonal kernel for the classifier.

        Args:
            context: The kernel and its surroundings.
            analysis: The model.
        """
        del analysis
        same = self.gain_rule(context)
        if context.classifier:
            orthogonal = keras.initializers.Orthogonal()
            default = KernelInit("orthogonal (classifier)", orthogonal)
            return override_rule("classifier", self.classifier, default, same)
        return same

    def gain_rule(self, context: KernelContext) -> KernelInit:
        """Returns the gain of a kernel that is not the classifier's.

        Args:
            context: The kernel and its surroundings.
        """
        gamma, reason = self.gamma(context)

        def gains(copy: int) -> WeightNormGain:
            del copy
            return WeightNormGain(gamma, mode=self.mode)

        return KernelInit(f"gamma {reason}", self.direction, gains)

    def gamma(self, context: KernelContext) -> tuple[float, str]:
        """Returns gamma, the squared gain that the position asks for, and the reason.

        Args:
            context: The kernel and its surroundings.
        """
        if context.projection:
            return 1.0, "1 (projection)"
        if context.last_in_branch:
            return _gamma_of_last(context)
        return _gamma_of_activation(context)


def _gamma_of_activation(context: KernelContext) -> tuple[float, str]:
    """Returns the gamma of a layer by the activation that follows, and the reason."""
    if context.following is None:
        return 1.0, "1 (nothing after)"
    name = activation_name(context.following)
    try:
        gamma = forward_scale(context.following)
    except ValueError:
        return 1.0, f"1 ({name} is not elementwise)"
    return gamma, f"{gamma:.4g} ({name} after)"


def _gamma_of_last(context: KernelContext) -> tuple[float, str]:
    """Returns the gamma of the last layer of a branch: 1 / B unless it is divided."""
    if context.branch_factor != 1:
        return 1.0, "1 (last, the model divides)"
    if context.absorbed != 1:
        return 1.0, "1 (last, the gain divides)"
    blocks = context.blocks or 1
    return 1 / blocks, f"1/{blocks} (last of branch)"


@register_scheme("arpit")
class Arpit(AbstractGains):
    """g = sqrt(gamma * inputs / outputs), gamma by position, orthogonal directions.

    gamma is 2 where ReLU follows (the `forward_scale` of another activation), 1 where
    none does and for projections, 1 / B for the last layer of a residual branch in a
    stage of B blocks. A branch that the model divides by sqrt(B) itself, as
    `ScaledResidual` does, has 1. Biases are zero. A kernel that is not
    weight-normalized becomes what it would be if it were.

    Args:
        direction: Keras initializer of v, whose norm has no effect.
        mode: `"forward"` for the norm of the signal, `"backward"` for that of the
            error signal.
        classifier: None for an orthogonal kernel, as the paper says; `"same"` for a
            gain like all others; or a Keras initializer, such as PyTorch's
            `VarianceScaling(1 / 3, distribution="uniform")` that the paper's code has.

    Raises:
        ValueError: `direction` is no Keras initializer, or `mode` neither of these;
            `initialize` is called with a model without weight-normalized layers, or
            with a `classifier` that is nothing of the kind.

    Example:
        >>> layer = keras_convinit.layers.WeightNormDense(4)
        >>> model = keras.Sequential([keras.Input((8,)), layer])
        >>> scheme = keras_convinit.schemes.Arpit(mode="backward")
        >>> report = keras_convinit.initialize(model, scheme, seed=0)

    Reference:
        Arpit, Campos, Bengio 2019, *How to Initialize your Network? Robust
        Initialization for WeightNorm & ResNets*, theorems 1, 2 and 7.
    """


@register_scheme("hanin")
class Hanin(AbstractGains):
    """Like `Arpit`, with g = 0.9^b for the last layer of the b-th block of a stage.

    Meant for models that do not divide their branches.

    Args:
        direction: Keras initializer of v, whose norm has no effect.
        mode: `"forward"` or `"backward"`.
        classifier: As of `Arpit`.

    Raises:
        ValueError: As of `Arpit`.

    Example:
        >>> layer = keras_convinit.layers.WeightNormDense(4)
        >>> model = keras.Sequential([keras.Input((8,)), layer])
        >>> report = keras_convinit.initialize(model, "hanin", seed=0)

    Reference:
        Hanin and Rolnick 2018, *How to Start Training: The Effect of Initialization
        and Architecture*; for stages as in the code of Arpit, Campos, Bengio 2019.
    """

    def gain_rule(self, context: KernelContext) -> KernelInit:
        """Returns 0.9^b for the last kernel of a branch, the gain of `Arpit` elsewhere.

        Args:
            context: The kernel and its surroundings.
        """
        if not context.last_in_branch or context.projection or context.block is None:
            return super().gain_rule(context)
        first = context.block + 1

        def gains(copy: int) -> WeightNormGain:
            return WeightNormGain(HANIN ** (2 * (first + copy)), mode=self.mode)

        last = first + context.kernel.copies - 1
        blocks = f"b = {first}" if last == first else f"b = {first} to {last}"
        return KernelInit(f"0.9^b ({blocks})", self.direction, gains)


@register_scheme("kernel", "pytorch_weight_norm")
class KernelGain(AbstractGains):
    """g = ||v||: the effective kernel is v as it was drawn, as PyTorch does it.

    Args:
        direction: Keras initializer of v.
        classifier: None for v's initializer like all others, or a Keras initializer.

    Raises:
        ValueError: `direction` is no Keras initializer; `initialize` is called with a
            model without weight-normalized layers, or with a `classifier` that is
            nothing of the kind.

    Example:
        >>> layer = keras_convinit.layers.WeightNormDense(4)
        >>> model = keras.Sequential([keras.Input((8,)), layer])
        >>> scheme = keras_convinit.schemes.KernelGain("orthogonal")
        >>> report = keras_convinit.initialize(model, scheme, seed=0)
    """

    def __init__(
        self,
        direction: InitializerLike = "he_normal",
        classifier: InitializerLike = None,
    ) -> None:
        super().__init__(
            direction, "kernel", SAME if classifier is None else classifier
        )

    def gain_rule(self, context: KernelContext) -> KernelInit:
        """Returns the kernel as it is drawn.

        Args:
            context: Has no effect.
        """
        del context
        return KernelInit("g = ||v||", self.direction)
