"""Diagnostics of signal propagation: reports as plain data, printed or plotted."""

from keras_convinit.diagnostics.hessian_norm import HessianNorm, hessian_norm
from keras_convinit.diagnostics.signal_issues import SignalIssue
from keras_convinit.diagnostics.signal_monitor import SignalMonitor
from keras_convinit.diagnostics.signal_report import SignalReport, signal_report
from keras_convinit.diagnostics.signal_row import SignalRow
from keras_convinit.diagnostics.suggest_gamma import (
    GammaSuggestion,
    RelativeChange,
    suggest_gamma,
)

__all__ = [
    "GammaSuggestion",
    "HessianNorm",
    "RelativeChange",
    "SignalIssue",
    "SignalMonitor",
    "SignalReport",
    "SignalRow",
    "hessian_norm",
    "signal_report",
    "suggest_gamma",
]
