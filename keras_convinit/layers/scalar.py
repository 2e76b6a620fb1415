"""Layers of Fixup: a scalar that is added or multiplied, and learns more slowly."""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_convinit._checks import check_positive
from keras_convinit._registry import register
from keras_convinit._types import Config, DTypeLike, Shape, Tensor


class AbstractScalar(keras.layers.Layer):
    """Base of the layers with one scalar, sqrt(learning_rate_factor) * variable.

    Args:
        initial_value: The scalar at the start.
        learning_rate_factor: The factor on the learning rate of the scalar.
        **kwargs: `name`, `dtype` and `trainable`, as for any layer.

    Raises:
        ValueError: `learning_rate_factor` is not a finite positive number.
    """

    def __init__(
        self,
        initial_value: float,
        learning_rate_factor: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.initial_value = float(initial_value)
        self.learning_rate_factor = check_positive(
            "learning_rate_factor", learning_rate_factor
        )
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        """Creates the variable, of shape `()`, whatever the shape of the inputs."""
        del input_shape
        self.parameter = self.add_weight(
            name="parameter", shape=(), initializer=self._initial
        )

    @property
    def parameter_initializer(self) -> Callable[..., Tensor]:
        """Initializer of the variable, reused by `keras_convinit.initialize`."""
        return self._initial

    @property
    def value(self) -> Tensor:
        """The scalar, a tensor of shape `()`."""
        # By the chain rule the factor is met twice in a step of gradient descent.
        return self.parameter * math.sqrt(self.learning_rate_factor)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape of the inputs."""
        return input_shape

    def get_config(self) -> Config:
        """Returns the constructor arguments as a serializable dict."""
        return {
            **super().get_config(),
            "initial_value": self.initial_value,
            "learning_rate_factor": self.learning_rate_factor,
        }

    def _initial(self, shape: Shape, dtype: DTypeLike = None) -> Tensor:
        start = self.initial_value / math.sqrt(self.learning_rate_factor)
        return ops.full(shape, start, dtype=dtype)


@register()
class ScalarBias(AbstractScalar):
    """A scalar bias: x + b, which Fixup has in front of each layer.

    b is sqrt(learning_rate_factor) times the variable. Under SGD, with momentum or
    without, b then learns as with a learning rate that is multiplied by the factor.
    Under Adam, whose steps do not depend on the scale of the gradient, the learning
    rate is multiplied by the square root of the factor: pass the square. Weight decay
    acts on the variable with the optimizer's own learning rate.

    Args:
        initial_value: b at the start.
        learning_rate_factor: The factor on the learning rate of b.
        **kwargs: `name`, `dtype` and `trainable`, as for any layer.

    Raises:
        ValueError: `learning_rate_factor` is not a finite positive number.

    Example:
        >>> from keras_convinit.layers import ScalarBias
        >>> x = np.ones((2, 8, 8, 16))
        >>> tuple(ScalarBias()(x).shape)
        (2, 8, 8, 16)

    Reference:
        Zhang, Dauphin, Ma 2019, *Fixup Initialization: Residual Learning Without
        Normalization*, section 3, rule 3.
    """

    def __init__(
        self,
        initial_value: float = 0.0,
        learning_rate_factor: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(initial_value, learning_rate_factor, **kwargs)

    def call(self, inputs: Tensor) -> Tensor:
        """Adds the scalar.

        Args:
            inputs: A tensor of any shape.

        Returns:
            A tensor of the shape and dtype of the inputs.
        """
        return inputs + ops.cast(self.value, inputs.dtype)


@register()
class ScalarMultiplier(AbstractScalar):
    """A scalar multiplier: a * x, which Fixup has at the end of a branch.

    a is sqrt(learning_rate_factor) times the variable, with the consequences that
    `ScalarBias` describes.

    Args:
        initial_value: a at the start.
        learning_rate_factor: The factor on the learning rate of a.
        **kwargs: `name`, `dtype` and `trainable`, as for any layer.

    Raises:
        ValueError: `learning_rate_factor` is not a finite positive number.

    Example:
        >>> from keras_convinit.layers import ScalarMultiplier
        >>> x = np.ones((2, 8, 8, 16))
        >>> float(keras.ops.convert_to_numpy(ScalarMultiplier(0.5)(x)).max())
        0.5

    Reference:
        Zhang, Dauphin, Ma 2019, *Fixup Initialization: Residual Learning Without
        Normalization*, section 3, rule 3.
    """

    def __init__(
        self,
        initial_value: float = 1.0,
        learning_rate_factor: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(initial_value, learning_rate_factor, **kwargs)

    def call(self, inputs: Tensor) -> Tensor:
        """Multiplies by the scalar.

        Args:
            inputs: A tensor of any shape.

        Returns:
            A tensor of the shape and dtype of the inputs.
        """
        return inputs * ops.cast(self.value, inputs.dtype)
