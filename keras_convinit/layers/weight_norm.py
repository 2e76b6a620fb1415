"""Weight normalization: the base of its layers, and the wrapper for any layer."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import keras
from keras import ops

from keras_convinit._checks import check_positive
from keras_convinit._contents import iterate_contents
from keras_convinit._copies import strip_build_configs
from keras_convinit._precision import promote_to_float32
from keras_convinit._registry import register
from keras_convinit._types import (
    Config,
    DTypeLike,
    InitializerLike,
    KerasLayer,
    Shape,
    Tensor,
    Variable,
)
from keras_convinit.initializers import WeightNormGain
from keras_convinit.kernels import (
    Kernel,
    effective_kernel,
    gain_shape,
    kernels_of,
    output_norms,
)


class AbstractWeightNorm(keras.layers.Layer):
    """Base of the layers whose kernel is g * v / ||v||.

    A subclass calls `_reparameterize` at the end of its `build`, and uses
    `effective_kernel()` in its forward pass.

    Args:
        *args: Passed on to the layer class.
        gain_initializer: Sets g. A `WeightNormGain`, which is given the geometry of the
            layer, or any Keras initializer.
        **kwargs: Passed on to the layer class.

    Raises:
        ValueError: `gain_initializer` is None or unknown to Keras.
    """

    # The kernel of the ordinary layer, here v. Not as a bare variable, which Keras
    # would count among those of whoever holds it.
    _built_direction: Kernel | None = None
    weight_norm_gain: Any = None
    _gain_factor = 1.0

    def __init__(
        self,
        *args: Any,
        gain_initializer: InitializerLike = "weight_norm_gain",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if gain_initializer is None:
            raise ValueError(
                "`gain_initializer` must be a `WeightNormGain` or another initializer. "
                "Received: gain_initializer=None"
            )
        self.gain_initializer = keras.initializers.get(gain_initializer)

    @property
    def weight_norm_direction(self) -> Variable:
        """The variable v, of the shape of the kernel. Its norm has no effect."""
        return self._direction.variable

    def effective_kernel(self) -> Tensor:
        """Computes g * v / ||v||, in float32 or the wider dtype of the variables.

        Returns:
            A tensor of the shape of the kernel.

        Raises:
            AttributeError: The layer has not been built.
        """
        return effective_kernel(
            self.weight_norm_direction,
            self.weight_norm_gain,
            self._direction.geometry.output_axes,
        )

    def scale_gain(self, factor: float) -> None:
        """Multiplies the gain, at once if the layer is built, else when it is built.

        The factor is part of the initial value and not of the layer's configuration: a
        model that calls this in its constructor does so again when it is loaded. Call
        it before the layer is built if that happens in a traced program, in which
        assignments are lost.

        Args:
            factor: A positive number.

        Raises:
            ValueError: `factor` is not a finite positive number.
        """
        factor = check_positive("factor", factor)
        if self.built:
            self.weight_norm_gain.assign(self.weight_norm_gain * factor)
        else:
            self._gain_factor *= factor

    def get_config(self) -> Config:
        """Returns the constructor arguments as a serializable dict."""
        gain_initializer = keras.initializers.serialize(self.gain_initializer)
        return {**super().get_config(), "gain_initializer": gain_initializer}

    def quantize(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises a `NotImplementedError`: the kernel is computed."""
        self._refuse("be quantized")

    def enable_lora(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises a `NotImplementedError`: the kernel is computed."""
        self._refuse("have LoRA enabled")

    def _refuse(self, operation: str) -> NoReturn:
        # Of this class, so that `Model.quantize` warns and goes on to other layers.
        raise NotImplementedError(
            f"A weight-normalized layer must be folded before it can {operation}: "
            f"`model = keras_convinit.fold(model)`. Received: layer={self!r}"
        )

    def _reparameterize(self, direction: Kernel) -> None:
        """Takes the kernel of the ordinary layer as v, and adds g."""
        self._built_direction = direction
        self.weight_norm_gain = self.add_weight(
            name="weight_norm_gain",
            shape=gain_shape(direction.variable.shape, direction.geometry.output_axes),
            # An assignment here would be lost in a model that is built symbolically.
            initializer=self._initial_gain,
            # bfloat16 could not tell 0.999 from 1, and training would stand still.
            dtype=promote_to_float32(direction.variable.dtype),
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

    def _initial_gain(self, shape: Sequence[int], dtype: DTypeLike = None) -> Tensor:
        direction, geometry = self._direction.variable, self._direction.geometry
        if isinstance(self.gain_initializer, WeightNormGain):
            gain = self.gain_initializer.draw(
                shape,
                geometry,
                lambda: output_norms(direction, geometry.output_axes, dtype),
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


@register()
class WeightNorm(AbstractWeightNorm, keras.layers.Wrapper):
    """A wrapper that gives a layer the kernel g * v / ||v||, one g for each output.

    Wraps layers that have no drop-in class here, and layers that are built already.
    The layer keeps its kernel under its old name, as v; the wrapper adds the gain g
    (`weight_norm_gain`). The wrapped layer runs unchanged, with the effective kernel
    substituted during the call; its own state, such as seeds, is updated as usual. The
    dtypes are those of the wrapped layer.

    The class of a third-party layer must be registered with
    `keras_convinit.kernels_of`.

    Args:
        layer: A layer with one kernel. If it is built, and has weights worth keeping,
            `gain_initializer=WeightNormGain(mode="kernel")` leaves its function
            unchanged.
        gain_initializer: Sets g: a `WeightNormGain`, which by default keeps the norm
            of the signal through this layer and a ReLU, or any Keras initializer.
        name: Name of the wrapper; by default `weight_normalized`, with a number from
            the second on.
        trainable: Whether its variables are trained.
        dtype: None, or the policy of the wrapped layer.

    Raises:
        ValueError: `layer` is not a Keras layer, is a `SpectralNormalization`, which
            assigns its kernel, or has another dtype policy than `dtype`. When built:
            `layer` has no kernel, several (as separable convolutions and recurrent
            layers have), or one that is computed.
        NotImplementedError: `quantize` or `enable_lora` is called: apply
            `keras_convinit.fold` first.

    Example:
        >>> from keras_convinit.layers import WeightNorm
        >>> layer = WeightNorm(
        ...     keras.layers.EinsumDense("abc,cd->abd", (None, 64)),
        ...     gain_initializer="ones",
        ... )

    Reference:
        Salimans, Kingma 2016, *Weight Normalization: A Simple Reparameterization to
        Accelerate Training of Deep Neural Networks*, eq. 2.
    """

    def __init__(
        self,
        layer: KerasLayer,
        gain_initializer: InitializerLike = "weight_norm_gain",
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
    ) -> None:
        if not isinstance(layer, keras.layers.Layer):
            raise ValueError(
                f"`layer` must be a Keras layer. Received: layer={layer!r}"
            )
        if isinstance(layer, keras.layers.SpectralNormalization):
            raise ValueError(
                "`layer` must leave its kernel as it is: `SpectralNormalization` "
                f"assigns it when it is trained. Received: layer={layer!r}"
            )
        if dtype is not None:
            asked = keras.dtype_policies.get(dtype)
            if asked.name != layer.dtype_policy.name:
                raise ValueError(
                    "`dtype` must be that of the layer within, which is given there. "
                    f"Received: dtype={asked.name!r}, layer={layer!r} with "
                    f"{layer.dtype_policy.name!r}"
                )
        if name is None:
            # With the name of the class, variables would have the names that they have
            # in a drop-in: `weight_norm/conv2d/bias` and `weight_norm_conv2d/bias` are
            # one to an optimizer.
            count = keras.backend.get_uid("weight_normalized")
            name = "weight_normalized" + (f"_{count - 1}" if count > 1 else "")
        super().__init__(
            layer,
            gain_initializer=gain_initializer,
            name=name,
            trainable=trainable,
            # So that v is read in full precision; the layer itself casts as ever.
            dtype=layer.variable_dtype,
            autocast=False,
        )
        self.supports_masking = layer.supports_masking

    def build(self, input_shape: Shape | None = None) -> None:
        """Builds the wrapped layer, then adds g.

        Args:
            input_shape: Shape of the inputs, any that the wrapped layer takes.

        Raises:
            ValueError: The wrapped layer has not exactly one kernel, or computes it.
        """
        super().build(input_shape)
        kernels = kernels_of(self.layer)
        if len(kernels) != 1:
            raise ValueError(
                "`layer` must have exactly one kernel. "
                f"Received: layer={self.layer!r} with {len(kernels)} kernels: "
                f"{', '.join(kernel.name for kernel in kernels)}"
            )
        (kernel,) = kernels
        is_variable = isinstance(kernel.variable, keras.Variable)
        is_computed = kernel.computed or isinstance(self.layer, AbstractWeightNorm)
        if not is_variable or is_computed:
            raise ValueError(
                "The kernel of `layer` must be a variable, and not computed. "
                f"Received: layer={self.layer!r}"
            )
        for part in iterate_contents(self.layer):
            if isinstance(part, keras.layers.Layer):
                # On the way back the kernel would be v again. This layer as a whole
                # may be computed twice.
                part.rematerialized_call = _return_call
        self.built = True
        self.input_spec = self.layer.input_spec
        self._reparameterize(dataclasses.replace(kernel, name=f"layer.{kernel.name}"))

    def call(self, inputs: Tensor, **kwargs: Any) -> Tensor:
        """Calls the wrapped layer with the effective kernel.

        Args:
            inputs: Inputs of the wrapped layer.
            **kwargs: Passed to the wrapped layer.

        Returns:
            The outputs of the wrapped layer, of the same shape.

        Raises:
            NotImplementedError: The kernel of the wrapped layer has been quantized.
        """
        variables = self.layer.variables
        direction = self.weight_norm_direction
        if not any(variable is direction for variable in variables):
            # Its kernel has been replaced, and g would be lost without a word.
            self._refuse("be quantized")
        values = [
            (variable, self.effective_kernel() if variable is direction else variable)
            for variable in variables
        ]
        scope = keras.StatelessScope(values, collect_losses=True)
        before = [scope.get_current_value(variable) for variable in variables]
        with scope:
            outputs = self.layer(inputs, **kwargs)
        for variable, old in zip(variables, before, strict=True):
            new = scope.get_current_value(variable)
            if new is not old:
                variable.assign(new)
        for loss in scope.losses:
            # To where they would have gone, for the layer that knows them as its own.
            if scope.original_scope is None:
                self.layer.add_loss(loss)
            elif scope.original_scope.collect_losses:
                scope.original_scope.add_loss(loss)
        return outputs

    @property
    def kernel(self) -> Tensor:
        """The effective kernel g * v / ||v||, in the dtype of the computation.

        A tensor: constraint, regularizer and `trainable` are those of the variable
        `weight_norm_direction`.
        """
        return ops.cast(self.effective_kernel(), self.layer.compute_dtype)

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor = None) -> Tensor:
        """Returns the mask of the wrapped layer."""
        return self.layer.compute_mask(inputs, previous_mask)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the output shape of the wrapped layer."""
        return self.layer.compute_output_shape(input_shape)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the output spec of the wrapped layer."""
        return self.layer.compute_output_spec(*args, **kwargs)

    def get_config(self) -> Config:
        """Returns the constructor arguments as a serializable dict."""
        policy = keras.dtype_policies.serialize(self.layer.dtype_policy)
        return {**super().get_config(), "dtype": policy}

    @classmethod
    def from_config(cls, config: Config) -> "WeightNorm":
        """Creates the layer from a configuration, not built."""
        layer = strip_build_configs(config["layer"])
        return super().from_config({**config, "layer": layer})


def _return_call(layer_call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return layer_call
