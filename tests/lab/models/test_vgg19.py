import keras
import numpy as np
import pytest
from helpers.counting import ZEROS, convolution, trainable_parameters

from keras_convinit.lab.models import vgg19

pytestmark = pytest.mark.once

# Inputs and outputs of the sixteen convolutions.
OUTPUTS = [64] * 2 + [128] * 2 + [256] * 4 + [512] * 8
PAIRS = list(zip([3, *OUTPUTS], OUTPUTS, strict=False))


@pytest.mark.parametrize(
    ("normalization", "per_output"), [("batch", 3), ("weight", 2), (None, 1)]
)
def test_parameters_are_those_of_the_formula(normalization, per_output):
    # A bias; with it a scale and an offset, or a gain.
    expected = sum(convolution(*pair, per_output=per_output) for pair in PAIRS)
    expected += 512 * 10 + 10
    model = vgg19(normalization=normalization, **ZEROS)
    assert trainable_parameters(model) == expected
    if normalization == "batch":
        assert expected == 20_040_522


def test_parameters_without_biases():
    model = vgg19(use_bias=False, **ZEROS)
    assert trainable_parameters(model) == 20_040_522 - sum(OUTPUTS)


def test_maps_are_halved_five_times():
    model = vgg19(input_shape=(64, 32, 1), **ZEROS)
    sizes = [
        layer.output.shape[1:3]
        for layer in model.layers
        if isinstance(layer, keras.layers.MaxPooling2D)
    ]
    assert sizes == [(32, 16), (16, 8), (8, 4), (4, 2), (2, 1)]


def test_every_convolution_is_normalized_and_activated():
    names = [layer.name for layer in vgg19(**ZEROS).layers]
    parts = ("convolution", "normalization", "activation")
    for number in range(1, 17):
        begin = names.index(f"convolution_{number}")
        expected = [f"{part}_{number}" for part in parts]
        assert names[begin : begin + 3] == expected


def test_gains_make_up_for_relu():
    model = vgg19(normalization="weight", **ZEROS)
    for number, (inputs, outputs) in enumerate(PAIRS, start=1):
        gain = model.get_layer(f"convolution_{number}").weight_norm_gain
        gain = keras.ops.convert_to_numpy(gain)
        np.testing.assert_allclose(gain, np.sqrt(2 * inputs / outputs), rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (28, 28, 1)}, "height and a width of at least 32"),
        ({"normalization": "group"}, "must be one of None, batch, weight"),
        ({"gain_mode": "kernel"}, "`gain_mode` must be 'forward' unless"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        vgg19(**arguments)
