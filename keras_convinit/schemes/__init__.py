"""Initialising a model that is built: one method a file.

`initialize` is the entrance. A scheme that needs no data gives each kernel a rule from
what `keras_convinit.graph` reads around it; `LSUV` and `DataDependent` set each by the
signal that reaches it; `GradInit` and `MetaInit` search for the sizes of all.
"""

from keras_convinit.schemes._named import SCHEMES
from keras_convinit.schemes._scheme import AbstractScheme
from keras_convinit.schemes.arpit import Arpit, Hanin, KernelGain
from keras_convinit.schemes.auto import Auto
from keras_convinit.schemes.data_dependent import DataDependent
from keras_convinit.schemes.fixup import Fixup
from keras_convinit.schemes.gradinit import GradInit
from keras_convinit.schemes.gradinit_presets import (
    GRADINIT_PRESETS,
    GradInitPreset,
    gradinit_preset,
)
from keras_convinit.schemes.initialize import initialize
from keras_convinit.schemes.keras_initializer import KerasInitializer
from keras_convinit.schemes.lsuv import LSUV
from keras_convinit.schemes.metainit import MetaInit
from keras_convinit.schemes.presets import PRESETS, Preset, preset
from keras_convinit.schemes.report import InitializationReport, LeftAlone, Row
from keras_convinit.schemes.zhang import ZhangBackward, ZhangForward

__all__ = [
    "GRADINIT_PRESETS",
    "LSUV",
    "PRESETS",
    "SCHEMES",
    "AbstractScheme",
    "Arpit",
    "Auto",
    "DataDependent",
    "Fixup",
    "GradInit",
    "GradInitPreset",
    "Hanin",
    "InitializationReport",
    "KerasInitializer",
    "KernelGain",
    "LeftAlone",
    "MetaInit",
    "Preset",
    "Row",
    "ZhangBackward",
    "ZhangForward",
    "gradinit_preset",
    "initialize",
    "preset",
]
