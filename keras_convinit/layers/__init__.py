"""Layers that preserve the norm of a signal, and their conversion to plain Keras.

| class | in place of |
|---|---|
| `WeightNormDense` | `keras.layers.Dense` |
| `WeightNormConv1D` | `keras.layers.Conv1D` |
| `WeightNormConv2D` | `keras.layers.Conv2D` |
| `WeightNormConv3D` | `keras.layers.Conv3D` |
| `WeightNormConv2DTranspose` | `keras.layers.Conv2DTranspose` |
| `WeightNormDepthwiseConv2D` | `keras.layers.DepthwiseConv2D` |
| `WeightNorm(layer)` | any other layer with a kernel |
| `ScaledResidual` | shortcut(x) + branch(x) / sqrt(num_blocks) |
| `ScaledResidualStack` | many of those in a row, as one compiled loop |
| `ScalarBias`, `ScalarMultiplier` | scalars that learn more slowly, for Fixup |

`fold(model)` rewrites all of them in plain Keras.
"""

from keras_convinit.layers.folding import fold
from keras_convinit.layers.scalar import ScalarBias, ScalarMultiplier
from keras_convinit.layers.scaled_residual import ScaledResidual
from keras_convinit.layers.scaled_residual_stack import (
    ScaledResidualStack,
    StackedVariable,
    stacked_variables_of,
)
from keras_convinit.layers.weight_norm import WeightNorm
from keras_convinit.layers.weight_norm_layers import (
    WeightNormConv1D,
    WeightNormConv2D,
    WeightNormConv2DTranspose,
    WeightNormConv3D,
    WeightNormDense,
    WeightNormDepthwiseConv2D,
)

__all__ = [
    "ScalarBias",
    "ScalarMultiplier",
    "ScaledResidual",
    "ScaledResidualStack",
    "StackedVariable",
    "WeightNorm",
    "WeightNormConv1D",
    "WeightNormConv2D",
    "WeightNormConv2DTranspose",
    "WeightNormConv3D",
    "WeightNormDense",
    "WeightNormDepthwiseConv2D",
    "fold",
    "stacked_variables_of",
]
