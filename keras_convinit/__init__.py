"""Makes deep convolutional networks trainable before their first step, in Keras 3.

Importing this package is all it takes: Keras then knows its initializers and layers.

What reads and changes whole models (`initialize`, `signal_report` and the rest of
`graph`, `schemes` and `diagnostics`) is imported when it is first asked for: a program
that only loads a model does not wait for it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from keras_convinit import initializers, layers, optimizers
from keras_convinit.geometry import Geometry
from keras_convinit.kernels import Kernel, kernels_of
from keras_convinit.layers import fold
from keras_convinit.scales import backward_scale, forward_scale

if TYPE_CHECKING:
    from keras_convinit import graph, schemes
    from keras_convinit.diagnostics.hessian_norm import HessianNorm, hessian_norm
    from keras_convinit.diagnostics.signal_monitor import SignalMonitor
    from keras_convinit.diagnostics.signal_report import SignalReport, signal_report
    from keras_convinit.diagnostics.suggest_gamma import GammaSuggestion, suggest_gamma
    from keras_convinit.schemes.initialize import initialize
    from keras_convinit.schemes.report import InitializationReport

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

# Name -> the module it is in. Nothing of these is registered with Keras.
_ON_DEMAND = {
    "GammaSuggestion": "diagnostics",
    "HessianNorm": "diagnostics",
    "InitializationReport": "schemes",
    "SignalMonitor": "diagnostics",
    "SignalReport": "diagnostics",
    "hessian_norm": "diagnostics",
    "initialize": "schemes",
    "signal_report": "diagnostics",
    "suggest_gamma": "diagnostics",
}
_MODULES = ("diagnostics", "graph", "schemes")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _ON_DEMAND:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_ON_DEMAND[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_DEMAND, *_MODULES})
