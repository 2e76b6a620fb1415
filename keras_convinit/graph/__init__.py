"""Reads a model as plain data, and leaves it as it is.

`trace` gives the program of layer calls, which can be run; `read` what stands around
each kernel.
"""

from keras_convinit.graph._activation import canonical as canonical_activation
from keras_convinit.graph._activation import fused as fused_activation
from keras_convinit.graph._activation import name_of as activation_name
from keras_convinit.graph._expansion import (
    BlockBegins,
    BlockEnds,
    expand,
    regularizes_outputs,
)
from keras_convinit.graph.composites import ScaledSum, open_up
from keras_convinit.graph.program import Call, Opened, Trace, Value, takes_training
from keras_convinit.graph.reading import read
from keras_convinit.graph.site import Conflict, Graph, Site, Unread
from keras_convinit.graph.tracing import trace, trace_opened

__all__ = [
    "BlockBegins",
    "BlockEnds",
    "Call",
    "Conflict",
    "Graph",
    "Opened",
    "ScaledSum",
    "Site",
    "Trace",
    "Unread",
    "Value",
    "activation_name",
    "canonical_activation",
    "expand",
    "fused_activation",
    "open_up",
    "read",
    "regularizes_outputs",
    "takes_training",
    "trace",
    "trace_opened",
]
