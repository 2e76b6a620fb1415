"""Convolutions that keep every norm exactly."""

from typing import Any

from keras import ops

from keras_convinit._checks import kernel_shape, positive
from keras_convinit._registry import register
from keras_convinit.initializers._seeded import AbstractSeeded, floating


@register("delta_orthogonal")
class DeltaOrthogonal(AbstractSeeded):
    """A random orthogonal matrix at the centre of the kernel, zeros around it.

    With stride 1 the convolution is an isometry, times `gain`, whatever the padding:
    every singular value of it as a matrix is `gain`. The matrix is uniform among those
    with orthonormal rows, one row for each input channel, so a layer may not have
    more inputs than outputs.

    As Keras shows an initializer only a shape, the groups of a grouped convolution
    cannot be told apart, and a layer with groups is not an isometry.

    Args:
        gain: What the layer multiplies norms by, a positive number.
        seed: None, an integer, or a `keras.random.SeedGenerator`.

    Raises:
        ValueError: `gain` is not finite and positive; at the call: the shape is not
            that of a kernel, or has more inputs than outputs.

    Example:
        >>> layer = keras.layers.Conv2D(64, 3, kernel_initializer="delta_orthogonal")

    Reference:
        Xiao et al. 2018, *Dynamical Isometry and a Mean Field Theory of CNNs*,
        algorithm 2.
    """

    def __init__(self, gain: float = 1.0, seed: Any = None) -> None:
        super().__init__(seed)
        self.gain = positive("gain", gain)

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """Draws a kernel.

        Args:
            shape: `(..., inputs, outputs)`.
            dtype: A floating dtype; the default is `keras.config.floatx()`.

        Returns:
            A tensor of that shape and dtype.
        """
        *positions, inputs, outputs = kernel_shape(shape)
        dtype = floating(dtype)
        if inputs > outputs:
            raise ValueError(
                "A delta-orthogonal kernel must have no more inputs than outputs. "
                f"Received: shape={tuple(shape)}, so inputs={inputs} and "
                f"outputs={outputs}"
            )
        columns, triangle = ops.qr(self._normal((outputs, inputs), dtype))
        # Without the signs the columns would not be uniform.
        signs = ops.where(ops.diagonal(triangle) < 0, -1.0, 1.0)
        signs = ops.cast(signs, columns.dtype)
        matrix = ops.cast(self.gain * ops.transpose(columns * signs), dtype)
        centre = [(size - 1) // 2 for size in positions]
        around = [
            (before, size - 1 - before)
            for before, size in zip(centre, positions, strict=True)
        ]
        matrix = ops.reshape(matrix, (1,) * len(positions) + (inputs, outputs))
        return ops.pad(matrix, [*around, (0, 0), (0, 0)])

    def get_config(self) -> dict[str, Any]:
        """The arguments with which to make this object again."""
        return {"gain": self.gain, **super().get_config()}
