import math

import keras
import numpy as np
import pytest
from helpers.stacks import chain, close, gradients, random_branch
from helpers.values import array, gaussian
from keras import layers

from keras_convinit.layers import ScaledResidualStack


def let_draw_the_same(blocks, stack):
    """Puts the generators of the blocks where those of the stack will be next."""
    generator = keras.random.SeedGenerator(0)
    generator.state.assign(stack.seed_generator.state)
    numbers = keras.random.randint(
        (2, len(blocks), 1), 0, 2**31 - 1, dtype="int32", seed=generator
    )
    for index, block in enumerate(blocks):
        noisy = (block.branch.layers[0], block.branch.layers[2])
        for number, layer in zip(array(numbers)[:, index, 0], noisy, strict=True):
            layer.seed_generator.state.assign([number, 0])


@pytest.mark.parametrize("remat", [False, True])
def test_it_is_the_unrolled_network_in_training(rng, remat):
    stack = ScaledResidualStack(random_branch(), 5, remat=remat)
    x = gaussian(rng, 3, 6)
    stack.build(x.shape)
    blocks = stack.unrolled()
    let_draw_the_same(blocks, stack)
    variables = [v for block in blocks for v in block.trainable_variables]
    expected, (of_x, *of_blocks) = gradients(chain(blocks, training=True), variables, x)
    y, (slope, *of_stack) = gradients(
        lambda x: stack(x, training=True), stack.trainable_variables, x
    )
    close(y, expected)
    close(slope, of_x)
    for index, slope in enumerate(of_stack):
        close(slope, np.stack(of_blocks[index::2]))
    assert not np.allclose(y, array(stack(x)), atol=1e-2)


def test_what_is_computed_again_draws_the_same_again(rng):
    kept = ScaledResidualStack([layers.Dropout(0.5), layers.Dense(6)], 5)
    again = ScaledResidualStack([layers.Dropout(0.5), layers.Dense(6)], 5, remat=True)
    x = gaussian(rng, 3, 6)
    results = []
    for stack in (kept, again):
        stack.build(x.shape)
        stack.set_weights(kept.get_weights())
        stack.seed_generator.state.assign([4, 0])
        keras.utils.set_random_seed(3)
        results.append(
            gradients(lambda x, stack=stack: stack(x, training=True), stack.weights, x)
        )
    (y, slopes), (z, others) = results
    close(y, z)
    for slope, other in zip(slopes, others, strict=True):
        close(slope, other)


def test_dropout_differs_from_block_to_block_and_from_step_to_step():
    stack = ScaledResidualStack(layers.Dropout(0.5), 2)
    x = np.ones((4, 100), "float32")
    factor = 1 / math.sqrt(2)
    close(array(stack(x)), np.full_like(x, (1 + factor) ** 2))
    first, second = (array(stack(x, training=True)) for _ in range(2))
    assert not np.array_equal(first, second)
    # Dropped twice, once, or never; with equal masks it would never be once.
    share = [np.mean(np.isclose(first, (1 + 2 * factor) ** n)) for n in range(3)]
    assert sum(share) == 1
    deviation = np.sqrt(np.array([3, 4, 3]) / 16 / x.size)
    assert np.all(np.abs(np.array(share) - [0.25, 0.5, 0.25]) < 5 * deviation)


def test_random_state_moves_in_training_only(rng):
    stack = ScaledResidualStack(random_branch(), 2)
    model = keras.Sequential([keras.Input((6,)), stack])
    model.compile("sgd", "mse")
    x = gaussian(rng, 8, 6)
    state = stack.seed_generator.state
    start = array(state)
    model.predict(x, verbose=0)
    np.testing.assert_array_equal(array(state), start)
    model.fit(x, x, batch_size=4, epochs=1, verbose=0)
    assert (array(state) - start).tolist() == [0, 2]


def test_dropout_that_is_always_on_moves_its_state_always():
    @keras.saving.register_keras_serializable("tests")
    class Always(layers.Dropout):
        def call(self, inputs, training=None):
            return super().call(inputs, training=True)

    stack = ScaledResidualStack(Always(0.5), 2)
    x = np.ones((4, 100), "float32")
    assert not np.array_equal(array(stack(x)), array(stack(x)))


def test_random_layers_with_seeds_repeat():
    x = np.ones((4, 100), "float32")
    stacks = [ScaledResidualStack(layers.Dropout(0.5, seed=s), 2) for s in (1, 1, 2)]
    first, second, third = (array(stack(x, training=True)) for stack in stacks)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, third)
    # The unrolled blocks have different seeds.
    masks = [array(block(x, training=True)) for block in stacks[0].unrolled()]
    assert not np.array_equal(*masks)
