import copy
import json

import keras
import numpy as np
import pytest
from helpers.values import array, gaussian
from keras import layers, ops

from keras_convinit.layers import ScaledResidual, WeightNorm, WeightNormDense


def wrapped(units, **kwargs):
    return WeightNorm(layers.Dense(units, **kwargs))


LAYERS = {"drop-in": WeightNormDense, "wrapped": wrapped}
by_layer = pytest.mark.parametrize("cls", LAYERS.values(), ids=LAYERS)


def gains(block):
    return [array(v) for v in block.weights if v.name == "weight_norm_gain"]


def seeded(cls, **kwargs):
    return cls(5, kernel_initializer=keras.initializers.HeNormal(seed=3), **kwargs)


def functional(cls):
    inputs = keras.Input((5,))
    outputs = layers.Dropout(0.5)(layers.ReLU()(seeded(cls)(inputs)))
    return keras.Model(inputs, outputs)


BRANCHES = {
    "alone": seeded,
    "last": lambda cls: [seeded(layers.Dense, activation="tanh"), seeded(cls)],
    "first": lambda cls: [seeded(cls), seeded(cls)],
    "before a relu": lambda cls: [seeded(cls, activation="relu"), layers.Dropout(0.5)],
    "nested": lambda cls: [keras.Sequential([layers.ReLU(), seeded(cls)])],
    "functional": functional,
}


@by_layer
@pytest.mark.parametrize("branch", BRANCHES.values(), ids=BRANCHES)
def test_absorbed_it_is_the_same_function_at_first(rng, branch, cls):
    x = gaussian(rng, 3, 5)
    scaled = ScaledResidual(branch(cls), 9)
    absorbed = ScaledResidual(branch(cls), 9, absorb=True)
    expected = array(scaled(x))
    np.testing.assert_allclose(array(absorbed(x)), expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(array(absorbed(x)), x + (expected - x) / 3, atol=1e-3)
    *others, last = zip(gains(scaled), gains(absorbed), strict=True)
    np.testing.assert_allclose(last[0] / 3, last[1], rtol=1e-6)
    for plain, gain in others:
        np.testing.assert_array_equal(plain, gain)


@by_layer
def test_a_built_branch_can_absorb(rng, cls):
    x = gaussian(rng, 3, 5)
    layer = seeded(cls)
    expected = x + array(layer(x)) / 3
    block = ScaledResidual(layer, 9, absorb=True)
    np.testing.assert_allclose(array(block(x)), expected, rtol=1e-5, atol=1e-6)


def again_from_config(block, model, path):
    return ScaledResidual.from_config(block.get_config())


def again_from_json(block, model, path):
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(block)))
    return keras.saving.deserialize_keras_object(config)


def again_cloned(block, model, path):
    return keras.models.clone_model(model).layers[-1]


def again_loaded(block, model, path):
    model.save(path)
    return keras.models.load_model(path).layers[-1]


def again_copied(block, model, path):
    return copy.deepcopy(model).layers[-1]


@by_layer
@pytest.mark.parametrize("branch", BRANCHES.values(), ids=BRANCHES)
@pytest.mark.parametrize(
    "again",
    [
        again_from_config,
        again_from_json,
        again_cloned,
        again_loaded,
        again_copied,
    ],
)
def test_it_is_absorbed_once(rng, tmp_path, again, branch, cls):
    x = gaussian(rng, 3, 5)
    block = ScaledResidual(branch(cls), 9, absorb=True)
    model = keras.Sequential([keras.Input((5,)), block])
    other = again(block, model, tmp_path / "model.keras")
    assert other is not block
    assert other.absorb
    np.testing.assert_allclose(array(other(x)), array(model(x)), rtol=1e-5, atol=1e-6)


def behind(*others):
    return [WeightNormDense(5), *others]


def a_function():
    inputs = keras.Input((5,))
    return keras.Model(inputs, ops.tanh(WeightNormDense(5)(inputs)))


REFUSED = {
    "without": lambda: [layers.Dense(5)],
    "tanh": lambda: behind(layers.Activation("tanh")),
    "clipped": lambda: behind(layers.ReLU(max_value=1.0)),
    "softmax": lambda: behind(layers.Softmax()),
    "batch normalization": lambda: behind(layers.BatchNormalization()),
    "dense": lambda: behind(layers.Dense(5)),
    "function": a_function,
    "activation": lambda: WeightNormDense(5, activation="tanh"),
    "bias": lambda: WeightNormDense(5, bias_initializer="ones"),
    "hidden": lambda: ScaledResidual(WeightNormDense(5), 3),
}


@pytest.mark.parametrize("branch", REFUSED.values(), ids=REFUSED)
def test_what_no_factor_passes_cannot_absorb(branch):
    with pytest.raises(ValueError, match=r"`absorb=True` needs.*Received: branch="):
        ScaledResidual(branch(), 4, absorb=True)


def test_a_trained_bias_is_in_the_way(rng):
    layer = WeightNormDense(5)
    layer(gaussian(rng, 3, 5))
    layer.bias.assign(np.full(5, 0.1))
    with pytest.raises(ValueError, match=r"`absorb=True` needs.*bias"):
        ScaledResidual(layer, 9, absorb=True)
