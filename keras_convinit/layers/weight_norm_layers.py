"""Keras' linear layers with a weight-normalised kernel, to take their place."""

import keras

from keras_convinit._registry import register
from keras_convinit.layers._drop_in import AbstractDropIn


@register()
class WeightNormConv2D(AbstractDropIn, keras.layers.Conv2D):
    """A 2D convolution with the kernel g * v / ||v||, one g for each filter.

    A drop-in for `keras.layers.Conv2D`: it has every argument, attribute and default
    of it, but for what follows. In place of a kernel there are two variables, the
    direction v (`weight_norm_direction`) and the gain g (`weight_norm_gain`), and
    `layer.kernel` is computed from them. The length ||v|| of a filter has no effect on
    what the layer computes; the longer v has grown, the smaller the steps it takes.

    Norm and gain are in float32, or in the dtype of the variables where that is
    wider. Computing the kernel writes no variable, in training or otherwise.

    Args:
        *args: Those of `keras.layers.Conv2D`, such as `filters` and `kernel_size`.
        kernel_initializer: Sets v.
        gain_initializer: Sets g: a `WeightNormGain`, which by default keeps the norm
            of the signal through this layer and a ReLU, or any Keras initializer, such
            as `"ones"`.
        **kwargs: Those of `keras.layers.Conv2D`. `kernel_regularizer` and
            `kernel_constraint` are about v.

    Raises:
        NotImplementedError: The layer is asked to be quantized or to enable LoRA:
            `keras_convinit.fold` makes it an ordinary one first.

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
