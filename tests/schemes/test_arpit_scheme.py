"""Gains by position in the network, by hand."""

import math

import keras
import numpy as np
import pytest

from keras_convinit import initialize
from keras_convinit.layers import (
    ScaledResidual,
    ScaledResidualStack,
    WeightNorm,
    WeightNormConv2D,
    WeightNormDense,
)


def block(x, width, name, stride=1):
    """A block as plain layers, so that its factor has to be in a gain."""
    shortcut = x
    if stride > 1:
        shortcut = WeightNormConv2D(
            width, 1, strides=stride, padding="same", name=f"{name}_projection"
        )(x)
    x = WeightNormConv2D(
        width, 3, strides=stride, padding="same", activation="relu", name=f"{name}_1"
    )(x)
    x = WeightNormConv2D(width, 3, padding="same", name=f"{name}_2")(x)
    return keras.layers.Add()([x, shortcut])


def network():
    inputs = keras.Input((8, 8, 3))
    x = WeightNormConv2D(4, 3, padding="same", name="stem")(inputs)
    for index in range(2):
        x = block(x, 4, f"a{index}")
    for index in range(3):
        x = block(x, 6, f"b{index}", stride=1 if index else 2)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(5, name="classifier")(x))


def gains(model):
    return {
        layer.name: np.array(keras.ops.convert_to_numpy(layer.weight_norm_gain))
        for layer in model.layers
        if hasattr(layer, "weight_norm_gain")
    }


# The square of each gain.
EXPECTED = {
    "stem": 1 * 3 / 4,
    **{f"a{index}_1": 2 for index in range(2)},
    **{f"a{index}_2": 1 / 2 for index in range(2)},
    "b0_projection": 1 * 4 / 6,
    "b0_1": 2 * 4 / 6,
    **{f"b{index}_1": 2 for index in (1, 2)},
    **{f"b{index}_2": 1 / 3 for index in range(3)},
}


def test_gains_by_position():
    model = network()
    report = initialize(model, "arpit", seed=1)
    found = gains(model)
    assert found.keys() == EXPECTED.keys()
    for name, square in EXPECTED.items():
        np.testing.assert_allclose(found[name], math.sqrt(square), rtol=1e-6)
    for layer in model.layers:
        if hasattr(layer, "bias"):
            assert not keras.ops.convert_to_numpy(layer.bias).any()
    rules = {row.path: row.rule for row in report.rows}
    assert rules["b0_2/weight_norm_gain"] == "gamma 1/3 (last of branch)"
    assert rules["b0_projection/weight_norm_gain"] == "gamma 1 (projection)"


def test_directions_are_orthogonal():
    model = network()
    initialize(model, "arpit", seed=1)
    for name in ("a0_1", "b1_2"):
        v = keras.ops.convert_to_numpy(model.get_layer(name).weight_norm_direction)
        v = v.reshape(-1, v.shape[-1])
        np.testing.assert_allclose(v.T @ v, np.eye(v.shape[-1]), atol=1e-5)
    kernel = keras.ops.convert_to_numpy(model.get_layer("classifier").kernel)
    np.testing.assert_allclose(kernel.T @ kernel, np.eye(5), atol=1e-5)


def test_the_backward_mode_has_no_fans():
    model = network()
    initialize(model, "arpit", mode="backward", seed=1)
    np.testing.assert_allclose(gains(model)["b0_1"], math.sqrt(2), rtol=1e-6)
    np.testing.assert_allclose(gains(model)["stem"], 1, rtol=1e-6)


def test_hanin():
    model = network()
    initialize(model, "hanin", seed=1)
    found = gains(model)
    for name, number in {"a0": 1, "a1": 2, "b0": 1, "b1": 2, "b2": 3}.items():
        np.testing.assert_allclose(found[f"{name}_2"], 0.9**number, rtol=1e-6)
        first = EXPECTED[f"{name}_1"]
        np.testing.assert_allclose(found[f"{name}_1"], math.sqrt(first), rtol=1e-6)


def test_the_gain_of_pytorch_keeps_the_kernel_as_drawn(close_to):
    model = network()
    initialize(model, "kernel", seed=1)
    layer = model.get_layer("b1_1")
    v, g, kernel = (
        np.array(keras.ops.convert_to_numpy(value), float)
        for value in (layer.weight_norm_direction, layer.weight_norm_gain, layer.kernel)
    )
    np.testing.assert_allclose(g, np.sqrt(np.square(v).sum((0, 1, 2))), rtol=1e-5)
    np.testing.assert_allclose(kernel, v, rtol=1e-5, atol=1e-7)
    found = np.sqrt(np.square(kernel).mean()), kernel.size
    assert close_to(found, math.sqrt(2 / 54))


def stage(residual):
    inputs = keras.Input((6,))
    x = WeightNormDense(6, name="stem")(inputs)
    for part in residual:
        x = part(x)
    return keras.Model(inputs, keras.layers.Dense(2, name="classifier")(x))


def branch():
    return [
        WeightNormDense(9, activation="relu"),
        WeightNorm(keras.layers.Dense(6)),
    ]


def test_a_factor_of_the_model_is_not_applied_again():
    blocks = [ScaledResidual(branch(), 4) for _ in range(4)]
    model = stage(blocks)
    initialize(model, "arpit", seed=1)
    for part in blocks:
        first, last = (layer.weight_norm_gain for layer in part.branch.layers)
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(first), math.sqrt(2 * 6 / 9), rtol=1e-6
        )
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(last), math.sqrt(9 / 6), rtol=1e-6
        )


def test_an_absorbed_factor_is_in_the_gain():
    blocks = [ScaledResidual(branch(), 4, absorb=True) for _ in range(4)]
    initialize(stage(blocks), "arpit", seed=1)
    for part in blocks:
        last = part.branch.layers[1].weight_norm_gain
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(last), math.sqrt(9 / 6 / 4), rtol=1e-6
        )


def test_stacks():
    stack = ScaledResidualStack(branch(), 4)
    model = stage([stack])
    report = initialize(model, "hanin", seed=1)
    found = {v.name: keras.ops.convert_to_numpy(v) for v in stack.weights}
    shapes = {name: value.shape for name, value in found.items()}
    (last,) = (
        name for name in found if name.endswith("gain") and shapes[name] == (4, 6)
    )
    powers = np.sqrt(9 / 6) * 0.9 ** np.arange(1, 5)
    np.testing.assert_allclose(found[last], np.repeat(powers[:, None], 6, 1), rtol=1e-5)
    (direction,) = (name for name in found if shapes[name] == (4, 6, 9))
    for one, other in zip(found[direction], found[direction][1:], strict=False):
        assert not np.allclose(one, other, atol=1e-3)
        np.testing.assert_allclose(one @ one.T, np.eye(6), atol=1e-5)
    assert len(report.rows) == len(model.weights)


@pytest.mark.parametrize("scheme", ["arpit", "auto", "he_normal"])
def test_a_stack_of_one_block_is_that_block(scheme):
    found = []
    for part in ScaledResidualStack(branch(), 1), ScaledResidual(branch(), 1):
        model = stage([part])
        initialize(model, scheme, seed=1)
        found.append([keras.ops.convert_to_numpy(v) for v in model.weights])
    assert len(found[0]) == len(found[1])
    for stacked, plain in zip(*found, strict=True):
        np.testing.assert_allclose(stacked.reshape(plain.shape), plain, rtol=1e-5)


@pytest.mark.parametrize("scheme", ["arpit", "hanin", "kernel"])
def test_a_model_without_weight_norm_is_told_of_another_scheme(scheme):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match=r'must have weight-normalized.*"auto"'):
        initialize(model, scheme)


def test_plain_kernels_among_them_are_as_if_normalized():
    inputs = keras.Input((8, 8, 4))
    x = keras.layers.Conv2D(16, 3, activation="relu", name="plain")(inputs)
    x = WeightNormConv2D(5, 3)(x)
    model = keras.Model(inputs, x)
    initialize(model, "arpit", seed=1)
    kernel = keras.ops.convert_to_numpy(model.get_layer("plain").kernel)
    lengths = np.sqrt(np.square(kernel).sum((0, 1, 2)))
    np.testing.assert_allclose(lengths, math.sqrt(2 * 4 / 16), rtol=1e-5)
