"""What happens inside a model: computed to plain data, then told or drawn."""

from keras_convinit.diagnostics._verdict import Trouble
from keras_convinit.diagnostics.hessian_norm import HessianNorm, hessian_norm
from keras_convinit.diagnostics.signal_monitor import SignalMonitor
from keras_convinit.diagnostics.signal_report import SignalReport, signal_report
from keras_convinit.diagnostics.signal_row import SignalRow
from keras_convinit.diagnostics.suggest_gamma import GammaSuggestion, suggest_gamma

__all__ = [
    "GammaSuggestion",
    "HessianNorm",
    "SignalMonitor",
    "SignalReport",
    "SignalRow",
    "Trouble",
    "hessian_norm",
    "signal_report",
    "suggest_gamma",
]
