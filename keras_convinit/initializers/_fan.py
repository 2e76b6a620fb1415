"""Gaussian kernels whose variance follows from how the layer connects its units."""

import abc
import math
from typing import Any

from keras import ops

from keras_convinit._checks import kernel_shape
from keras_convinit.geometry import Geometry
from keras_convinit.initializers._seeded import AbstractSeeded, floating


class AbstractFan(AbstractSeeded):
    """Draws from a normal distribution, not truncated, of the variance of a rule.

    Two entrances: called by Keras with a shape, which is taken for that of an ordinary
    Dense or Conv layer; or `draw`, with the true geometry of the layer.
    """

    @abc.abstractmethod
    def kernel_variance(self, geometry: Geometry, stride_aware: bool = False) -> float:
        """The variance of a kernel's weights. The rule, and all of it."""

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """Draws a kernel of an ordinary layer.

        Args:
            shape: `(..., inputs, outputs)`.
            dtype: A floating dtype; the default is `keras.config.floatx()`.

        Returns:
            A tensor of that shape and dtype.
        """
        return self.draw(shape, Geometry.from_shape(shape), dtype)

    def draw(
        self,
        shape: Any,
        geometry: Geometry,
        dtype: Any = None,
        stride_aware: bool = False,
    ) -> Any:
        """Draws a kernel whose geometry is known.

        Args:
            shape: Shape of the kernel.
            geometry: How the layer connects its units.
            dtype: A floating dtype; the default is `keras.config.floatx()`.
            stride_aware: Whether the fans count only what a strided window visits.

        Returns:
            A tensor of that shape and dtype.
        """
        deviation = math.sqrt(self.kernel_variance(geometry, stride_aware))
        dtype = floating(dtype)
        return ops.cast(self._normal(kernel_shape(shape), dtype, deviation), dtype)
