"""Turns an ordinary layer of Keras into its weight-normalised twin."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import keras
from keras import ops

from keras_convinit._precision import at_least_float32
from keras_convinit.kernels import kernels_of
from keras_convinit.layers._abstract_weight_norm import AbstractWeightNorm


class AbstractDropIn(AbstractWeightNorm):
    """A weight-normalised layer that takes the place of an ordinary one.

    A subclass names the ordinary layer as its second base and so has all of its
    arguments, attributes and behaviour, in whatever version of Keras:

        class WeightNormConv2D(AbstractDropIn, keras.layers.Conv2D): ...
    """

    ordinary_class: ClassVar[type[keras.layers.Layer]]
    # What the ordinary layer calls the argument that here is about v.
    kernel_initializer_argument: ClassVar[str] = "kernel_initializer"
    _direction_variable: Any = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.ordinary_class = next(
            base for base in cls.__mro__ if not issubclass(base, AbstractWeightNorm)
        )
        if "__init__" not in vars(cls):
            cls.__signature__ = _signature(
                cls.ordinary_class, cls.kernel_initializer_argument
            )

    def __init__(
        self, *args: Any, gain_initializer: Any = "weight_norm_gain", **kwargs: Any
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

    def build(self, input_shape: Any) -> None:
        """Creates v and the bias as the ordinary layer does, then g."""
        super().build(input_shape)
        # Some of the ordinary layers leave this to Keras, which is too late for us.
        self.built = True
        (kernel,) = kernels_of.dispatch(self.ordinary_class)(self)
        self._reparameterize(
            dataclasses.replace(
                kernel, name="weight_norm_direction", variable=self._direction_variable
            )
        )

    def add_weight(self, *args: Any, **kwargs: Any) -> Any:
        """Creates a variable; the one that the ordinary layer calls its kernel is v."""
        if kwargs.get("name") != "kernel":
            return super().add_weight(*args, **kwargs)
        kwargs["name"] = "weight_norm_direction"
        kwargs["initializer"] = _in_float32(kwargs["initializer"])
        # Norms are computed from the full precision of the variable.
        self._direction_variable = super().add_weight(*args, autocast=False, **kwargs)
        return self._direction_variable

    @property
    def kernel(self) -> Any:
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
    def kernel(self, value: Any) -> None:
        # Some of the ordinary layers assign what `add_weight` has given them.
        if value is not self._direction_variable:
            raise AttributeError(
                "The kernel of a weight-normalised layer is computed: "
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


def _in_float32(initializer: Callable[..., Any]) -> Callable[..., Any]:
    """Draws in single precision: there is no QR decomposition of bfloat16."""

    def draw(shape: Any, dtype: Any = None) -> Any:
        wide = at_least_float32(dtype)
        return ops.cast(initializer(shape, dtype=wide), dtype)

    return draw


def _signature(ordinary: type, kernel_initializer: str) -> inspect.Signature:
    """The signature of the ordinary layer, with our default and our argument."""
    *parameters, last = inspect.signature(ordinary).parameters.values()
    parameters = [
        p.replace(default="orthogonal") if p.name == kernel_initializer else p
        for p in parameters
    ]
    gain_initializer = inspect.Parameter(
        "gain_initializer", inspect.Parameter.KEYWORD_ONLY, default="weight_norm_gain"
    )
    return inspect.Signature([*parameters, gain_initializer, last])
