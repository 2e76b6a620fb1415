"""Reads a model as plain data, and leaves it as it is.

`trace` gives the program of layer calls, which can be run; `read` what stands around
each kernel.
"""

from keras_convinit.graph._activation import canonical as canonical_activation
from keras_convinit.graph._activation import fused as fused_activation
from keras_convinit.graph._activation import name_of as activation_name
from keras_convinit.graph.composites import ScaledSum, open_up
from keras_convinit.graph.program import Call, Trace, Value
from keras_convinit.graph.reading import read
from keras_convinit.graph.site import Conflict, Graph, Site, Unread
from keras_convinit.graph.tracing import trace

__all__ = [
    "Call",
    "Conflict",
    "Graph",
    "ScaledSum",
    "Site",
    "Trace",
    "Unread",
    "Value",
    "activation_name",
    "canonical_activation",
    "fused_activation",
    "open_up",
    "read",
    "trace",
]
