"""Layers that keep a deep network's signal at the size its initialisation gave it.

| class | what it computes |
|---|---|
| `ScaledResidual` | shortcut(x) + branch(x) / sqrt(num_blocks) |
| `ScaledResidualStack` | num_blocks of those in a row, as one compiled loop |
"""

from keras_convinit.layers.scaled_residual import ScaledResidual
from keras_convinit.layers.scaled_residual_stack import ScaledResidualStack

__all__ = ["ScaledResidual", "ScaledResidualStack"]
