"""The gain of a weight-normalised layer that keeps the norm of a signal."""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_convinit._checks import positive
from keras_convinit._registry import register
from keras_convinit.geometry import Geometry
from keras_convinit.initializers._seeded import floating

MODES = ("forward", "backward", "kernel")


@register("weight_norm_gain")
class WeightNormGain(keras.initializers.Initializer):
    """Sets the gain g of the effective kernel g * v / ||v||, one for each output.

    | mode | g | what it keeps |
    |---|---|---|
    | `"forward"` | sqrt(gamma * inputs / outputs) | the norm of the signal |
    | `"backward"` | sqrt(gamma) | the norm of the error signal |
    | `"kernel"` | ||v|| | the kernel as drawn: what PyTorch does; gamma has no part |

    `inputs` and `outputs` are the channels of the layer over all of its groups: the
    size of the kernel cancels in fan_in / fan_out, and the stride is ignored. The norms
    are kept in expectation, exactly so at any width, and for a convolution the norm
    per position.

    `gamma` answers for what follows the layer: 2 for ReLU, 1 for nothing, the
    activation's `forward_scale` in general, and 1 / B for the last layer of the
    branch of one of B residual blocks.

    It belongs into the `gain_initializer` of a layer of `keras_convinit.layers`, which
    tells it about the layer. As the initializer of anything else it is called with a
    shape alone, and only `"backward"` needs no more than that.

    Args:
        gamma: A positive number, the square of the factor that the layer has to make
            up for.
        mode: `"forward"`, `"backward"` or `"kernel"`.

    Raises:
        ValueError: An argument is not what is said here; at a call with a shape alone:
            the mode depends on the layer.

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
        self.gamma = positive("gamma", gamma)
        self.mode = mode

    def gain(self, geometry: Geometry) -> float:
        """The gain for a kernel of this geometry. The rule, and all of it."""
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
        shape: Any,
        geometry: Geometry,
        norms: Callable[[], Any],
        dtype: Any = None,
    ) -> Any:
        """The gains of a layer that is known.

        Args:
            shape: Shape of the gain.
            geometry: How the layer connects its units.
            norms: Gives ||v|| for each output, a tensor of the gain's shape.
            dtype: A floating dtype; the default is `keras.config.floatx()`.

        Returns:
            A tensor of that shape and dtype.
        """
        dtype = floating(dtype)
        if self.mode == "kernel":
            return ops.cast(norms(), dtype)
        return ops.full(shape, self.gain(geometry), dtype=dtype)

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """The gains by their shape alone, which the mode "backward" can do with.

        Args:
            shape: Shape of the gain.
            dtype: A floating dtype; the default is `keras.config.floatx()`.

        Returns:
            A tensor of that shape and dtype.
        """
        if self.mode != "backward":
            raise ValueError(
                "`WeightNormGain` must be the `gain_initializer` of a layer of "
                "`keras_convinit.layers`, or be of mode 'backward': a shape does not "
                "tell how many inputs there are. "
                f"Received: mode={self.mode!r}, shape={shape!r}"
            )
        return ops.full(shape, math.sqrt(self.gamma), dtype=floating(dtype))

    def get_config(self) -> dict[str, Any]:
        """The arguments with which to make this object again."""
        return {"gamma": self.gamma, "mode": self.mode}
