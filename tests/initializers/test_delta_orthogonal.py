import keras
import numpy as np
import pytest

from keras_convinit.initializers import DeltaOrthogonal


def matrix_of(convolution, shape):
    """The convolution as a matrix, from its action on every unit alone."""
    units = int(np.prod(shape))
    outputs = convolution(np.eye(units, dtype="float32").reshape(units, *shape))
    return keras.ops.convert_to_numpy(outputs).reshape(units, -1).astype(float)


@pytest.mark.parametrize(
    ("convolution", "size", "shape"),
    [
        (keras.layers.Conv1D, 3, (7, 4)),
        (keras.layers.Conv2D, 3, (5, 6, 4)),
        (keras.layers.Conv2D, 1, (5, 6, 4)),
        # The center of an even kernel is where "same" pads none before it.
        (keras.layers.Conv2D, (2, 4), (5, 6, 4)),
        (keras.layers.Conv3D, 3, (3, 3, 3, 4)),
    ],
)
@pytest.mark.parametrize("gain", [1.0, 1.5])
def test_every_singular_value_is_the_gain(convolution, size, shape, gain):
    layer = convolution(
        6, size, padding="same", kernel_initializer=DeltaOrthogonal(gain)
    )
    values = np.linalg.svd(matrix_of(layer, shape), compute_uv=False)
    np.testing.assert_allclose(values, gain, rtol=1e-5)


def test_the_built_in_orthogonal_initializer_is_no_isometry():
    layer = keras.layers.Conv2D(
        6, 3, padding="same", kernel_initializer=keras.initializers.Orthogonal(seed=1)
    )
    values = np.linalg.svd(matrix_of(layer, (5, 6, 4)), compute_uv=False)
    assert values.max() - values.min() > 0.5


def test_of_a_dense_layer():
    weights = keras.ops.convert_to_numpy(DeltaOrthogonal(2.0)((4, 6)))
    np.testing.assert_allclose(weights @ weights.T, 4 * np.eye(4), atol=1e-5)


def test_the_matrix_is_uniform():
    # The first weight of a uniform unit vector of 8 numbers: mean 0, variance 1/8.
    draw = DeltaOrthogonal(seed=keras.random.SeedGenerator(1))
    first = np.array(
        [keras.ops.convert_to_numpy(draw((8, 8)))[0, 0] for _ in range(400)]
    )
    # Without the signs of QR this mean is off by far more.
    assert abs(first.mean()) < 5 / np.sqrt(8 * 400)
    assert abs(8 * np.square(first).mean() - 1) < 5 * np.sqrt(2 / 400)


def test_more_inputs_than_outputs_are_refused():
    with pytest.raises(ValueError, match="no more inputs than outputs") as caught:
        DeltaOrthogonal()((3, 3, 8, 4))
    assert "Received: shape=(3, 3, 8, 4), so inputs=8 and outputs=4" in str(
        caught.value
    )
