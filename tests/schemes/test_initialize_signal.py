"""Networks of thirty layers keep their signal, from end to end."""

import keras
import numpy as np
import pytest

from keras_convinit import initialize
from keras_convinit.layers import WeightNormDense

layers = keras.layers
DEPTH, WIDTH, SAMPLES = 30, 256, 200


def root_mean_square(values):
    return np.sqrt(
        np.square(np.array(keras.ops.convert_to_numpy(values), float)).mean()
    )


def plain(activation, cls=layers.Dense):
    inputs = keras.Input((WIDTH,))
    x = inputs
    for _ in range(DEPTH):
        x = cls(WIDTH, activation=activation)(x)
    return keras.Model(inputs, x)


def growth(model):
    x = np.random.default_rng(1).standard_normal((SAMPLES, WIDTH)).astype("float32")
    # The last layer is its own: by eq. 21 it has half of what the others have.
    inner = keras.Model(model.inputs, model.layers[-2].output)
    return root_mean_square(inner(x))


# Layer by layer the logarithm of the mean square moves by about sqrt(c / width), c by
# the kurtosis of the activation: 5 for ReLU. Over thirty layers that is
# sqrt(30 * 5 / 256) = 0.77, of which half is that of the norm, and five of those are a
# factor of 7 on either side. What is wrong is further away: sqrt(1/2)^29 is 4e-5.
FAR = 7.0
ReLU = np.sqrt(0.5)


@pytest.mark.parametrize("scheme", ["zhang_forward", "auto"])
def test_plain_relu(scheme):
    model = plain("relu")
    initialize(model, scheme, seed=2)
    assert 1 / FAR < growth(model) / ReLU < FAR
    initialize(model, "glorot_normal", seed=2)
    assert growth(model) < 1e-3


def test_tanh_by_the_graph_alone():
    model = plain("tanh")
    initialize(model, "zhang_forward", seed=2)
    kept = growth(model)
    assert 0.4 < kept < 0.9
    # He's rule, the right one for ReLU, drives tanh into its ends slowly; Glorot's
    # loses signal.
    initialize(model, "glorot_normal", seed=2)
    assert growth(model) < 0.5 * kept


def test_weight_normalized():
    model = plain("relu", WeightNormDense)
    initialize(model, "arpit", classifier="same", seed=2)
    assert 1 / FAR < growth(model) / ReLU < FAR
    initialize(model, "kernel", direction="glorot_normal", seed=2)
    assert growth(model) < 1e-3


def test_residual_without_normalization():
    inputs = keras.Input((WIDTH,))
    x = inputs
    for _ in range(DEPTH):
        y = layers.Dense(WIDTH, activation="relu")(x)
        x = layers.Add()([x, layers.Dense(WIDTH)(y)])
    model = keras.Model(inputs, x)
    rng = np.random.default_rng(1)
    images = rng.standard_normal((SAMPLES, WIDTH)).astype("float32")
    initialize(model, "auto", seed=2)
    grown = root_mean_square(model(images))
    # (1 + 1/B)^(B/2); the branches of one network move it by some per cent.
    assert grown == pytest.approx((1 + 1 / DEPTH) ** (DEPTH / 2), rel=0.25)
    initialize(model, "he_normal", seed=2)
    assert root_mean_square(model(images)) > 1e3
