"""Keras' own initializers draw for the layer that there is, not for its shape."""

import keras
import numpy as np
import pytest

from keras_convinit import initialize

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
