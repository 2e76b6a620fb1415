import keras
import numpy as np
import pytest

from keras_convinit.lab.models import residual_cnn

pytestmark = pytest.mark.once


def small(**arguments):
    return residual_cnn(2, 4, input_shape=(8, 8, 1), num_classes=3, **arguments)


@pytest.mark.parametrize(
    ("normalization", "extra"),
    [
        (None, 0),
        # A gain for each filter of five convolutions.
        ("weight", 5 * 4),
        # Four numbers for each channel of the input of four, and behind the blocks.
        ("batch", 5 * 4 * 4),
    ],
)
def test_parameters_are_those_of_the_formula(normalization, extra):
    model = small(normalization=normalization)
    stem = 9 * 1 * 4 + 4
    block = 2 * (9 * 4 * 4 + 4)
    assert model.count_params() == stem + 2 * block + extra + 4 * 3 + 3


def test_blocks_keep_the_shape_and_have_names():
    model = small(normalization="weight", scaled=True)
    assert [model.get_layer(f"block_{i}").output.shape for i in (1, 2)] == [
        (None, 8, 8, 4)
    ] * 2
    assert model.output.shape == (None, 3)


@pytest.mark.everywhere
@pytest.mark.parametrize("scaled", [False, True])
def test_scale_is_the_root_of_the_number_of_blocks(scaled):
    model = small(scaled=scaled)
    block = model.get_layer("block_1")
    inputs = np.random.default_rng(0).standard_normal((2, 8, 8, 4)).astype("float32")
    branch = keras.ops.convert_to_numpy(block.branch(inputs))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(block(inputs)),
        inputs + branch / (np.sqrt(2) if scaled else 1),
        rtol=1e-5,
        atol=1e-6,
    )


def test_gains_follow_the_position():
    model = small(normalization="weight", kernel_initializer="orthogonal")
    first, *_, last = model.get_layer("block_1").branch.layers
    np.testing.assert_allclose(first.weight_norm_gain, np.sqrt(2), rtol=1e-6)
    np.testing.assert_allclose(last.weight_norm_gain, 1, rtol=1e-6)
    # One input channel, four outputs, and no ReLU behind it.
    np.testing.assert_allclose(model.layers[1].weight_norm_gain, 0.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"blocks": 0}, "`blocks` must be an integer of at least 1"),
        ({"normalization": "layer"}, "`normalization` must be one of None, batch"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        residual_cnn(**{"blocks": 2, "width": 4, **arguments})
