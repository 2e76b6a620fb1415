"""How the units of a linear layer connect: all that an initializer needs to know."""

import dataclasses
import math
from typing import Any

from keras_convinit._checks import kernel_shape


@dataclasses.dataclass(frozen=True)
class Geometry:
    """How many weights meet in a unit of a linear layer, and how many leave one.

    Args:
        receptive_field: Number of positions in the kernel, such as 9 for 3x3.
        in_channels: Channels that one output channel reads: per group.
        out_channels: Channels that one input channel feeds: per group.
        groups: Number of groups that do not see each other.
        stride: Positions that the window moves by, multiplied over the dimensions.
        transposed: Whether the layer is a transposed convolution, whose stride thins
            out the inputs of a unit instead of its outputs.
        output_axes: Axes of the kernel that tell output channels apart.
        group_axes: Those of them that tell groups apart. None without groups, or where
            groups lie side by side in the outputs, as those of a convolution do.

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
    def from_shape(cls, shape: Any) -> "Geometry":
        """The geometry of an ordinary Dense or Conv kernel, (..., inputs, outputs).

        Groups, strides, depthwise and transposed layers cannot be seen in a shape, nor
        can an `EinsumDense` kernel of rank 3 be told from that of a `Conv1D`.

        Args:
            shape: Shape of the kernel, at least two positive integers.

        Returns:
            The geometry.

        Raises:
            ValueError: `shape` is not that of a kernel.
        """
        *positions, inputs, outputs = kernel_shape(shape)
        return cls(math.prod(positions), inputs, outputs)

    def fans(self, stride_aware: bool = False) -> tuple[float, float]:
        """How many weights meet in an output unit, and leave an input unit.

        Args:
            stride_aware: Whether to count only the positions that a strided window
                visits, on average. The papers ignore the stride, and so does the
                default.

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
        """Input channels of the layer, over all groups."""
        return self.groups * self.in_channels

    @property
    def total_out_channels(self) -> int:
        """Output channels of the layer, over all groups."""
        return self.groups * self.out_channels
