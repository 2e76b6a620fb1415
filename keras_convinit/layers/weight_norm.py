"""Weight normalisation around a layer of any class."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_convinit._registry import register
from keras_convinit.kernels import kernels_of
from keras_convinit.layers._abstract_weight_norm import AbstractWeightNorm
from keras_convinit.layers._attributes import held
from keras_convinit.layers._parts import not_built


@register()
class WeightNorm(AbstractWeightNorm, keras.layers.Wrapper):
    """Gives a layer the kernel g * v / ||v||, one g for each output.

    For layers without a class of their own here, or that exist already. The layer
    keeps its kernel under its old name, as v; the wrapper adds the gain g
    (`weight_norm_gain`). The wrapped layer runs unchanged, with the effective kernel
    substituted while it does; its own state, such as seeds, is carried on. The dtypes
    are those of the wrapped layer.

    A layer of somebody else's must be known to `keras_convinit.kernels_of`.

    Args:
        layer: A layer with one kernel. If it is built, and has weights worth keeping,
            `gain_initializer=WeightNormGain(mode="kernel")` leaves its function
            unchanged.
        gain_initializer: Sets g: a `WeightNormGain`, which by default keeps the norm
            of the signal through this layer and a ReLU, or any Keras initializer.
        name: Name of the wrapper; by default `weight_normalized`, with a number from
            the second on.
        dtype: None, or the policy of the wrapped layer.
        trainable: Whether its variables are trained.

    Raises:
        ValueError: `layer` is not a Keras layer, assigns its kernel itself as
            `SpectralNormalization` does, or has another policy than `dtype`;
            when built: it has no kernel or
            several, such as a separable convolution or a recurrent layer, or
            one that is computed.
        NotImplementedError: The layer is asked to be quantized or to enable LoRA:
            `keras_convinit.fold` makes it an ordinary one first.

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
        layer: keras.layers.Layer,
        gain_initializer: Any = "weight_norm_gain",
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

    def build(self, input_shape: Any = None) -> None:
        """Builds the wrapped layer, then adds g."""
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
        for part in held(self.layer):
            if isinstance(part, keras.layers.Layer):
                # On the way back the kernel would be v again. This layer as a whole
                # may be computed twice.
                part.rematerialized_call = _as_it_is
        self.built = True
        self.input_spec = self.layer.input_spec
        self._reparameterize(dataclasses.replace(kernel, name=f"layer.{kernel.name}"))

    def call(self, inputs: Any, **kwargs: Any) -> Any:
        """Calls the wrapped layer with the effective kernel."""
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
    def kernel(self) -> Any:
        """The effective kernel g * v / ||v||, in the dtype of the computation.

        A tensor: constraint, regularizer and `trainable` are those of the variable
        `weight_norm_direction`.
        """
        return ops.cast(self.effective_kernel(), self.layer.compute_dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask that the wrapped layer gives."""
        return self.layer.compute_mask(inputs, previous_mask)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape that the wrapped layer gives."""
        return self.layer.compute_output_shape(input_shape)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """The shape and dtype that the wrapped layer gives."""
        return self.layer.compute_output_spec(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """The arguments with which to make this layer again."""
        policy = keras.dtype_policies.serialize(self.layer.dtype_policy)
        return {**super().get_config(), "dtype": policy}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WeightNorm":
        """Makes the layer again, with a layer inside that is built along with it."""
        return super().from_config({**config, "layer": not_built(config["layer"])})


def _as_it_is(layer_call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return layer_call
