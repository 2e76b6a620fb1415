"""Makes deep convolutional networks trainable before their first step, in Keras 3.

Importing this package is all it takes: Keras then knows its initializers and layers.

Modules that read and change whole models (`analysis`, `schemes`, `diagnostics`), and
what is public of them, are imported when they are first asked for: a program that only
loads a model does not wait for them.
"""

import importlib
from typing import TYPE_CHECKING, Any

from keras_convinit import initializers, layers, optimizers
from keras_convinit.geometry import Geometry
from keras_convinit.kernels import Kernel, kernels_of
from keras_convinit.layers import fold
from keras_convinit.scales import backward_scale, forward_scale

if TYPE_CHECKING:
    from keras_convinit import analysis, diagnostics, schemes
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
    "analysis",
    "backward_scale",
    "diagnostics",
    "fold",
    "forward_scale",
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

# Nothing of these is registered with Keras.
_LATE = ("analysis", "schemes", "diagnostics")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _LATE:
        return importlib.import_module(f"{__name__}.{name}")
    owner = next(m for m in map(__getattr__, _LATE) if name in m.__all__)
    globals()[name] = value = getattr(owner, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
