"""Reads a model as plain data, and leaves it as it is."""

from keras_convinit.graph.composites import ScaledSum, open_up
from keras_convinit.graph.program import Call, Trace, Value
from keras_convinit.graph.tracing import trace

__all__ = ["Call", "ScaledSum", "Trace", "Value", "open_up", "trace"]
