"""Keras' linear layers with a weight-normalized kernel, as drop-ins."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import keras
from keras import ops

from keras_convinit._precision import promote_to_float32
from keras_convinit._registry import register
from keras_convinit._types import (
    DTypeLike,
    InitializerLike,
    KerasLayer,
    Shape,
    Tensor,
    Variable,
)
from keras_convinit.kernels import kernels_of
from keras_convinit.layers.weight_norm import AbstractWeightNorm


class AbstractDropIn(AbstractWeightNorm):
    """Base of the drop-ins, each a weight-normalized subclass of a Keras layer.

    A subclass names the ordinary layer as its second base and so has all of its
    arguments, attributes and behavior, in any version of Keras:

        class WeightNormConv2D(AbstractDropIn, keras.layers.Conv2D): ...

    Args:
        *args: Those of the ordinary layer.
        gain_initializer: Sets g.
        **kwargs: Those of the ordinary layer.

    Raises:
        NotImplementedError: The arguments ask for quantization or LoRA.
    """

    ordinary_class: ClassVar[type[KerasLayer]]
    # The argument of the ordinary layer that initializes v.
    kernel_initializer_argument: ClassVar[str] = "kernel_initializer"
    _direction_variable: Variable | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.ordinary_class = next(
            base for base in cls.__mro__ if not issubclass(base, AbstractWeightNorm)
        )
        if "__init__" not in vars(cls):
            cls.__signature__ = _make_signature(
                cls.ordinary_class, cls.kernel_initializer_argument
            )

    def __init__(
        self,
        *args: Any,
        gain_initializer: InitializerLike = "weight_norm_gain",
        **kwargs: Any,
    ) -> None:
        signature = inspect.signature(self.ordinary_class)
        given = signature.bind_partial(*args, **kwargs).arguments
        if self.kernel_initializer_argument not in given:
            kwargs[self.kernel_initializer_argument] = "orthogonal"
        super().__init__(*args, gain_initializer=gain_initializer, **kwargs)
        if self.quantization_mode is not None:
            self._refuse("be quantized")
        if getattr(self, "lora_rank", None):
            self._refuse("have LoRA enabled")

    def build(self, input_shape: Shape) -> None:
        """Creates v and the bias as the ordinary layer does, then g.

        Args:
            input_shape: Shape of the inputs, as of the ordinary layer.
        """
        super().build(input_shape)
        # Some of the ordinary layers leave this to Keras, which is too late for us.
        self.built = True
        (kernel,) = kernels_of.dispatch(self.ordinary_class)(self)
        self._reparameterize(
            dataclasses.replace(
                kernel, name="weight_norm_direction", variable=self._direction_variable
            )
        )

    def add_weight(self, *args: Any, **kwargs: Any) -> Variable:
        """Creates a variable; the kernel of the ordinary layer becomes v."""
        if kwargs.get("name") != "kernel":
            return super().add_weight(*args, **kwargs)
        kwargs["name"] = "weight_norm_direction"
        kwargs["initializer"] = _draw_in_float32(kwargs["initializer"])
        # Norms are computed from the full precision of the variable.
        self._direction_variable = super().add_weight(*args, autocast=False, **kwargs)
        return self._direction_variable

    @property
    def kernel(self) -> Tensor:
        """The effective kernel g * v / ||v||, in the dtype of the computation.

        A tensor: constraint, regularizer and `trainable` are those of the variable
        `weight_norm_direction`. What changes the kernel of the layer that it wraps,
        such as `keras.layers.SpectralNormalization`, cannot be put around this one.
        """
        if self.weight_norm_gain is None and self._direction_variable is not None:
            # While the layer is being built; it has the shape, and that is asked for.
            return self._direction_variable
        return ops.cast(self.effective_kernel(), self.compute_dtype)

    @kernel.setter
    def kernel(self, value: Variable) -> None:
        # Some of the ordinary layers assign what `add_weight` has given them.
        if value is not self._direction_variable:
            raise AttributeError(
                "The kernel of a weight-normalized layer is computed: "
                "`weight_norm_direction` and `weight_norm_gain` must be assigned. "
                f"Received: layer={self!r}"
            )

    # The ordinary convolutions store their kernel and bias by name.

    def save_own_variables(self, store: Any) -> None:
        """Stores v, the bias and g, in the order of their creation."""
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store: Any) -> None:
        """Restores what `save_own_variables` has stored."""
        keras.layers.Layer.load_own_variables(self, store)


def _draw_in_float32(initializer: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Returns an initializer that draws in float32: bfloat16 has no QR."""

    def draw(shape: Shape, dtype: DTypeLike = None) -> Tensor:
        wide = promote_to_float32(dtype)
        return ops.cast(initializer(shape, dtype=wide), dtype)

    return draw


def _make_signature(ordinary: type, kernel_initializer: str) -> inspect.Signature:
    """Returns the ordinary signature, with our default and our argument."""
    *parameters, last = inspect.signature(ordinary).parameters.values()
    parameters = [
        p.replace(default="orthogonal") if p.name == kernel_initializer else p
        for p in parameters
    ]
    gain_initializer = inspect.Parameter(
        "gain_initializer", inspect.Parameter.KEYWORD_ONLY, default="weight_norm_gain"
    )
    return inspect.Signature([*parameters, gain_initializer, last])


@register()
class WeightNormConv2D(AbstractDropIn, keras.layers.Conv2D):
    """A 2D convolution with the kernel g * v / ||v||, one g for each filter.

    A drop-in for `keras.layers.Conv2D`, with all of its arguments, attributes and
    defaults but for the following. In place of the kernel there are two variables, the
    direction v (`weight_norm_direction`) and the gain g (`weight_norm_gain`);
    `layer.kernel` is computed from them. The norm ||v|| of a filter has no effect on
    the function of the layer, but on its training: the larger the norm, the smaller
    the effective learning rate.

    Norm and gain are in float32, or in the dtype of the variables where that is
    wider. Computing the kernel assigns no variable, in training or otherwise.

    Args:
        *args: Those of `keras.layers.Conv2D`, such as `filters` and `kernel_size`.
        kernel_initializer: Sets v.
        gain_initializer: Sets g: a `WeightNormGain`, which by default keeps the norm
            of the signal through this layer and a ReLU, or any Keras initializer, such
            as `"ones"`.
        **kwargs: Those of `keras.layers.Conv2D`. `kernel_regularizer` and
            `kernel_constraint` apply to v.

    Raises:
        ValueError: `gain_initializer` is None or unknown to Keras.
        NotImplementedError: `quantize` or `enable_lora` is called, or the arguments ask
            for them: apply `keras_convinit.fold` first.

    Example:
        >>> from keras_convinit.layers import WeightNormConv2D
        >>> layer = WeightNormConv2D(64, 3, padding="same", activation="relu")
        >>> tuple(layer(np.ones((8, 32, 32, 3))).shape)
        (8, 32, 32, 64)

    Reference:
        Salimans, Kingma 2016, *Weight Normalization: A Simple Reparameterization to
        Accelerate Training of Deep Neural Networks*, eq. 2. For the initial values:
        Arpit, Campos, Bengio 2019, *How to Initialize your Network? Robust
        Initialization for WeightNorm & ResNets*.
    """


@register()
class WeightNormConv1D(AbstractDropIn, keras.layers.Conv1D):
    """A 1D convolution with the kernel g * v / ||v||, one g for each filter.

    Args:
        *args: Those of `keras.layers.Conv1D`.
        kernel_initializer: Sets v; see `WeightNormConv2D`.
        gain_initializer: Sets g; see `WeightNormConv2D`.
        **kwargs: Those of `keras.layers.Conv1D`.

    Example:
        >>> from keras_convinit.layers import WeightNormConv1D
        >>> layer = WeightNormConv1D(64, 3, padding="causal", dilation_rate=2)
    """


@register()
class WeightNormConv3D(AbstractDropIn, keras.layers.Conv3D):
    """A 3D convolution with the kernel g * v / ||v||, one g for each filter.

    Args:
        *args: Those of `keras.layers.Conv3D`.
        kernel_initializer: Sets v; see `WeightNormConv2D`.
        gain_initializer: Sets g; see `WeightNormConv2D`.
        **kwargs: Those of `keras.layers.Conv3D`.

    Example:
        >>> from keras_convinit.layers import WeightNormConv3D
        >>> layer = WeightNormConv3D(64, 3, strides=2)
    """


@register()
class WeightNormConv2DTranspose(AbstractDropIn, keras.layers.Conv2DTranspose):
    """A transposed 2D convolution with the kernel g * v / ||v||.

    There is one g for each output channel, which is the last axis but one of the
    kernel (height, width, outputs, inputs).

    Args:
        *args: Those of `keras.layers.Conv2DTranspose`.
        kernel_initializer: Sets v; see `WeightNormConv2D`.
        gain_initializer: Sets g; see `WeightNormConv2D`.
        **kwargs: Those of `keras.layers.Conv2DTranspose`.

    Example:
        >>> from keras_convinit.layers import WeightNormConv2DTranspose
        >>> layer = WeightNormConv2DTranspose(64, 4, strides=2, padding="same")
    """


@register()
class WeightNormDepthwiseConv2D(AbstractDropIn, keras.layers.DepthwiseConv2D):
    """A depthwise 2D convolution with the kernel g * v / ||v||.

    There is one g for each pair of input channel and multiplier, the last two axes of
    the kernel (height, width, inputs, multipliers).

    Args:
        *args: Those of `keras.layers.DepthwiseConv2D`.
        depthwise_initializer: Sets v; see `WeightNormConv2D`.
        gain_initializer: Sets g; see `WeightNormConv2D`.
        **kwargs: Those of `keras.layers.DepthwiseConv2D`.

    Example:
        >>> from keras_convinit.layers import WeightNormDepthwiseConv2D
        >>> layer = WeightNormDepthwiseConv2D(3, depth_multiplier=2)
    """

    kernel_initializer_argument = "depthwise_initializer"


@register()
class WeightNormDense(AbstractDropIn, keras.layers.Dense):
    """A dense layer with the kernel g * v / ||v||, one g for each unit.

    Args:
        *args: Those of `keras.layers.Dense`.
        kernel_initializer: Sets v; see `WeightNormConv2D`.
        gain_initializer: Sets g; see `WeightNormConv2D`.
        **kwargs: Those of `keras.layers.Dense`.

    Example:
        >>> from keras_convinit.initializers import WeightNormGain
        >>> from keras_convinit.layers import WeightNormDense
        >>> layer = WeightNormDense(10, gain_initializer=WeightNormGain(gamma=1.0))
    """
