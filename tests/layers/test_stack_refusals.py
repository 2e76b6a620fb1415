import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_convinit.layers import ScaledResidualStack


def test_state_that_changes_is_named():
    stack = ScaledResidualStack([layers.Dense(6), layers.BatchNormalization()], 3)
    named = r"must not change variables.*batch_normalization\w*/moving_mean"
    with pytest.raises(ValueError, match=named):
        stack.build((None, 6))
    stack = ScaledResidualStack(layers.SpectralNormalization(layers.Dense(6)), 3)
    with pytest.raises(ValueError, match="must not change variables"):
        stack.build((None, 6))


def test_random_numbers_without_a_generator_are_refused():
    @keras.saving.register_keras_serializable("tests")
    class Careless(layers.Layer):
        def call(self, inputs):
            return inputs + keras.random.normal(ops.shape(inputs))

    # PyTorch has no random numbers where only shapes are computed.
    with pytest.raises(ValueError, match="SeedGenerator"):
        ScaledResidualStack(Careless(), 3)(np.ones((2, 6), "float32"))


def test_shapes_that_differ_are_both_named():
    stack = ScaledResidualStack(layers.Conv2D(6, 3, strides=2, padding="same"), 3)
    with pytest.raises(ValueError, match=r"\(None, 4, 4, 6\).*\(None, 8, 8, 6\)"):
        stack.build((None, 8, 8, 6))
    with pytest.raises(ValueError, match=r"\(None, 1\).*\(None, 6\)"):
        ScaledResidualStack(layers.Dense(1), 3).build((None, 6))


@pytest.mark.parametrize("num_blocks", [0, -1, 1.5, True, "3", None])
def test_the_number_of_blocks_is_a_positive_integer(num_blocks):
    with pytest.raises(ValueError, match=r"`num_blocks` must be.*Received: num_blocks"):
        ScaledResidualStack(layers.Dense(4), num_blocks)


def test_a_branch_must_be_made_of_layers():
    with pytest.raises(ValueError, match="`branch` must be a Keras layer"):
        ScaledResidualStack("relu", 2)
