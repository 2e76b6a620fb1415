"""Initializers for `kernel_initializer=...`.

| class | string | Var(w) |
|---|---|---|
| `ZhangForward` | `"zhang_forward"` | scale * forward_scale / fan_in |
| `ZhangBackward` | `"zhang_backward"` | backward_scale / (gamma * fan_out) |
| `DeltaOrthogonal` | `"delta_orthogonal"` | an orthogonal center, zeros around it |
| `FanInitializer` | | the base class: any function of the layer's geometry |

And for `gain_initializer=...` of a weight-normalized layer:

| class | string | g |
|---|---|---|
| `WeightNormGain` | `"weight_norm_gain"` | sqrt(gamma * fan_in / fan_out) |
"""

from keras_convinit.initializers._drawing import FanInitializer
from keras_convinit.initializers.delta_orthogonal import DeltaOrthogonal
from keras_convinit.initializers.weight_norm_gain import WeightNormGain
from keras_convinit.initializers.zhang import ZhangBackward, ZhangForward

__all__ = [
    "DeltaOrthogonal",
    "FanInitializer",
    "WeightNormGain",
    "ZhangBackward",
    "ZhangForward",
]
