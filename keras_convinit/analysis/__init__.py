"""Reads a model as plain data, and leaves it as it is.

`trace` gives the program of layer calls, which can be run; `analyze` what stands around
each kernel.
"""

from keras_convinit.analysis._activation import canonicalize as canonical_activation
from keras_convinit.analysis._activation import get_fused as fused_activation
from keras_convinit.analysis._activation import get_name as activation_name
from keras_convinit.analysis._activation import is_activation
from keras_convinit.analysis._effect import NORMALIZATIONS, is_addition
from keras_convinit.analysis._expansion import (
    BlockBegins,
    BlockEnds,
    RegularizedOutputs,
    make_executable,
    regularizes_outputs,
)
from keras_convinit.analysis._own_layers import is_custom_composite, is_custom_layer
from keras_convinit.analysis.analyzing import (
    analyze,
    analyze_program,
    find_kernels,
    known_kernels,
)
from keras_convinit.analysis.composites import Cast, ScaledSum, expand
from keras_convinit.analysis.model_analysis import (
    Conflict,
    KernelContext,
    ModelAnalysis,
    Unread,
)
from keras_convinit.analysis.program import (
    LayerCall,
    OpenedCall,
    Program,
    TensorRef,
    as_input,
    takes_training,
)
from keras_convinit.analysis.tracing import trace, trace_opened

__all__ = [
    "NORMALIZATIONS",
    "BlockBegins",
    "BlockEnds",
    "Cast",
    "Conflict",
    "KernelContext",
    "LayerCall",
    "ModelAnalysis",
    "OpenedCall",
    "Program",
    "RegularizedOutputs",
    "ScaledSum",
    "TensorRef",
    "Unread",
    "activation_name",
    "analyze",
    "analyze_program",
    "as_input",
    "canonical_activation",
    "expand",
    "find_kernels",
    "fused_activation",
    "is_activation",
    "is_addition",
    "is_custom_composite",
    "is_custom_layer",
    "known_kernels",
    "make_executable",
    "regularizes_outputs",
    "takes_training",
    "trace",
    "trace_opened",
]
