"""Layers with weight normalisation.

| class | in place of |
|---|---|
| `WeightNormDense` | `keras.layers.Dense` |
| `WeightNormConv1D` | `keras.layers.Conv1D` |
| `WeightNormConv2D` | `keras.layers.Conv2D` |
| `WeightNormConv3D` | `keras.layers.Conv3D` |
| `WeightNormConv2DTranspose` | `keras.layers.Conv2DTranspose` |
| `WeightNormDepthwiseConv2D` | `keras.layers.DepthwiseConv2D` |
| `WeightNorm(layer)` | any other layer with a kernel |
"""

from keras_convinit.layers.folding import fold
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
    "WeightNorm",
    "WeightNormConv1D",
    "WeightNormConv2D",
    "WeightNormConv2DTranspose",
    "WeightNormConv3D",
    "WeightNormDense",
    "WeightNormDepthwiseConv2D",
    "fold",
]
