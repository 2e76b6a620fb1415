"""Schemes of initialization for built models, and the bases of schemes of one's own.

`initialize` is the entrance. A `PerKernelScheme` gives each kernel a rule from what
`keras_convinit.analysis` reads around it; a `LayerwiseScheme` sets each by the signal
that reaches it; a `ScaleSearchScheme` searches for a scale of each variable.
"""

from keras_convinit.schemes.arpit import Arpit, Hanin, KernelGain
from keras_convinit.schemes.auto import Auto
from keras_convinit.schemes.base import (
    SCHEMES,
    InitRequest,
    Scheme,
    Seeds,
    ValueOverlay,
    register_scheme,
)
from keras_convinit.schemes.data_dependent import DataDependent
from keras_convinit.schemes.fixup import Fixup
from keras_convinit.schemes.gradinit import (
    GRADINIT_PRESETS,
    GradInit,
    GradInitPreset,
    gradinit_preset,
)
from keras_convinit.schemes.initialize import initialize
from keras_convinit.schemes.layerwise import LayerContext, LayerwiseScheme
from keras_convinit.schemes.lsuv import LSUV
from keras_convinit.schemes.metainit import MetaInit
from keras_convinit.schemes.per_kernel import (
    KerasInitializer,
    KernelInit,
    PerKernelScheme,
)
from keras_convinit.schemes.report import InitializationReport, Row, Skipped
from keras_convinit.schemes.resolve import resolve_scheme
from keras_convinit.schemes.scale_search import (
    BatchSampler,
    ScaledVariable,
    ScaleSearch,
    ScaleSearchScheme,
    ScaleVector,
    SearchProblem,
    StepResult,
)
from keras_convinit.schemes.zhang import (
    PRESETS,
    Preset,
    ZhangBackwardScheme,
    ZhangForwardScheme,
    preset,
)

__all__ = [
    "GRADINIT_PRESETS",
    "LSUV",
    "PRESETS",
    "SCHEMES",
    "Arpit",
    "Auto",
    "BatchSampler",
    "DataDependent",
    "Fixup",
    "GradInit",
    "GradInitPreset",
    "Hanin",
    "InitRequest",
    "InitializationReport",
    "KerasInitializer",
    "KernelGain",
    "KernelInit",
    "LayerContext",
    "LayerwiseScheme",
    "MetaInit",
    "PerKernelScheme",
    "Preset",
    "Row",
    "ScaleSearch",
    "ScaleSearchScheme",
    "ScaleVector",
    "ScaledVariable",
    "Scheme",
    "SearchProblem",
    "Seeds",
    "Skipped",
    "StepResult",
    "ValueOverlay",
    "ZhangBackwardScheme",
    "ZhangForwardScheme",
    "gradinit_preset",
    "initialize",
    "preset",
    "register_scheme",
    "resolve_scheme",
]
