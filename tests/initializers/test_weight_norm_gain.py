import copy
import inspect
import json
import math
import pickle

import keras
import numpy as np
import pytest

from keras_convinit import Geometry
from keras_convinit.initializers import WeightNormGain
from keras_convinit.layers import (
    WeightNormConv2D,
    WeightNormConv2DTranspose,
    WeightNormDense,
    WeightNormDepthwiseConv2D,
)


def gain_of(layer, shape):
    layer.build((None, *shape))
    return keras.ops.convert_to_numpy(layer.weight_norm_gain)


# The directions do not matter here, and JAX takes long to compile "orthogonal".
ZEROS = {"kernel_initializer": "zeros"}

# Layer, shape of an input, and inputs / outputs by hand, over all groups.
LAYERS = [
    (lambda **k: WeightNormDense(10, **ZEROS, **k), (40,), 40 / 10),
    (lambda **k: WeightNormConv2D(32, 3, **ZEROS, **k), (8, 8, 8), 8 / 32),
    (lambda **k: WeightNormConv2D(32, 5, **ZEROS, **k), (8, 8, 8), 8 / 32),
    (lambda **k: WeightNormConv2D(32, 3, **ZEROS, strides=2, **k), (8, 8, 8), 8 / 32),
    (lambda **k: WeightNormConv2D(32, 3, **ZEROS, groups=4, **k), (8, 8, 8), 8 / 32),
    (lambda **k: WeightNormConv2DTranspose(32, 3, **ZEROS, **k), (8, 8, 8), 8 / 32),
    (
        lambda **k: WeightNormDepthwiseConv2D(
            3, depth_multiplier=2, depthwise_initializer="zeros", **k
        ),
        (8, 8, 8),
        8 / 16,
    ),
]


@pytest.mark.parametrize(("factory", "shape", "ratio"), LAYERS)
@pytest.mark.parametrize("gamma", [2.0, 1.0, 1 / 18])
def test_forward(factory, shape, ratio, gamma):
    gain = gain_of(factory(gain_initializer=WeightNormGain(gamma)), shape)
    np.testing.assert_allclose(gain, math.sqrt(gamma * ratio), rtol=1e-6)


@pytest.mark.parametrize(("factory", "shape", "ratio"), LAYERS)
def test_backward(factory, shape, ratio):
    gain = gain_of(factory(gain_initializer=WeightNormGain(3.0, "backward")), shape)
    np.testing.assert_allclose(gain, math.sqrt(3), rtol=1e-6)


def test_kernel():
    layer = WeightNormConv2D(
        5,
        3,
        kernel_initializer="he_normal",
        gain_initializer=WeightNormGain(mode="kernel"),
    )
    gain = gain_of(layer, (8, 8, 4))
    direction = keras.ops.convert_to_numpy(layer.weight_norm_direction)
    np.testing.assert_allclose(
        gain, np.sqrt(np.square(direction).sum((0, 1, 2))), rtol=1e-6
    )
    assert np.ptp(gain) > 0.1
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(layer.kernel), direction, rtol=1e-5
    )


def test_by_default_a_relu_follows():
    assert WeightNormGain().get_config() == {"gamma": 2.0, "mode": "forward"}


@pytest.mark.parametrize("initializer", ["ones", keras.initializers.Constant(0.7)])
def test_any_initializer_of_keras_will_do(initializer):
    gain = gain_of(WeightNormDense(3, gain_initializer=initializer, **ZEROS), (5,))
    value = 1.0 if initializer == "ones" else 0.7
    np.testing.assert_allclose(gain, value, rtol=1e-6)


def test_it_is_known_to_keras():
    for identifier in ("weight_norm_gain", "keras_convinit>WeightNormGain"):
        assert type(keras.initializers.get(identifier)) is WeightNormGain
    for name in ("weight_norm_gain", "WeightNormGain"):
        assert not hasattr(keras.initializers, name)
    assert type(WeightNormDense(3).gain_initializer) is WeightNormGain


def test_the_config_is_the_signature():
    original = WeightNormGain(0.25, "backward")
    assert set(original.get_config()) == set(
        inspect.signature(WeightNormGain).parameters
    )
    serialized = keras.initializers.serialize(original)
    assert serialized["registered_name"] == "keras_convinit>WeightNormGain"
    for twin in (
        keras.initializers.deserialize(json.loads(json.dumps(serialized))),
        original.clone(),
        copy.deepcopy(original),
        pickle.loads(pickle.dumps(original)),
    ):
        assert twin.get_config() == original.get_config()


@pytest.mark.parametrize(
    "gamma", [0, -1.0, float("nan"), float("inf"), "2", None, True]
)
def test_gamma_is_finite_and_positive(gamma):
    with pytest.raises(ValueError, match="`gamma` must be a finite number") as caught:
        WeightNormGain(gamma)
    assert f"Received: gamma={gamma!r}" in str(caught.value)


@pytest.mark.parametrize("mode", ["fan_in", None, "Forward"])
def test_a_mode_is_one_of_three(mode):
    with pytest.raises(ValueError, match="'forward', 'backward', 'kernel'") as caught:
        WeightNormGain(mode=mode)
    assert f"Received: mode={mode!r}" in str(caught.value)


@pytest.mark.parametrize("mode", ["forward", "kernel"])
def test_a_shape_alone_is_not_enough(mode):
    with pytest.raises(ValueError, match="a shape does not tell") as caught:
        WeightNormGain(mode=mode)((8,))
    assert f"Received: mode={mode!r}, shape=(8,)" in str(caught.value)
    layer = keras.layers.Dense(3, kernel_initializer="weight_norm_gain")
    with pytest.raises(ValueError, match=r"of a layer of `keras_convinit\.layers`"):
        layer.build((None, 4))


def test_a_shape_alone_is_enough_backward():
    gain = WeightNormGain(4.0, "backward")((3, 2), dtype="float16")
    assert keras.backend.standardize_dtype(gain.dtype) == "float16"
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(gain), np.full((3, 2), 2))


def test_the_rule_is_one_number():
    geometry = Geometry(9, 4, 8, groups=2)
    assert WeightNormGain(3.0).gain(geometry) == math.sqrt(3 * 8 / 16)
    assert WeightNormGain(3.0, "backward").gain(geometry) == math.sqrt(3)
    with pytest.raises(ValueError, match="Received: mode='kernel'"):
        WeightNormGain(mode="kernel").gain(geometry)
