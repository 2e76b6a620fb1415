import json
import math
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from helpers.values import array, gaussian
from keras import layers, ops

import keras_convinit
from keras_convinit.layers import ScaledResidual

# What it computes.


@pytest.mark.parametrize("num_blocks", [1, 4, 9])
def test_the_branch_is_divided_by_the_root_of_the_number_of_blocks(rng, num_blocks):
    dense = layers.Dense(5)
    block = ScaledResidual(dense, num_blocks)
    x = gaussian(rng, 3, 5)
    y = array(block(x))
    branch = x @ array(dense.kernel)
    np.testing.assert_allclose(y, x + branch / num_blocks**0.5, rtol=1e-5, atol=1e-5)
    if num_blocks > 1:
        assert not np.allclose(y, x + branch / num_blocks, atol=1e-2)
        assert not np.allclose(y, x + branch, atol=1e-2)


def parts(kind, units):
    if kind == "layer":
        return layers.Dense(units)
    if kind == "list":
        return [layers.Dense(7, activation="tanh"), layers.Dense(units)]
    if kind == "sequential":
        return keras.Sequential([layers.Dense(7), layers.Dense(units)])
    inputs = keras.Input((5,))
    outputs = layers.Dense(units)(ops.relu(inputs) + layers.Dense(5)(inputs))
    return keras.Model(inputs, outputs)


KINDS = ["layer", "list", "sequential", "functional"]


@pytest.mark.parametrize("shortcut", [None, *KINDS])
@pytest.mark.parametrize("branch", KINDS)
def test_a_part_is_a_layer_a_list_or_a_model(rng, branch, shortcut):
    units = 5 if shortcut is None else 6
    through = None if shortcut is None else parts(shortcut, units)
    block = ScaledResidual(parts(branch, units), 4, shortcut=through)
    assert block.compute_output_shape((None, 5)) == (None, units)
    x = gaussian(rng, 3, 5)
    y = array(block(x))
    expected = array(x if block.shortcut is None else block.shortcut(x))
    expected = expected + array(block.branch(x)) / 2
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    count = len(block.branch.weights)
    count += 0 if block.shortcut is None else len(block.shortcut.weights)
    assert len(block.weights) == count


@pytest.mark.parametrize("num_blocks", [1, 4, 12])
def test_a_chain_grows_the_norm_as_the_theorem_says(rng, num_blocks):
    width, batch = 128, 128

    def growth(blocks):
        x = h = gaussian(rng, batch, width)
        for _ in range(num_blocks):
            branch = layers.Dense(width, kernel_initializer="orthogonal")
            h = ScaledResidual(branch, blocks)(h)
        return np.mean(np.sum(array(h) ** 2, 1) / np.sum(x**2, 1))

    # The square of the norm grows by (1 + 1/B) (1 + e) in a block; e is 2 <x, W x> /
    # sqrt(B) |x|^2 up to smaller terms, and has variance 4 / (B n) over x and
    # 4 / (B n^2) over W, as the trace of a random rotation has variance 1.
    deviation = math.sqrt(4 / (width * batch) + 4 / width**2)

    def as_the_theorem_says(measured):
        expected = (1 + 1 / num_blocks) ** num_blocks
        return abs(measured / expected - 1) < 5 * deviation

    assert as_the_theorem_says(growth(num_blocks))
    if num_blocks > 1:
        assert not as_the_theorem_says(growth(1))
        assert not as_the_theorem_says(growth(num_blocks**2))


def test_training_reaches_the_parts(rng):
    block = ScaledResidual(
        [layers.Dropout(0.5)], 1, shortcut=layers.GaussianDropout(0.5)
    )
    model = keras.Sequential([block])
    x = gaussian(rng, 4, 100)
    np.testing.assert_allclose(array(block(x)), 2 * x, rtol=1e-6)
    np.testing.assert_allclose(array(model(x, training=False)), 2 * x, rtol=1e-6)
    y = array(model(x, training=True))
    assert not np.allclose(y, 2 * x)
    # Where the branch is dropped the shortcut alone remains, itself not what it was.
    assert not np.allclose(y, array(block(x, training=True)))


def test_a_mask_passes_where_the_shortcut_lets_it_pass():
    class Mask(layers.Layer):
        def call(self, inputs, mask=None):
            return ops.zeros(()) if mask is None else mask

    x = layers.Embedding(4, 6, mask_zero=True)(np.array([[1, 0, 2]]))
    block = ScaledResidual(layers.Dense(6), 2)
    assert array(Mask()(block(x))).tolist() == [[True, False, True]]
    block = ScaledResidual(layers.Dense(5), 2, shortcut=layers.Dense(5))
    assert array(Mask()(block(x))).tolist() == [[True, False, True]]
    block = ScaledResidual(layers.Dense(6), 2, shortcut=layers.Masking(mask_value=0.5))
    assert array(Mask()(block(x))).tolist() == [[True, True, True]]


# What it refuses.


def test_shapes_that_differ_are_both_named():
    block = ScaledResidual(layers.Conv2D(8, 3, strides=2, padding="same"), 3)
    with pytest.raises(ValueError, match=r"\(None, 4, 4, 8\).*\(None, 8, 8, 8\)"):
        block.build((None, 8, 8, 8))
    block = ScaledResidual(layers.Dense(4), 3, shortcut=layers.Dense(1))
    with pytest.raises(ValueError, match=r"\(None, 4\).*\(None, 1\)"):
        block.build((None, 8))


def test_shapes_that_turn_out_to_differ_are_both_named(rng):
    block = ScaledResidual(layers.Conv1D(1, 3), 3)
    block.build((None, None, 1))
    with pytest.raises(ValueError, match=r"\(2, 6, 1\).*\(2, 8, 1\)"):
        block(gaussian(rng, 2, 8, 1))
    # What would otherwise be broadcast without a word.
    with pytest.raises(ValueError, match=r"\(2, 1, 1\).*\(2, 3, 1\)"):
        block(gaussian(rng, 2, 3, 1))


@pytest.mark.parametrize("num_blocks", [0, -1, 1.5, 2.0, True, "3", None])
def test_the_number_of_blocks_is_a_positive_integer(num_blocks):
    with pytest.raises(ValueError, match=r"`num_blocks` must be.*Received: num_blocks"):
        ScaledResidual(layers.Dense(4), num_blocks)


@pytest.mark.parametrize("part", ["relu", [], [layers.ReLU(), "relu"], 3])
def test_a_part_must_be_made_of_layers(part):
    with pytest.raises(ValueError, match="`branch` must be a Keras layer"):
        ScaledResidual(part, 2)
    with pytest.raises(ValueError, match="`shortcut` must be a Keras layer"):
        ScaledResidual(layers.ReLU(), 2, shortcut=part)


# As a layer among others.


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "bfloat16"])
def test_the_sum_has_the_precision_of_the_layer(rng, policy):
    x = gaussian(rng, 3, 5)
    mixtures = [(policy, policy), ("float32", policy), (policy, "float32")]
    for of_parts, of_sum in mixtures:
        block = ScaledResidual(layers.Dense(5, dtype=of_parts), 2, dtype=of_sum)
        y = block(x)
        assert keras.backend.standardize_dtype(y.dtype) == block.compute_dtype
        spec = block(keras.Input((5,)))
        assert spec.dtype == block.compute_dtype
        kernel = array(ops.cast(block.branch.kernel, "float32"))
        expected = x + x @ kernel / math.sqrt(2)
        eps = 2.0**-8 if "bfloat16" in policy else 2.0**-11
        bound = 4 * eps * (np.abs(x) + np.abs(x) @ np.abs(kernel))
        assert np.all(np.abs(array(ops.cast(y, "float32")) - expected) <= bound)


def test_a_model_of_blocks_is_trained_and_predicts_without_a_change(rng):
    model = keras.Sequential(
        [
            keras.Input((5,)),
            ScaledResidual(
                [layers.Dense(7, "tanh"), layers.Dropout(0.1), layers.Dense(6)],
                2,
                shortcut=layers.Dense(6),
            ),
            layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    x, y = gaussian(rng, 8, 5), gaussian(rng, 8, 1)
    start = [array(v) for v in model.trainable_variables]
    model.fit(x, y, epochs=1, verbose=0)
    for before, variable in zip(start, model.trainable_variables, strict=True):
        assert not np.array_equal(before, array(variable)), variable.path
    before = [array(v) for v in model.variables]
    model.predict(x, verbose=0)
    for value, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(value, array(variable))


@pytest.mark.process
def test_a_model_is_loaded_in_a_fresh_process(rng, tmp_path):
    model = keras.Sequential(
        [
            keras.Input((5,)),
            ScaledResidual([layers.Dense(7, "relu"), layers.Dense(5)], 3),
            ScaledResidual(layers.Dense(4), 3, shortcut=layers.Dense(4)),
        ]
    )
    x = gaussian(rng, 3, 5)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", x=x, y=array(model(x)))
    code = """
import sys, keras, keras_convinit, numpy as np
model = keras.models.load_model(sys.argv[1] + "/model.keras")
data = np.load(sys.argv[1] + "/data.npz")
y = keras.ops.convert_to_numpy(model(data["x"]))
np.testing.assert_allclose(y, data["y"], rtol=1e-6, atol=1e-6)
"""
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, env=environment
    )


def test_the_configuration_has_the_arguments():
    block = ScaledResidual(layers.Dense(5), 3, shortcut=[layers.Dense(5)], absorb=False)
    config = block.get_config()
    assert {"branch", "num_blocks", "shortcut", "absorb"} <= set(config)
    again = ScaledResidual.from_config(config)
    assert json.dumps(again.get_config()) == json.dumps(config)


def test_the_kernels_are_those_of_the_parts():
    block = ScaledResidual(
        [layers.Conv2D(4, 3, padding="same"), keras.Sequential([layers.Conv2D(4, 1)])],
        2,
        shortcut=layers.Conv2D(4, 1),
    )
    block.build((None, 8, 8, 3))
    kernels = keras_convinit.kernels_of(block)
    assert [(kernel.name, kernel.geometry.fans()) for kernel in kernels] == [
        ("branch.layers[0].kernel", (27, 36)),
        ("branch.layers[1].layers[0].kernel", (4, 4)),
        ("shortcut.kernel", (3, 4)),
    ]
    assert kernels[0].variable is block.branch.layers[0].kernel
    assert {kernel.copies for kernel in kernels} == {1}


def test_a_model_with_a_matrix_of_its_own_has_unknown_kernels():
    class Own(keras.Model):
        def build(self, input_shape):
            self.matrix = self.add_weight(shape=(5, 5))

        def call(self, inputs):
            return inputs @ self.matrix

    model = Own()
    model.build((None, 5))
    with pytest.raises(ValueError, match="class Own"):
        keras_convinit.kernels_of(model)
