"""Unit variance of all pre-activations, measured by networks that are built again."""

import re
import warnings

import keras
import numpy as np
import pytest

from keras_convinit import initialize
from keras_convinit.layers import (
    ScaledResidualStack,
    WeightNorm,
    WeightNormConv2D,
)
from keras_convinit.schemes import LSUV

layers = keras.layers


def images(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype("float32") + 0.5


def vgg(fused):
    """Activations in the layers, or behind them; the same weights in both."""
    inputs = keras.Input((8, 8, 3))
    x, measured = inputs, []

    def apply(layer, x, activation):
        x = layer(activation=activation if fused else None)(x)
        measured.append(x)
        return x if fused else layers.Activation(activation)(x)

    for width, activation in ((6, "relu"), (8, "gelu")):
        for _ in range(2):
            x = apply(
                lambda w=width, **k: layers.Conv2D(w, 3, padding="same", **k),
                x,
                activation,
            )
        x = layers.MaxPooling2D()(x)
        x = layers.Dropout(0.5)(x)
    x = layers.Flatten()(x)
    x = apply(lambda **k: layers.Dense(16, **k), x, "tanh")
    x = apply(lambda **k: layers.Dense(5, **k), x, "softmax")
    return keras.Model(inputs, x), measured


def resnet(fused):
    inputs = keras.Input((10, 10, 3))
    x = layers.Conv2D(6, 3, padding="same", use_bias=False)(inputs)
    measured = [x]
    for width, stride in ((6, 1), (8, 2)):
        y = layers.ReLU()(layers.BatchNormalization()(x))
        projected = layers.Conv2D(width, 1, strides=stride)(y)
        y = layers.Conv2D(width, 3, stride, "same", name=f"first{width}")(y)
        measured += [projected, y]
        y = layers.ReLU()(layers.BatchNormalization()(y))
        y = layers.Conv2D(width, 3, padding="same", name=f"second{width}")(y)
        measured.append(y)
        x = layers.Add()([projected, y])
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(4)(x)
    return keras.Model(inputs, x), [*measured, x]


def decoder(fused):
    inputs = keras.Input((10,))
    x = layers.Dense(4 * 4 * 8)(inputs)
    measured = [x]
    x = layers.Reshape((4, 4, 8))(layers.LeakyReLU(0.2)(x))
    for width, kernel, stride in ((6, 4, 2), (5, 3, 1)):
        x = layers.Conv2DTranspose(width, kernel, stride, padding="same")(x)
        measured.append(x)
        x = layers.LeakyReLU(0.2)(x)
    x = layers.SeparableConv2D(3, 3, depth_multiplier=2)(x)
    return keras.Model(inputs, x), [*measured, x]


def deviations(make, model, data):
    """By hand: every pre-activation is an output of a network with these weights."""
    twin, measured = make(fused=False)
    twin.set_weights(model.get_weights())
    probe = keras.Model(twin.input, measured)
    # Batch normalization on the batch; dropout would disturb.
    for layer in probe.layers:
        if isinstance(layer, layers.Dropout):
            layer.rate = 0.0
    outputs = probe(data, training=True)
    return [float(np.std(keras.ops.convert_to_numpy(x))) for x in outputs]


NETWORKS = {
    "vgg": (vgg, (24, 8, 8, 3)),
    "resnet": (resnet, (24, 10, 10, 3)),
    "decoder": (decoder, (24, 10)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_pre_activation_has_unit_variance(name):
    make, shape = NETWORKS[name]
    data = images(*shape)
    model, _ = make(fused=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "No unit variance")
        report = initialize(model, "lsuv", data=data, seed=0, tolerance=1e-3)
    found = deviations(make, model, data)
    np.testing.assert_allclose(found, 1, atol=1e-3)
    after = [row.output_std_after for row in report.rows if row.output_std_after]
    np.testing.assert_allclose(after, 1, atol=1e-3)
    before = [row.output_std_before for row in report.rows if row.output_std_before]
    assert np.ptp(before) > 0.1
    assert len(after) == len(found)
    # One is enough where the outputs are linear in the kernel.
    assert all(row.num_rescalings in (None, 0, 1) for row in report.rows)
    if name == "resnet":
        averages = [w for w in model.weights if "moving_mean" in w.path]
        assert all(not keras.ops.convert_to_numpy(w).any() for w in averages)


def test_kernels_keep_their_orthonormal_shape():
    model, _ = vgg(fused=True)
    initialize(model, "lsuv", data=images(24, 8, 8, 3), seed=0)
    kernel = keras.ops.convert_to_numpy(model.layers[1].kernel).reshape(-1, 6)
    gram = kernel.T @ kernel
    np.testing.assert_allclose(gram, gram[0, 0] * np.eye(6), atol=1e-5)


def test_twice_is_once(values):
    data = images(24, 8, 8, 3)
    model, _ = vgg(fused=True)
    initialize(model, "lsuv", data=data, seed=0)
    once = values(model)
    initialize(model, "lsuv", data=data, seed=0)
    for path, value in values(model).items():
        np.testing.assert_array_equal(value, once[path])
    report = initialize(model, LSUV(initializer=None), data=data, seed=1)
    for path, value in values(model).items():
        np.testing.assert_array_equal(value, once[path])
    assert {row.num_rescalings for row in report.rows if row.fan_in} == {0}


def test_each_block_of_a_stack():
    branch = [layers.Conv2D(4, 3, padding="same", activation="relu")]
    branch.append(WeightNormConv2D(4, 3, padding="same"))
    stack = ScaledResidualStack(branch, 3)
    model = keras.Sequential([keras.Input((6, 6, 4)), stack])
    data = images(16, 6, 6, 4)
    report = initialize(model, "lsuv", data=data, seed=0, tolerance=1e-3)
    x, found = data, []
    for block in stack.unrolled():
        first, second = block.branch.layers
        first.activation = None
        before = first(x)
        found += [before, second(keras.ops.relu(before))]
        x = keras.ops.convert_to_tensor(x) + found[-1] / 3**0.5
    found = [float(np.std(keras.ops.convert_to_numpy(y))) for y in found]
    np.testing.assert_allclose(found, 1, atol=1e-3)
    measured = [row for row in report.rows if row.num_rescalings is not None]
    assert [row.path[-3:] for row in measured] == ["[0]"] * 2 + ["[1]"] * 2 + [
        "[2]"
    ] * 2
    assert max(map(len, str(report).splitlines())) <= 100


def test_biases_that_are_kept_are_taken_into_account():
    dense = layers.Dense(32, bias_initializer="random_normal", name="dense")
    model = keras.Sequential([keras.Input((8,)), dense])
    dense.bias.assign(keras.ops.linspace(-1.0, 1.0, 32))
    data = images(64, 8)
    report = initialize(model, "lsuv", data=data, others="keep", seed=0, tolerance=1e-3)
    found = data @ keras.ops.convert_to_numpy(dense.kernel) + np.linspace(-1, 1, 32)
    np.testing.assert_allclose(found.std(), 1, atol=1e-3)
    # The outputs are not proportional to the kernel here.
    assert report.rows[0].num_rescalings > 1


def test_what_cannot_be_brought_there_is_named(values):
    inputs = keras.Input((5, 4))
    quiet = layers.Dense(3, name="quiet")(layers.Rescaling(0.0)(inputs))
    x = layers.LSTM(4, name="states")(inputs)
    model = keras.Model(inputs, [quiet, layers.Dense(2, name="dense")(x)])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report = initialize(model, "lsuv", data=images(16, 5, 4), seed=0)
    (message,) = [str(w.message) for w in caught if w.category is UserWarning]
    assert re.match("No unit variance of .*quiet: .* deviation 0", message)
    assert "states" in message
    assert "dense" not in message
    kernel = values(model)["quiet/kernel"]
    # As drawn, and not divided by nothing.
    np.testing.assert_allclose(kernel.T @ kernel, np.eye(3), atol=1e-5)
    assert any(note.startswith("quiet") for note in report.notes)


def test_attention_is_tried_until_it_fits():
    inputs = keras.Input((6, 8))
    x = layers.MultiHeadAttention(2, 4, name="attention")(inputs, inputs)
    model = keras.Model(inputs, x)
    report = initialize(model, "lsuv", data=images(16, 6, 8), seed=0)
    (row,) = [row for row in report.rows if row.num_rescalings is not None]
    assert row.num_rescalings >= 1
    outputs = keras.ops.convert_to_numpy(model(images(16, 6, 8)))
    assert outputs.std() == pytest.approx(1, abs=0.011)


def test_the_first_call_of_a_shared_layer_decides():
    shared = layers.Dense(6, activation="relu", name="shared")
    inputs = keras.Input((6,))
    model = keras.Model(inputs, layers.Dense(2)(shared(shared(inputs))))
    data = images(64, 6)
    report = initialize(model, "lsuv", data=data, seed=0, tolerance=1e-3)
    kernel = keras.ops.convert_to_numpy(shared.kernel)
    np.testing.assert_allclose((data @ kernel).std(), 1, atol=1e-3)
    assert any("called again" in note for note in report.notes)


def test_activations_come_back():
    prelu = layers.PReLU()
    dense = layers.Dense(3, activation=prelu)
    wrapped = WeightNorm(layers.Dense(3, activation="tanh"))
    over_time = layers.TimeDistributed(layers.Dense(3, activation="relu"))
    model = keras.Sequential([keras.Input((4, 5)), dense, wrapped, over_time])
    before = model(images(8, 4, 5)).shape
    initialize(model, "lsuv", data=images(8, 4, 5), seed=0)
    assert dense.activation is prelu
    assert wrapped.layer.activation is keras.activations.tanh
    assert over_time.layer.activation is keras.activations.relu
    assert model(images(8, 4, 5)).shape == before


def test_masks_are_handed_on():
    def outputs(words):
        return keras.ops.convert_to_numpy(model(words))

    inputs = keras.Input((6,), dtype="int32")
    x = layers.Embedding(9, 5, mask_zero=True)(inputs)
    x = layers.Dense(4, activation="relu")(x)
    x = layers.GlobalAveragePooling1D()(x)
    model = keras.Model(inputs, layers.Dense(3)(x))
    words = np.random.default_rng(0).integers(1, 9, (32, 6)).astype("int32")
    words[:, 3:] = 0
    initialize(model, "lsuv", data=words, seed=0, tolerance=1e-3)
    assert outputs(words).std() == pytest.approx(1, abs=1e-3)


def test_mixed_precision_measures_in_full():
    policy = keras.DTypePolicy("mixed_float16")
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(8, 3, activation="relu", dtype=policy),
            layers.Conv2D(8, 3, dtype=policy),
        ]
    )
    # Their squares are beyond float16.
    data = 300 * images(16, 8, 8, 3)
    report = initialize(model, "lsuv", data=data, seed=0)
    assert report.rows[0].output_std_before > 256
    outputs = keras.ops.convert_to_numpy(model(data)).astype("float32")
    assert outputs.std() == pytest.approx(1, abs=0.02)
