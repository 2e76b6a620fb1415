import math

import keras
import numpy as np
import pytest
from helpers.stacks import Normed
from helpers.values import array
from keras import layers

import keras_convinit
from keras_convinit import _copies
from keras_convinit.layers import ScaledResidual, ScaledResidualStack


def seeds():
    shared = keras.initializers.HeNormal()
    fixed = keras.initializers.Orthogonal(seed=5)
    return {
        "string": lambda: "he_normal",
        "shared": lambda: shared,
        "number": lambda: keras.initializers.HeNormal(seed=5),
        "one object": lambda: fixed,
        "generator": lambda: keras.initializers.GlorotUniform(
            seed=keras.random.SeedGenerator(5)
        ),
        "ours": lambda: "zhang_backward",
        "ours with a number": lambda: keras_convinit.initializers.ZhangForward(seed=5),
    }


@pytest.mark.parametrize("num_blocks", [3, 40])
@pytest.mark.parametrize("initializer", seeds().values(), ids=seeds())
def test_every_block_has_its_own_draw(initializer, num_blocks):
    branch = [layers.Dense(6, kernel_initializer=initializer()) for _ in range(2)]
    stack = ScaledResidualStack(branch, num_blocks)
    stack.build((None, 6))
    kernels = [array(kernel.variable) for kernel in keras_convinit.kernels_of(stack)]
    slices = {block.tobytes() for kernel in kernels for block in kernel}
    assert len(slices) == 2 * num_blocks


def test_it_draws_for_the_shape_of_one_block():
    stack = ScaledResidualStack(
        [
            layers.Conv2D(8, 3, padding="same", kernel_initializer="he_normal"),
            layers.Conv2D(
                8,
                3,
                padding="same",
                kernel_initializer=keras.initializers.Orthogonal(gain=0.5),
            ),
        ],
        48,
    )
    stack.build((None, 4, 4, 8))
    normal, _, orthogonal, _ = map(array, stack.weights)
    # Truncated at two deviations, the fourth moment is less than that of a Gaussian.
    tolerance = 5 * math.sqrt(2 / normal.size)
    variance = np.mean(normal**2)
    assert abs(variance / (2 / 72) - 1) < tolerance
    assert abs(variance / (2 / (48 * 72)) - 1) > tolerance
    columns = orthogonal.reshape(48, 72, 8)
    gram = np.einsum("bij,bik->bjk", columns, columns)
    np.testing.assert_allclose(gram, np.tile(np.eye(8) / 4, (48, 1, 1)), atol=1e-5)


def everything():
    return [
        Normed(6, kernel_initializer="he_normal"),
        layers.Dense(
            6,
            kernel_initializer=keras.initializers.Orthogonal(seed=3),
            bias_initializer="ones",
        ),
        ScaledResidual(layers.Dense(6, kernel_initializer="glorot_uniform"), 2),
        layers.LayerNormalization(),
    ]


def test_drawing_comes_to_the_same_as_building_one_by_one(monkeypatch):
    layer = keras.Sequential(everything())
    values = []
    for few in (0, 100):
        monkeypatch.setattr(_copies, "FEW", few)
        keras.utils.set_random_seed(11)
        values.append(_copies.draw_initial_values(layer, (None, 6), 5))
    assert len(values[0]) == 9
    for drawn, built in zip(*values, strict=True):
        np.testing.assert_allclose(drawn, built, rtol=1e-4, atol=1e-6)
    seeds = _copies.draw_seeds(layer, 5)
    assert _copies._draw_at_once(layer, (None, 6), seeds) is not None


@pytest.mark.parametrize("num_blocks", [3, 40])
def test_a_gain_is_that_of_its_own_kernel(num_blocks):
    stack = ScaledResidualStack(Normed(6), num_blocks)
    stack.build((None, 6))
    kernel, _, gain = map(array, stack.weights)
    np.testing.assert_allclose(gain, np.linalg.norm(kernel, axis=1), rtol=1e-5)


def by_numpy(shape, dtype=None):
    return np.random.standard_normal(shape).astype(dtype)


def test_an_initializer_may_get_its_numbers_elsewhere():
    branch = layers.Dense(6, kernel_initializer=by_numpy)
    with keras.saving.custom_object_scope({"by_numpy": by_numpy}):
        stack = ScaledResidualStack(branch, 40)
        stack.build((None, 6))
    assert len({block.tobytes() for block in array(stack.weights[0])}) == 40


def test_draws_repeat_with_the_seed():
    def kernel(seed, number=None):
        keras.utils.set_random_seed(seed)
        initializer = keras.initializers.HeNormal(seed=number)
        stack = ScaledResidualStack(layers.Dense(6, kernel_initializer=initializer), 20)
        stack.build((None, 6))
        return array(stack.weights[0])

    np.testing.assert_array_equal(kernel(1), kernel(1))
    assert not np.array_equal(kernel(1), kernel(2))
    np.testing.assert_array_equal(kernel(1, 5), kernel(2, 5))
    assert not np.array_equal(kernel(1, 5), kernel(1, 6))
