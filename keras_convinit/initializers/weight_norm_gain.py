"""Initializer of the gain of weight-normalized layers."""

import math
from collections.abc import Callable, Sequence

import keras
from keras import ops

from keras_convinit._checks import check_positive
from keras_convinit._registry import register
from keras_convinit._types import Config, DTypeLike, Tensor
from keras_convinit.geometry import Geometry
from keras_convinit.initializers._drawing import check_floating

MODES = ("forward", "backward", "kernel")


@register("weight_norm_gain")
class WeightNormGain(keras.initializers.Initializer):
    """Sets the gain g of the effective kernel g * v / ||v||, one for each output.

    | mode | g | keeps |
    |---|---|---|
    | `"forward"` | sqrt(gamma * inputs / outputs) | the norm of the signal |
    | `"backward"` | sqrt(gamma) | the norm of the error signal |
    | `"kernel"` | ||v|| | the kernel as drawn, as PyTorch does; gamma is not used |

    `inputs` and `outputs` are the channels of the layer over all of its groups: the
    size of the kernel cancels in fan_in / fan_out, and the stride is ignored. The norms
    are kept in expectation, exactly so at any width, and for a convolution the norm
    per position.

    `gamma` depends on what follows the layer: 2 for ReLU, 1 for no activation, the
    activation's `forward_scale` in general, and 1 / B for the last layer of the
    branch in each of B residual blocks.

    Use it as the `gain_initializer` of a layer of `keras_convinit.layers`, which gives
    it the geometry of the layer. Any other layer calls it with a shape alone, which
    is enough for `"backward"` only.

    Args:
        gamma: The squared gain that compensates the following activation, a positive
            number.
        mode: `"forward"`, `"backward"` or `"kernel"`.

    Raises:
        ValueError: `gamma` is not a finite positive number or `mode` is unknown; when
            called with a shape: `mode` is not `"backward"`.

    Example:
        >>> from keras_convinit.initializers import WeightNormGain
        >>> layer = keras_convinit.layers.WeightNormConv2D(
        ...     64, 3, gain_initializer=WeightNormGain(gamma=1.0)
        ... )

    Reference:
        Arpit, Campos, Bengio 2019, *How to Initialize your Network? Robust
        Initialization for WeightNorm & ResNets*, arXiv:1906.02341, theorem 1. Its
        appendix A.2 prints sqrt(2) * fan_in / fan_out, where the root must span it
        all.
    """

    def __init__(self, gamma: float = 2.0, mode: str = "forward") -> None:
        if mode not in MODES:
            raise ValueError(
                f"`mode` must be one of {', '.join(map(repr, MODES))}. "
                f"Received: mode={mode!r}"
            )
        self.gamma = check_positive("gamma", gamma)
        self.mode = mode

    def gain(self, geometry: Geometry) -> float:
        """Computes the gain for a kernel of this geometry.

        Args:
            geometry: How the layer connects its units.

        Returns:
            The gain, the same for all outputs.

        Raises:
            ValueError: The mode is `"kernel"`, whose gains differ between outputs.
        """
        if self.mode == "forward":
            channels = geometry.total_in_channels / geometry.total_out_channels
            return math.sqrt(self.gamma * channels)
        if self.mode == "backward":
            return math.sqrt(self.gamma)
        raise ValueError(
            "A gain that is the same for all outputs must be of mode 'forward' or "
            f"'backward'. Received: mode={self.mode!r}"
        )

    def draw(
        self,
        shape: Sequence[int],
        geometry: Geometry,
        norms: Callable[[], Tensor],
        dtype: DTypeLike = None,
    ) -> Tensor:
        """Computes the gains of a layer whose geometry is known.

        Args:
            shape: Shape of the gain.
            geometry: How the layer connects its units.
            norms: Called in mode `"kernel"` for ||v|| of each output, a tensor of the
                gain's shape.
            dtype: A floating dtype; the default is `keras.config.floatx()`.

        Returns:
            A tensor of that shape and dtype.

        Raises:
            ValueError: `dtype` is not a floating dtype.
        """
        dtype = check_floating(dtype)
        if self.mode == "kernel":
            return ops.cast(norms(), dtype)
        return ops.full(shape, self.gain(geometry), dtype=dtype)

    def __call__(self, shape: Sequence[int], dtype: DTypeLike = None) -> Tensor:
        """Computes the gains from their shape alone, in the mode `"backward"`.

        Args:
            shape: Shape of the gain.
            dtype: A floating dtype; the default is `keras.config.floatx()`.

        Returns:
            A tensor of that shape and dtype.

        Raises:
            ValueError: The mode is not `"backward"`, or `dtype` is not a floating
                dtype.
        """
        if self.mode != "backward":
            raise ValueError(
                "`WeightNormGain` must be the `gain_initializer` of a layer of "
                "`keras_convinit.layers`, or be of mode 'backward': a shape does not "
                "tell how many inputs there are. "
                f"Received: mode={self.mode!r}, shape={shape!r}"
            )
        return ops.full(shape, math.sqrt(self.gamma), dtype=check_floating(dtype))

    def get_config(self) -> Config:
        """Returns the constructor arguments as a serializable dict."""
        return {"gamma": self.gamma, "mode": self.mode}
