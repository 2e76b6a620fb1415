import functools
import json
import math

import keras
import numpy as np
import pytest
from helpers.functions import snake, tanh

from keras_convinit import Geometry, backward_scale, forward_scale
from keras_convinit.initializers import ZhangBackward, ZhangForward

# 41,472 weights, with fans that differ by a factor of two.
SHAPE = (3, 3, 48, 96)
FAN_IN, FAN_OUT = 432, 864


def draw(initializer, shape=SHAPE):
    return keras.ops.convert_to_numpy(initializer(shape, dtype="float32")).astype(float)


def check_normal(weights, variance):
    """Five standard errors each, for mean, variance and kurtosis of a normal law."""
    count = weights.size
    unit = weights / math.sqrt(variance)
    assert abs(unit.mean()) < 5 / math.sqrt(count)
    assert abs(np.square(unit).mean() - 1) < 5 * math.sqrt(2 / count)
    assert abs((unit**4).mean() - 3) < 5 * math.sqrt(96 / count)


RULES = [
    (ZhangForward(), 2 / FAN_IN),
    (ZhangForward("linear"), 1 / FAN_IN),
    (ZhangForward(None, scale=0.25), 0.25 / FAN_IN),
    (ZhangForward(keras.layers.LeakyReLU(0.25)), 2 / ((1 + 0.25**2) * FAN_IN)),
    (ZhangForward("tanh", variance=0.25), forward_scale("tanh", 0.25) / FAN_IN),
    (ZhangBackward(), 2 / FAN_OUT),
    (ZhangBackward(gamma=0.4), 5 / FAN_OUT),
    (ZhangBackward("gelu"), backward_scale("gelu") / FAN_OUT),
    (ZhangBackward("gelu", variance=4.0), backward_scale("gelu", 4.0) / FAN_OUT),
]


@pytest.mark.parametrize(
    ("initializer", "variance"), RULES, ids=lambda value: type(value).__name__
)
def test_weights_are_normal_with_the_variance_of_the_rule(initializer, variance):
    check_normal(draw(initializer), variance)


@pytest.mark.parametrize(
    ("initializer", "wrong_variance"),
    [
        (ZhangForward(), 2 / FAN_OUT),
        (ZhangForward(), 1 / FAN_IN),
        (ZhangForward(), 2 / (9 * FAN_IN)),
        (ZhangForward(), math.sqrt(2 / FAN_IN)),
        (ZhangForward("linear"), 2 / FAN_IN),
        (ZhangForward(keras.layers.LeakyReLU(0.25)), (1 + 0.25**2) / FAN_IN),
        (ZhangForward("gelu"), backward_scale("gelu") / FAN_IN),
        (ZhangBackward(), 2 / FAN_IN),
        (ZhangBackward(), 1 / FAN_OUT),
        (ZhangBackward(gamma=0.4), 2 / (0.4**2 * FAN_OUT)),
        (ZhangBackward(gamma=0.4), 2 / (math.sqrt(0.4) * FAN_OUT)),
        (ZhangBackward(gamma=0.4), 2 * 0.4 / FAN_OUT),
        (ZhangBackward("gelu"), forward_scale("gelu") / FAN_OUT),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_check_rejects_other_rules(initializer, wrong_variance):
    with pytest.raises(AssertionError):
        check_normal(draw(initializer), wrong_variance)


def test_the_check_rejects_a_truncated_normal():
    truncated = keras.initializers.HeNormal(seed=1)
    with pytest.raises(AssertionError):
        check_normal(draw(truncated), 2 / FAN_IN)


def test_where_the_papers_rules_are_keras_own_they_are_equal():
    builtin = keras.initializers.VarianceScaling(
        scale=2 / 0.4, mode="fan_out", distribution="untruncated_normal", seed=3
    )
    np.testing.assert_allclose(
        draw(ZhangBackward(gamma=0.4, seed=3)), draw(builtin), rtol=1e-6
    )


@pytest.mark.parametrize(("a", "b"), [(0.4, 1.0), (1.0, 3.0), (0.1, 40.0)])
def test_gamma_scales_the_same_draw_by_its_square_root(a, b):
    ratio = draw(ZhangBackward(gamma=a, seed=2)) / draw(ZhangBackward(gamma=b, seed=2))
    np.testing.assert_allclose(ratio, math.sqrt(b / a), rtol=1e-6)


def test_scale_scales_the_same_draw_by_its_square_root():
    ratio = draw(ZhangForward(scale=3.0, seed=2)) / draw(ZhangForward(seed=2))
    np.testing.assert_allclose(ratio, math.sqrt(3), rtol=1e-6)


def test_the_geometry_of_the_layer_goes_before_the_shape():
    depthwise = Geometry(9, in_channels=1, out_channels=2, groups=48)
    forward, backward = ZhangForward(seed=1), ZhangBackward(seed=1)
    assert forward.kernel_variance(depthwise) == pytest.approx(2 / 9)
    assert backward.kernel_variance(depthwise) == pytest.approx(2 / 18)
    strided = Geometry(9, 48, 96, stride=4)
    assert backward.kernel_variance(strided) == pytest.approx(2 / FAN_OUT)
    assert backward.kernel_variance(strided, stride_aware=True) == pytest.approx(
        2 / (FAN_OUT / 4)
    )
    shape = (3, 3, 4800, 2)
    check_normal(
        keras.ops.convert_to_numpy(forward.draw(shape, depthwise)).astype(float), 2 / 9
    )


@keras.saving.register_keras_serializable("tests")
def twice_relu(x):
    return 2 * keras.ops.relu(x)


@pytest.mark.parametrize("cls", [ZhangForward, ZhangBackward])
@pytest.mark.parametrize(
    "activation",
    [
        None,
        "gelu",
        keras.activations.gelu,
        keras.layers.LeakyReLU(0.25),
        keras.layers.PReLU(alpha_initializer=keras.initializers.Constant(0.1)),
        twice_relu,
    ],
    ids=["none", "name", "function", "layer", "layer with weights", "own function"],
)
def test_any_activation_survives_the_config(cls, activation):
    initializer = cls(activation, seed=1)
    twin = keras.initializers.deserialize(keras.initializers.serialize(initializer))
    np.testing.assert_array_equal(draw(twin), draw(initializer))
    assert twin.get_config() == initializer.get_config()


@pytest.mark.parametrize("cls", [ZhangForward, ZhangBackward])
@pytest.mark.parametrize("activation", ["relo", "softmax", 3])
def test_an_unknown_activation_is_refused_at_once(cls, activation):
    with pytest.raises(ValueError, match="`activation` must be None") as caught:
        cls(activation)
    assert f"Received: activation={activation!r}" in str(caught.value)


def trained_slopes():
    layer = keras.layers.PReLU()
    layer.build((None, 4))
    layer.alpha.assign([0.9, 0.8, 0.7, 0.6])
    return layer


class Callable:
    def __call__(self, x):
        return 2 * keras.ops.tanh(x)


class Bent(keras.layers.Layer):
    """Not registered."""

    def call(self, x):
        return 2 * keras.ops.tanh(x)


NOT_BY_NAME = {
    "a name of Keras": tanh,
    "another name": snake,
    "lambda": lambda x: 2 * keras.ops.relu(x),
    "operation": keras.ops.sin,
    "partial": functools.partial(keras.activations.elu, alpha=0.3),
    "object": Callable(),
    "own layer": Bent(),
    "layer of a function": keras.layers.Activation(tanh),
    "slopes of a training": trained_slopes(),
    "random slopes": keras.layers.PReLU(alpha_initializer="random_uniform"),
}


@pytest.mark.parametrize("cls", [ZhangForward, ZhangBackward])
@pytest.mark.parametrize("name", NOT_BY_NAME)
def test_what_has_no_name_in_a_file_is_saved_by_its_law(cls, name, tmp_path):
    initializer = cls(NOT_BY_NAME[name], seed=1)
    config = initializer.get_config()
    assert config["activation"] == "linear"
    json.dumps(config)
    twin = keras.initializers.deserialize(keras.initializers.serialize(initializer))
    np.testing.assert_allclose(draw(twin), draw(initializer), rtol=1e-5)
    assert twin.get_config() == pytest.approx(config)
    layer = keras.layers.Dense(3, kernel_initializer=initializer, name="dense")
    model = keras.Sequential([keras.Input((4,)), layer])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    found = loaded.get_layer("dense").kernel_initializer
    geometry = Geometry.from_shape((3, 3, 4, 5))
    assert found.kernel_variance(geometry) == pytest.approx(
        initializer.kernel_variance(geometry)
    )


def test_an_activation_layer_is_saved_by_the_name_of_its_function():
    config = ZhangForward(keras.layers.Activation("tanh")).get_config()
    assert (config["activation"], config["scale"]) == ("tanh", 1.0)
