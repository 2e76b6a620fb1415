"""The convolutions of a network, which have all but a few arguments in common."""

import dataclasses
from typing import Any

import keras

from keras_convinit.initializers import WeightNormGain
from keras_convinit.lab.models._parts import kernel_initializer
from keras_convinit.layers import WeightNormConv2D


@dataclasses.dataclass(frozen=True)
class Convolutions:
    """Makes convolutions, weight-normalized or not.

    Args:
        normalization: `"weight"` for weight-normalized ones.
        kernel_initializer: Initializer of their kernels, or of the directions. None
            for `"orthogonal"` with weight normalization, for `"he_normal"` without.
        use_bias: Whether they have a bias.
        gain_mode: `mode` of `WeightNormGain`.
        as_keras_pads: Whether strided ones are padded by Keras' `"same"`.
    """

    normalization: str | None
    kernel_initializer: Any = None
    use_bias: bool = True
    gain_mode: str = "forward"
    as_keras_pads: bool = False

    def layers(
        self, filters: int, size: int, name: str, stride: int = 1, gamma: float = 1.0
    ) -> list[keras.layers.Layer]:
        """A convolution that divides the size of its maps by its stride.

        With a stride it is centered on the first position and each stride-th one after
        it, as in PyTorch, and as a shortcut that takes these positions wants it. Keras'
        `padding="same"` begins with the second one where the size is even.

        Args:
            filters: Number of channels that come out.
            size: Height and width of the kernel, odd.
            name: What to call it.
            stride: Its stride.
            gamma: With weight normalization, that of its gain.

        Returns:
            The layers in a row: the convolution, and what it needs in front.
        """
        pads = stride > 1 and size > 1 and not self.as_keras_pads
        arguments = {
            "filters": filters,
            "kernel_size": size,
            "strides": stride,
            "padding": "valid" if pads else "same",
            "data_format": "channels_last",
            "use_bias": self.use_bias,
            "kernel_initializer": kernel_initializer(
                self.kernel_initializer, self.normalization
            ),
            "name": name,
        }
        if self.normalization == "weight":
            gains = WeightNormGain(gamma, mode=self.gain_mode)
            convolution = WeightNormConv2D(**arguments, gain_initializer=gains)
        else:
            convolution = keras.layers.Conv2D(**arguments)
        if not pads:
            return [convolution]
        padding = keras.layers.ZeroPadding2D(
            size // 2, data_format="channels_last", name=f"{name}_padding"
        )
        return [padding, convolution]

    def __call__(
        self, x: Any, filters: int, size: int, name: str, **arguments: Any
    ) -> Any:
        """Applies a new convolution, with the arguments of `layers`."""
        for layer in self.layers(filters, size, name, **arguments):
            x = layer(x)
        return x
