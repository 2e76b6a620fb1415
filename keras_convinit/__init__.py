"""Makes deep convolutional networks trainable before their first step, in Keras 3.

Importing this package is all it takes: Keras then knows its initializers and layers.
"""

from keras_convinit import graph, initializers, layers, optimizers, schemes
from keras_convinit.diagnostics import (
    GammaSuggestion,
    HessianNorm,
    SignalMonitor,
    SignalReport,
    hessian_norm,
    signal_report,
    suggest_gamma,
)
from keras_convinit.geometry import Geometry
from keras_convinit.kernels import Kernel, kernels_of
from keras_convinit.layers import fold
from keras_convinit.scales import backward_scale, forward_scale
from keras_convinit.schemes import InitializationReport, initialize

__version__ = "0.1.0"

__all__ = [
    "GammaSuggestion",
    "Geometry",
    "HessianNorm",
    "InitializationReport",
    "Kernel",
    "SignalMonitor",
    "SignalReport",
    "backward_scale",
    "fold",
    "forward_scale",
    "graph",
    "hessian_norm",
    "initialize",
    "initializers",
    "kernels_of",
    "layers",
    "optimizers",
    "schemes",
    "signal_report",
    "suggest_gamma",
]
