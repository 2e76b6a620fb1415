"""Geometry of a linear layer: how its units connect, and the fans that follow."""

import dataclasses
import math
from collections.abc import Sequence

from keras_convinit._checks import check_kernel_shape


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Connectivity of a linear layer, from which its fans follow.

    Args:
        receptive_field: Number of positions in the kernel, such as 9 for 3x3.
        in_channels: Input channels per group.
        out_channels: Output channels per group.
        groups: Number of groups.
        stride: Product of the strides over all dimensions.
        transposed: Whether the layer is a transposed convolution, in which the stride
            reduces the inputs of a unit instead of its outputs.
        output_axes: Axes of the kernel that index output channels.
        group_axes: Those of `output_axes` that index groups. Empty without groups, or
            where the output axis holds all groups one after the other, as in a
            convolution.

    Example:
        >>> from keras_convinit import Geometry
        >>> Geometry.from_shape((3, 3, 64, 128)).fans()
        (576, 1152)
    """

    receptive_field: int
    in_channels: int
    out_channels: int
    groups: int = 1
    stride: int = 1
    transposed: bool = False
    output_axes: tuple[int, ...] = (-1,)
    group_axes: tuple[int, ...] = ()

    @classmethod
    def from_shape(cls, shape: Sequence[int]) -> "Geometry":
        """Returns the geometry of an ordinary Dense or Conv kernel.

        A shape does not tell groups, strides, depthwise and transposed layers, nor an
        `EinsumDense` kernel of rank 3 from that of a `Conv1D`.

        Args:
            shape: Shape of the kernel, `(..., inputs, outputs)`.

        Returns:
            The geometry, with one group and stride 1.

        Raises:
            ValueError: `shape` has fewer than two dimensions, or one that is not a
                positive integer.
        """
        *positions, inputs, outputs = check_kernel_shape(shape)
        return cls(math.prod(positions), inputs, outputs)

    def fans(self, stride_aware: bool = False) -> tuple[float, float]:
        """Computes the number of weights into an output unit and out of an input unit.

        Args:
            stride_aware: Whether to count only the positions that a strided window
                visits, on average. The papers ignore the stride, as does the default.

        Returns:
            `(fan_in, fan_out)`.
        """
        fan_in: float = self.receptive_field * self.in_channels
        fan_out: float = self.receptive_field * self.out_channels
        if stride_aware and self.transposed:
            fan_in /= self.stride
        elif stride_aware:
            fan_out /= self.stride
        return fan_in, fan_out

    @property
    def total_in_channels(self) -> int:
        """Number of input channels of the layer, over all groups."""
        return self.groups * self.in_channels

    @property
    def total_out_channels(self) -> int:
        """Number of output channels of the layer, over all groups."""
        return self.groups * self.out_channels
