"""Keras' own initializers draw for the layer that there is, not for its shape."""

import keras
import numpy as np
import pytest

import keras_convinit
from keras_convinit import initialize, kernels_of

layers = keras.layers


def kernel_of(layer, shape, initializer):
    model = keras.Sequential([keras.Input(shape), layer])
    initialize(model, initializer, seed=5)
    return np.array(keras.ops.convert_to_numpy(layer.kernel))


FANS = {
    "depthwise": (layers.DepthwiseConv2D(3, depth_multiplier=4), 9, 36, 128),
    "grouped": (layers.Conv2D(96, 3, groups=4), 9 * 32, 9 * 24, 128),
    "transposed": (layers.Conv2DTranspose(24, 3), 9 * 128, 9 * 24, 128),
    "einsum": (layers.EinsumDense("bxyc,cd->bxyd", (None, None, 64)), 128, 64, 128),
}


@pytest.mark.parametrize("name", FANS)
@pytest.mark.parametrize(
    ("initializer", "scale"),
    [
        ("he_normal", lambda fan_in, fan_out: 2 / fan_in),
        ("glorot_uniform", lambda fan_in, fan_out: 2 / (fan_in + fan_out)),
        ("zhang_backward", lambda fan_in, fan_out: 2 / fan_out),
    ],
)
def test_fans(name, initializer, scale, close_to):
    layer, fan_in, fan_out, channels = FANS[name]
    layer = type(layer).from_config(layer.get_config())
    initializer = keras.initializers.get(initializer)
    kernel = kernel_of(layer, (8, 8, channels), initializer)
    found = np.sqrt(np.square(kernel.astype(float)).mean()), kernel.size
    assert close_to(found, np.sqrt(scale(fan_in, fan_out)))
    assert not close_to(found, 2 * np.sqrt(scale(fan_in, fan_out)))


def orthonormal(rows):
    """Whether rows are so, or columns where there are fewer of them."""
    if rows.shape[0] > rows.shape[1]:
        rows = rows.T
    return np.allclose(rows @ rows.T, np.eye(len(rows)), atol=1e-5)


def test_transposed_kernels_are_orthogonal_from_inputs_to_outputs():
    kernel = kernel_of(layers.Conv2DTranspose(5, 3), (8, 8, 40), "orthogonal")
    assert kernel.shape == (3, 3, 5, 40)
    by_outputs = np.moveaxis(kernel, 2, 0).reshape(5, -1)
    assert orthonormal(by_outputs)
    # What Keras makes of the shape is not.
    keras_kernel = keras.initializers.Orthogonal(seed=1)((3, 3, 5, 40))
    keras_kernel = np.array(keras.ops.convert_to_numpy(keras_kernel))
    assert not orthonormal(np.moveaxis(keras_kernel, 2, 0).reshape(5, -1))


def test_every_group_is_orthogonal():
    kernel = kernel_of(layers.Conv2D(12, 3, groups=3), (8, 8, 6), "orthogonal")
    assert kernel.shape == (3, 3, 2, 12)
    groups = [kernel[..., i * 4 : (i + 1) * 4].reshape(-1, 4) for i in range(3)]
    assert all(map(orthonormal, groups))
    assert not np.allclose(groups[0], groups[1])


def test_every_channel_of_a_depthwise_kernel_is_orthogonal():
    layer = layers.DepthwiseConv2D(3, depth_multiplier=2)
    kernel = kernel_of(layer, (8, 8, 5), "orthogonal")
    assert kernel.shape == (3, 3, 5, 2)
    channels = [kernel[..., channel, :].reshape(9, 2) for channel in range(5)]
    assert all(map(orthonormal, channels))
    assert not np.allclose(channels[0], channels[1])


# A matrix for each position or expert: equation, shapes, and how to see them one by
# one as (inputs, outputs).
SEPARATE = {
    "abc,bcd->abd": ((6, 4), (6, 5), lambda k: list(k)),
    "abc,cbd->abd": ((6, 4), (6, 5), lambda k: list(np.moveaxis(k, 1, 0))),
    "abcd,bde->abce": ((3, 6, 4), (3, 6, 5), lambda k: list(k)),
    "abcd,cde->abce": ((6, 3, 4), (6, 3, 5), lambda k: list(k)),
    "abc,bdc->abd": ((6, 4), (6, 5), lambda k: [m.T for m in k]),
    "abcd,bcde->abce": ((2, 3, 4), (2, 3, 5), lambda k: list(k.reshape(6, 4, 5))),
}
DRAWN = ["orthogonal", keras.initializers.RandomNormal(stddev=0.1), "lsuv", "he_normal"]


@pytest.mark.parametrize("scheme", DRAWN, ids=["orthogonal", "normal", "lsuv", "he"])
@pytest.mark.parametrize("equation", SEPARATE)
def test_every_matrix_of_an_einsum_is_drawn_by_itself(equation, scheme):
    shape, output, matrices = SEPARATE[equation]
    layer = layers.EinsumDense(equation, output, name="einsum")
    model = keras.Sequential([keras.Input(shape), layer])
    x = np.random.default_rng(0).standard_normal((32, *shape)).astype("float32")
    report = initialize(model, scheme, x, seed=5)
    (row,) = (row for row in report.rows if row.fan_in)
    found = matrices(np.array(keras.ops.convert_to_numpy(layer.kernel)))
    assert row.fan_in == 4
    assert {matrix.shape for matrix in found} == {(4, 5)}
    for index, matrix in enumerate(found):
        for other in found[:index]:
            assert not np.allclose(matrix, other)
    if scheme == "orthogonal":
        assert all(map(orthonormal, found))
    elif scheme == "lsuv":
        # One factor for all of them.
        grams = np.stack([matrix @ matrix.T for matrix in found])
        expected = np.broadcast_to(grams[0, 0, 0] * np.eye(4), grams.shape)
        np.testing.assert_allclose(grams, expected, atol=1e-5)
        outputs = keras.ops.convert_to_numpy(model(x))
        assert np.std(outputs) == pytest.approx(1, abs=0.011)


@pytest.mark.parametrize("equation", ["abc,bcd->abd", "abc,cbd->abd", "abcd,cde->abce"])
def test_data_dependent_with_a_matrix_for_each_position(equation):
    shape, output, matrices = SEPARATE[equation]
    inner = layers.EinsumDense(equation, output)
    layer = keras_convinit.layers.WeightNorm(inner)
    model = keras.Sequential([keras.Input(shape), layer])
    x = np.random.default_rng(0).standard_normal((64, *shape)).astype("float32")
    initialize(model, "data_dependent", x, seed=5)
    directions = matrices(np.array(keras.ops.convert_to_numpy(inner.kernel)))
    assert all(map(orthonormal, directions))
    # Every output of every matrix by itself.
    count = len(directions)
    outputs = keras.ops.convert_to_numpy(model(x))
    outputs = np.moveaxis(outputs, 1 + shape.index(count), 0).reshape(count, -1, 5)
    np.testing.assert_allclose(outputs.std(1), 1, rtol=1e-4)


def test_delta_orthogonal_refuses_more_inputs_than_outputs():
    layer = layers.EinsumDense("abc,bcd->abd", (6, 3))
    model = keras.Sequential([keras.Input((6, 4)), layer])
    before = np.array(keras.ops.convert_to_numpy(layer.kernel))
    with pytest.raises(ValueError, match="no more inputs than outputs"):
        initialize(model, "delta_orthogonal", seed=5)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer.kernel), before)


def test_delta_orthogonal_of_a_depthwise_kernel_is_at_its_center():
    layer = layers.DepthwiseConv2D(3, depth_multiplier=2)
    kernel = kernel_of(layer, (8, 8, 5), "delta_orthogonal")
    norms = np.sqrt(np.square(kernel).sum(3))
    expected = np.zeros((3, 3, 5))
    expected[1, 1] = 1
    np.testing.assert_allclose(norms, expected, atol=1e-6)


@pytest.mark.parametrize("which", ["query", "output"])
def test_kernels_of_attention_are_orthogonal_over_all_heads(which):
    layer = layers.MultiHeadAttention(4, 3)
    inputs = keras.Input((5, 12))
    model = keras.Model(inputs, layer(inputs, inputs))
    report = initialize(model, "orthogonal", seed=5)
    dense = layer.query_dense if which == "query" else layer.output_dense
    kernel = np.array(keras.ops.convert_to_numpy(dense.kernel))
    assert kernel.shape == ((12, 4, 3) if which == "query" else (4, 3, 12))
    assert orthonormal(kernel.reshape(12, 12))
    (row,) = (row for row in report.rows if row.path == dense.kernel.path)
    assert np.sqrt(np.square(kernel).mean()) == pytest.approx(row.target_std)


def test_geometry_says_where_groups_are():
    shapes = {
        "abc,bcd->abd": ((6, 4), (6, 5), (-3,), (-3, -1)),
        "abc,cbd->abd": ((6, 4), (6, 5), (-2,), (-2, -1)),
        "abc,cd->abd": ((6, 4), (6, 5), (), (-1,)),
    }
    for equation, (shape, output, groups, outputs) in shapes.items():
        layer = layers.EinsumDense(equation, output)
        layer.build((None, *shape))
        ((kernel),) = kernels_of(layer)
        assert kernel.geometry.group_axes == groups
        assert kernel.geometry.output_axes == outputs
