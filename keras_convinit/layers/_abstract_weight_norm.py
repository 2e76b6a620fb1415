"""What every weight-normalised layer has, however it comes by its kernel."""

import dataclasses
from typing import Any, NoReturn

import keras

from keras_convinit._checks import positive
from keras_convinit._precision import at_least_float32
from keras_convinit.initializers import WeightNormGain
from keras_convinit.kernels import Kernel, kernels_of
from keras_convinit.layers._effective_kernel import (
    effective_kernel,
    gain_shape,
    norms,
)


class AbstractWeightNorm(keras.layers.Layer):
    """A layer whose kernel is g * v / ||v||.

    A subclass calls `_reparameterize` at the end of its `build`, and uses
    `effective_kernel()` in its forward pass.

    Args:
        gain_initializer: Sets g. A `WeightNormGain`, which is told about the layer, or
            any Keras initializer.
    """

    # The kernel of the ordinary layer, here v. Not as a bare variable, which Keras
    # would count among those of whoever holds it.
    _built_direction: Kernel | None = None
    weight_norm_gain: Any = None
    _gain_factor = 1.0

    def __init__(
        self, *args: Any, gain_initializer: Any = "weight_norm_gain", **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        if gain_initializer is None:
            raise ValueError(
                "`gain_initializer` must be a `WeightNormGain` or another initializer. "
                "Received: gain_initializer=None"
            )
        self.gain_initializer = keras.initializers.get(gain_initializer)

    @property
    def weight_norm_direction(self) -> Any:
        """v, a variable of the shape of the kernel. Its norm has no effect."""
        return self._direction.variable

    def effective_kernel(self) -> Any:
        """The kernel g * v / ||v||, in float32 or the wider dtype of the variables."""
        return effective_kernel(
            self.weight_norm_direction,
            self.weight_norm_gain,
            self._direction.geometry.output_axes,
        )

    def scale_gain(self, factor: float) -> None:
        """Multiplies the gain, now or, if the layer has not been built, when it is.

        It is a part of the initial value and not of the layer's configuration: a model
        that calls this when it is made calls it again when it is loaded. A model that
        calls it while it is being built itself must do so before the layer is: what is
        assigned in a program that is being traced is lost.

        Args:
            factor: A positive number.

        Raises:
            ValueError: `factor` is not finite and positive.
        """
        factor = positive("factor", factor)
        if self.built:
            self.weight_norm_gain.assign(self.weight_norm_gain * factor)
        else:
            self._gain_factor *= factor

    def get_config(self) -> dict[str, Any]:
        """The configuration of the ordinary layer, and the gain's initializer."""
        gain_initializer = keras.initializers.serialize(self.gain_initializer)
        return {**super().get_config(), "gain_initializer": gain_initializer}

    def quantize(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not for a kernel that is computed."""
        self._refuse("be quantized")

    def enable_lora(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not for a kernel that is computed."""
        self._refuse("have LoRA enabled")

    def _refuse(self, operation: str) -> NoReturn:
        # Of this class, so that `Model.quantize` warns and goes on to other layers.
        raise NotImplementedError(
            f"A weight-normalised layer must be folded before it can {operation}: "
            f"`model = keras_convinit.fold(model)`. Received: layer={self!r}"
        )

    def _reparameterize(self, direction: Kernel) -> None:
        """Takes the ordinary layer's kernel for v, and adds g."""
        self._built_direction = direction
        self.weight_norm_gain = self.add_weight(
            name="weight_norm_gain",
            shape=gain_shape(direction.variable.shape, direction.geometry.output_axes),
            # An assignment here would be lost in a model that is built symbolically.
            initializer=self._initial_gain,
            # bfloat16 could not tell 0.999 from 1, and training would stand still.
            dtype=at_least_float32(direction.variable.dtype),
            autocast=False,
        )

    @property
    def _direction(self) -> Kernel:
        if self._built_direction is None:
            raise AttributeError(
                "A layer must be built before it has a kernel. "
                f"Received: layer={self!r}"
            )
        return self._built_direction

    def _initial_gain(self, shape: Any, dtype: Any = None) -> Any:
        direction, geometry = self._direction.variable, self._direction.geometry
        if isinstance(self.gain_initializer, WeightNormGain):
            gain = self.gain_initializer.draw(
                shape,
                geometry,
                lambda: norms(direction, geometry.output_axes, dtype),
                dtype,
            )
        else:
            gain = self.gain_initializer(shape, dtype=dtype)
        return gain if self._gain_factor == 1 else gain * self._gain_factor


@kernels_of.register
def _(layer: AbstractWeightNorm) -> tuple[Kernel, ...]:
    if not layer.built:
        raise ValueError(f"`layer` must be built. Received: layer={layer!r}")
    return (dataclasses.replace(layer._direction, gain=layer.weight_norm_gain),)
