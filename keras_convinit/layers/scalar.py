"""A single number that is added or multiplied, and learns more slowly."""

import math
from typing import Any

import keras
from keras import ops

from keras_convinit._checks import positive
from keras_convinit._registry import register


class AbstractScalar(keras.layers.Layer):
    """A layer with one number, the square root of a factor times its variable.

    Args:
        initial_value: What the number is at the beginning.
        learning_rate_factor: By how much more slowly the number learns.
        **kwargs: `name`, `dtype` and `trainable`, as of any layer.
    """

    def __init__(
        self,
        initial_value: float,
        learning_rate_factor: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.initial_value = float(initial_value)
        self.learning_rate_factor = positive(
            "learning_rate_factor", learning_rate_factor
        )
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Creates the variable."""
        del input_shape
        self.parameter = self.add_weight(
            name="parameter", shape=(), initializer=self._initial
        )

    @property
    def parameter_initializer(self) -> Any:
        """What the variable starts from, for whoever initialises a model again."""
        return self._initial

    @property
    def value(self) -> Any:
        """The number."""
        # By the chain rule the factor is met twice in a step of gradient descent.
        return self.parameter * math.sqrt(self.learning_rate_factor)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the inputs."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments with which to make this layer again."""
        return {
            **super().get_config(),
            "initial_value": self.initial_value,
            "learning_rate_factor": self.learning_rate_factor,
        }

    def _initial(self, shape: Any, dtype: Any = None) -> Any:
        start = self.initial_value / math.sqrt(self.learning_rate_factor)
        return ops.full(shape, start, dtype=dtype)


@register()
class ScalarBias(AbstractScalar):
    """x + b, with one number b for all of x, as Fixup has it in front of each layer.

    b is sqrt(learning_rate_factor) times the variable. Under SGD, with momentum or
    without, b then moves as it would with a learning rate of its own that is smaller
    by the factor. Adam, whose steps do not depend on the size of a gradient, sees the
    square root of it: give it the square. Weight decay acts on b as on any variable,
    with the optimizer's own learning rate.

    Args:
        initial_value: What b is at the beginning.
        learning_rate_factor: By how much more slowly b learns.
        **kwargs: `name`, `dtype` and `trainable`, as of any layer.

    Raises:
        ValueError: `learning_rate_factor` is not a positive number.

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

    def call(self, inputs: Any) -> Any:
        """Adds the number."""
        return inputs + ops.cast(self.value, inputs.dtype)


@register()
class ScalarMultiplier(AbstractScalar):
    """x * a, with one number a for all of x, as Fixup has it at the end of a branch.

    a learns as the number of `ScalarBias` does.

    Args:
        initial_value: What a is at the beginning.
        learning_rate_factor: By how much more slowly a learns.
        **kwargs: `name`, `dtype` and `trainable`, as of any layer.

    Raises:
        ValueError: `learning_rate_factor` is not a positive number.

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

    def call(self, inputs: Any) -> Any:
        """Multiplies by the number."""
        return inputs * ops.cast(self.value, inputs.dtype)
