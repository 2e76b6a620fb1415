"""What each scheme refuses is said where it is documented, and is so."""

import inspect

import keras
import numpy as np
import pytest

import keras_convinit
from keras_convinit import schemes

CLASSES = [
    cls
    for name in schemes.__all__
    if inspect.isclass(cls := getattr(schemes, name))
    and issubclass(cls, schemes.Scheme)
    and not inspect.isabstract(cls)
]
BAD = {
    "Arpit": {"mode": "sideways"},
    "Auto": {"gamma": 0},
    "DataDependent": {"epsilon": -1},
    "Fixup": {"initializer": "nothing"},
    "GradInit": {"optimizer": "nothing"},
    "Hanin": {"mode": "sideways"},
    "KerasInitializer": {"initializer": "nothing"},
    "KernelGain": {"direction": "nothing"},
    "LSUV": {"tolerance": 0},
    "MetaInit": {"momentum": 2},
    "ZhangBackwardScheme": {"variance": 0},
    "ZhangForwardScheme": {"scale": 0},
}


@pytest.mark.parametrize("cls", CLASSES)
def test_what_a_scheme_refuses_is_in_its_docstring(cls):
    assert "\n\nRaises:\n    ValueError: " in inspect.getdoc(cls)
    with pytest.raises(ValueError):
        cls(**BAD[cls.__name__])


@pytest.mark.parametrize(
    "cls", [schemes.Arpit, schemes.Auto, schemes.ZhangForwardScheme]
)
def test_a_classifier_that_is_none_is_refused(cls):
    layer = keras_convinit.layers.WeightNormDense(3)
    model = keras.Sequential([keras.Input((4,)), layer])
    before = [np.array(keras.ops.convert_to_numpy(v)) for v in model.weights]
    with pytest.raises(ValueError):
        keras_convinit.initialize(model, cls(classifier="nothing"))
    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)
