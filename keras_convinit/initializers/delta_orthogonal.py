"""Delta-orthogonal kernels: convolutions that are isometries."""

from collections.abc import Sequence

from keras import ops

from keras_convinit._checks import check_kernel_shape, check_positive
from keras_convinit._registry import register
from keras_convinit._types import Config, DTypeLike, Seed, Tensor
from keras_convinit.initializers._drawing import SeededInitializer, check_floating


@register("delta_orthogonal")
class DeltaOrthogonal(SeededInitializer):
    """A random orthogonal matrix at the center of the kernel, zeros around it.

    With stride 1 the convolution is `gain` times an isometry, whatever the padding:
    each singular value of its matrix is `gain`. The matrix is uniform among those
    with orthonormal rows, one row for each input channel, so a layer may not have
    more inputs than outputs.

    Keras calls an initializer with a shape, which does not tell the groups of a
    grouped convolution: a layer with groups is not an isometry.

    Args:
        gain: The factor by which the layer scales norms, a positive number.
        seed: None, an integer, or a `keras.random.SeedGenerator`.

    Raises:
        ValueError: `gain` is not a finite positive number, or `seed` is not a seed;
            when called: the shape has fewer than two dimensions, or more inputs than
            outputs.

    Example:
        >>> layer = keras.layers.Conv2D(64, 3, kernel_initializer="delta_orthogonal")

    Reference:
        Xiao et al. 2018, *Dynamical Isometry and a Mean Field Theory of CNNs*,
        algorithm 2.
    """

    def __init__(self, gain: float = 1.0, seed: Seed = None) -> None:
        super().__init__(seed)
        self.gain = check_positive("gain", gain)

    def __call__(self, shape: Sequence[int], dtype: DTypeLike = None) -> Tensor:
        """Draws a kernel.

        Args:
            shape: `(..., inputs, outputs)`.
            dtype: A floating dtype; the default is `keras.config.floatx()`.

        Returns:
            A tensor of that shape and dtype.

        Raises:
            ValueError: `shape` has fewer than two dimensions, one that is not a
                positive integer, or more inputs than outputs; or `dtype` is not a
                floating dtype.
        """
        return self.draw(shape, dtype)

    def draw(
        self, shape: Sequence[int], dtype: DTypeLike = None, seed: Seed = None
    ) -> Tensor:
        """Draws a kernel with a given seed.

        Args:
            shape: `(..., inputs, outputs)`.
            dtype: A floating dtype; the default is `keras.config.floatx()`.
            seed: Used in place of the initializer's own seed, if it is not None.

        Returns:
            A tensor of that shape and dtype.

        Raises:
            ValueError: As for a call without a seed.
        """
        *positions, inputs, outputs = check_kernel_shape(shape)
        dtype = check_floating(dtype)
        if inputs > outputs:
            raise ValueError(
                "A delta-orthogonal kernel must have no more inputs than outputs. "
                f"Received: shape={tuple(shape)}, so inputs={inputs} and "
                f"outputs={outputs}"
            )
        normal = self._draw_normal((outputs, inputs), dtype, seed=seed)
        columns, triangle = ops.qr(normal)
        # Without the signs the columns would not be uniform.
        signs = ops.where(ops.diagonal(triangle) < 0, -1.0, 1.0)
        signs = ops.cast(signs, columns.dtype)
        matrix = ops.cast(self.gain * ops.transpose(columns * signs), dtype)
        center = [(size - 1) // 2 for size in positions]
        around = [
            (before, size - 1 - before)
            for before, size in zip(center, positions, strict=True)
        ]
        matrix = ops.reshape(matrix, (1,) * len(positions) + (inputs, outputs))
        return ops.pad(matrix, [*around, (0, 0), (0, 0)])

    def get_config(self) -> Config:
        """Returns the constructor arguments as a serializable dict."""
        return {"gain": self.gain, **super().get_config()}
