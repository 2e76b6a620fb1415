import copy
import json
import math
import os
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_convinit
from keras_convinit.layers import ScaledResidual, ScaledResidualStack, _initial_values

BACKEND = keras.backend.backend()


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(20220117)


def array(tensor):
    return np.array(ops.convert_to_numpy(tensor))


def gaussian(rng, *shape):
    return rng.standard_normal(shape).astype("float32")


def gradients(function, variables, x, jit=False):
    """Outputs, and the gradients of a weighted sum of them: of x, of the variables."""
    weights = gaussian(np.random.default_rng(3), *x.shape)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        @tf.function(jit_compile=jit, autograph=False)
        def derive(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = function(x)
                loss = tf.reduce_sum(tf.cast(y, "float32") * weights)
            values = [variable.value for variable in variables]
            return y, tape.gradient(loss, [x, *values])

        y, slopes = derive(tf.constant(x))
    elif BACKEND == "jax":
        import jax

        def loss(x, values):
            with keras.StatelessScope(list(zip(variables, values, strict=True))):
                y = function(x)
            return ops.sum(ops.cast(y, "float32") * weights), y

        values = [variable.value for variable in variables]
        derive = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
        (of_x, of_variables), y = derive(ops.convert_to_tensor(x), values)
        slopes = [of_x, *of_variables]
    else:
        import torch

        x = ops.convert_to_tensor(x).requires_grad_()
        y = function(x)
        loss = ops.sum(ops.cast(y, "float32") * torch.tensor(weights))
        values = [variable.value for variable in variables]
        slopes = torch.autograd.grad(loss, [x, *values])
    return array(ops.cast(y, "float32")), [array(slope) for slope in slopes]


def chain(blocks, **kwargs):
    def function(x):
        for block in blocks:
            x = block(x, **kwargs)
        return x

    return function


def close(a, b, tolerance=1e-5):
    scale = max(1.0, np.abs(b).max())
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale)


@keras.saving.register_keras_serializable("tests")
class Normed(layers.Dense):
    """Has a gain that is computed from the kernel, and changes nothing at first."""

    def build(self, input_shape):
        super().build(input_shape)
        self.weight_norm_gain = self.add_weight(
            name="weight_norm_gain",
            shape=(self.units,),
            initializer=lambda shape, dtype: ops.norm(self.kernel, axis=0),
        )

    def call(self, inputs):
        kernel = self.kernel * self.weight_norm_gain / ops.norm(self.kernel, axis=0)
        return ops.matmul(inputs, kernel) + self.bias

    def save_own_variables(self, store):
        layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store):
        layers.Layer.load_own_variables(self, store)


def dense(**kwargs):
    return [layers.Dense(9, activation="tanh"), layers.Dense(6, **kwargs)]


def convolution():
    return [
        layers.Conv2D(4, 3, padding="same", activation="relu"),
        layers.Conv2D(6, 3, padding="same"),
    ]


def functional():
    inputs = keras.Input((6,))
    hidden = layers.Dense(5, activation="tanh")(inputs)
    outputs = layers.Add()([layers.Dense(6)(hidden), ops.sin(inputs)])
    return keras.Model(inputs, outputs)


BRANCHES = {
    "one layer": lambda: layers.Dense(6, activation="tanh"),
    "dense": dense,
    "convolution": convolution,
    "nested": lambda: [keras.Sequential(dense()), layers.LayerNormalization()],
    "functional": functional,
    "gain": lambda: [Normed(6), layers.LeakyReLU()],
    "blocks": lambda: [ScaledResidual(dense(), 3), layers.Dense(6)],
    "without weights": lambda: layers.ReLU(),
}


def shape_of(branch):
    return (1, 4, 4, 6) if branch is convolution else (3, 6)


def compare(stack, blocks, x, jit=False):
    y, (of_x, *of_stack) = gradients(stack, stack.trainable_variables, x, jit)
    variables = [v for block in blocks for v in block.trainable_variables]
    z, (of_z, *of_blocks) = gradients(chain(blocks), variables, x)
    close(y, z)
    close(of_x, of_z)
    each = len(of_blocks) // len(blocks)
    assert each == len(of_stack)
    for index, slope in enumerate(of_stack):
        close(slope, np.stack(of_blocks[index::each] if each else []))


# It is the unrolled network.


@pytest.mark.parametrize("branch", BRANCHES.values(), ids=BRANCHES)
def test_it_is_the_unrolled_network(rng, branch):
    x = gaussian(rng, *shape_of(branch))
    stack = ScaledResidualStack(branch(), 3)
    stack.build(x.shape)
    compare(stack, stack.unrolled(), x)


@pytest.mark.parametrize(("num_blocks", "remat"), [(1, True), (7, False), (7, True)])
def test_it_is_the_unrolled_network_at_any_depth(rng, num_blocks, remat):
    stack = ScaledResidualStack(dense(), num_blocks, remat=remat)
    x = gaussian(rng, 3, 6)
    stack.build(x.shape)
    compare(stack, stack.unrolled(), x)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX always compiles, torch never")
@pytest.mark.parametrize("remat", [False, True])
def test_it_is_the_unrolled_network_when_compiled_by_xla(rng, remat):
    stack = ScaledResidualStack(convolution(), 5, remat=remat)
    x = gaussian(rng, 2, 5, 5, 6)
    stack.build(x.shape)
    compare(stack, stack.unrolled(), x, jit=True)


def test_the_blocks_are_the_published_recursion(rng):
    stack = ScaledResidualStack(layers.Dense(6), 4)
    x = gaussian(rng, 3, 6)
    y, kernel = array(stack(x)), array(stack.weights[0])
    expected = x
    for index in range(4):
        expected = expected + expected @ kernel[index] / 2
    close(y, expected)


def random_branch():
    # On PyTorch, dropout without a seed has PyTorch's own random numbers.
    return [
        layers.Dropout(0.5, seed=1),
        layers.Dense(6),
        layers.GaussianNoise(0.3, seed=2),
    ]


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


# Random layers.


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


# Every block has its own draw.


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
        monkeypatch.setattr(_initial_values, "FEW", few)
        keras.utils.set_random_seed(11)
        values.append(_initial_values.initial_values(layer, (None, 6), 5))
    assert len(values[0]) == 9
    for drawn, built in zip(*values, strict=True):
        np.testing.assert_allclose(drawn, built, rtol=1e-4, atol=1e-6)
    seeds = _initial_values.seeds_for_copies(layer, 5)
    assert _initial_values._drawn(layer, (None, 6), seeds) is not None


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


@pytest.mark.parametrize("num_blocks", [1, 4, 40, 400])
def test_the_norm_grows_as_the_theorem_says(rng, num_blocks):
    width, batch = 64, 128
    branch = layers.Dense(width, kernel_initializer="orthogonal")
    stack = ScaledResidualStack(branch, num_blocks)
    x = gaussian(rng, batch, width)
    norms = np.sum(x**2, 1)
    growth = np.mean(np.sum(array(stack(x)) ** 2, 1) / norms)
    # The square of the norm grows by (1 + 1/B) (1 + e) in a block; e is 2 <x, W x> /
    # sqrt(B) |x|^2 up to smaller terms, and has variance 4 / (B n) over x and
    # 4 / (B n^2) over W, as the trace of a random rotation has variance 1.
    deviation = math.sqrt(4 / (width * batch) + 4 / width**2)

    def as_the_theorem_says(measured):
        expected = (1 + 1 / num_blocks) ** num_blocks
        return abs(measured / expected - 1) < 5 * deviation

    assert as_the_theorem_says(growth)
    if num_blocks > 1:
        for factor in (1.0, 1 / num_blocks):
            h = x.astype("float64")
            for kernel in array(stack.weights[0]):
                h = h + h @ kernel * factor
            assert not as_the_theorem_says(np.mean(np.sum(h**2, 1) / norms))


# Its variables.


def test_a_variable_of_the_branch_is_one_variable_with_an_axis_more():
    branch = keras.Sequential(
        [layers.Dense(9), keras.Sequential([layers.Dense(6), layers.Dense(6)])]
    )
    branch.build((None, 6))
    stack = ScaledResidualStack(branch, 7)
    stack.build((None, 6))
    assert [tuple(v.shape) for v in stack.variables] == [
        (7, *v.shape) for v in branch.variables
    ]
    assert len({id(v) for v in stack.variables}) == len(stack.variables)
    assert stack.count_params() == 7 * branch.count_params()
    assert all(v.dtype == "float32" for v in stack.variables)


def test_names_are_readable_and_the_same_in_every_session():
    def names():
        branch = [
            layers.Dense(6),
            layers.LayerNormalization(),
            layers.Dense(6),
            layers.Dense(6, name="last_1"),
            keras.Sequential([layers.Dense(6)], name="inner"),
        ]
        stack = ScaledResidualStack(branch, 2)
        stack.build((None, 6))
        return [variable.name for variable in stack.variables]

    expected = [
        "dense_kernel",
        "dense_bias",
        "layer_normalization_gamma",
        "layer_normalization_beta",
        "dense_1_kernel",
        "dense_1_bias",
        "last_1_kernel",
        "last_1_bias",
        "inner_dense_kernel",
        "inner_dense_bias",
    ]
    assert names() == expected
    assert names() == expected
    stack = ScaledResidualStack(layers.Dense(6), 2, name="stage")
    stack.build((None, 6))
    assert [v.path for v in stack.variables] == ["stage/kernel", "stage/bias"]


def test_frozen_layers_stay_frozen(rng):
    frozen = layers.BatchNormalization(trainable=False)
    stack = ScaledResidualStack([layers.Dense(6), frozen], 3)
    stack.build((None, 6))
    assert len(stack.trainable_variables) == 2
    assert len(stack.non_trainable_variables) == 4
    x = gaussian(rng, 3, 6)
    close(array(stack(x, training=True)), array(chain(stack.unrolled())(x)))
    stack.trainable = False
    assert not stack.trainable_variables


def penalties():
    return {
        "l2": lambda: {"kernel_regularizer": keras.regularizers.L2(0.1)},
        "l1 and l1l2": lambda: {"kernel_regularizer": "l1", "bias_regularizer": "l1l2"},
        "orthogonal": lambda: {
            "kernel_regularizer": keras.regularizers.OrthogonalRegularizer(0.1)
        },
        "activity": lambda: {"activity_regularizer": keras.regularizers.L2(0.1)},
    }


@pytest.mark.parametrize("penalty", penalties().values(), ids=penalties())
def test_penalties_are_summed_over_the_blocks(rng, penalty):
    stack = ScaledResidualStack(dense(**penalty()), 3, remat=True)
    model = keras.Sequential([keras.Input((6,)), stack])
    blocks = stack.unrolled()
    unrolled = keras.Sequential([keras.Input((6,)), *blocks])
    x = gaussian(rng, 4, 6)
    model(x)
    unrolled(x)
    expected = sum(float(array(loss)) for loss in unrolled.losses)
    assert expected > 0
    assert sum(float(array(loss)) for loss in model.losses) == pytest.approx(
        expected, rel=1e-5
    )
    # And the trainer sees them.
    model.compile("sgd", "mse")
    loss = float(model.evaluate(x, array(model(x)), verbose=0))
    assert loss == pytest.approx(expected, rel=1e-4)


def test_constraints_hold_for_each_block(rng):
    stack = ScaledResidualStack(dense(kernel_constraint="unit_norm"), 3)
    model = keras.Sequential([keras.Input((6,)), stack])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x = gaussian(rng, 4, 6)
    model.fit(x, -x, epochs=1, verbose=0)
    norms = np.linalg.norm(array(stack.weights[2]), axis=1)
    np.testing.assert_allclose(norms, 1, rtol=1e-5)


# What it refuses.


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


# One block.


def test_a_block_is_a_layer_of_its_own(rng):
    stack = ScaledResidualStack(dense(), 3, name="stage")
    with pytest.raises(ValueError, match="must be built"):
        stack.unrolled()
    with pytest.raises(ValueError, match="built=False"):
        stack.block(0)
    stack.build((None, 6))
    for index in (-1, 3, 0.5):
        with pytest.raises(ValueError, match=r"`index` must be.*Received: index="):
            stack.block(index)
    blocks = stack.unrolled()
    assert [block.name for block in blocks] == [f"stage_block_{i}" for i in range(3)]
    x = gaussian(rng, 3, 6)
    for index, block in enumerate(blocks):
        np.testing.assert_array_equal(array(block(x)), array(stack.block(index)(x)))
        for value, stacked in zip(block.weights, stack.weights, strict=True):
            np.testing.assert_array_equal(array(value), array(stacked)[index])
    # A copy: what becomes of it does not concern the stack.
    before = array(stack.weights[0])
    blocks[0].weights[0].assign(ops.zeros((6, 9)))
    np.testing.assert_array_equal(array(stack.weights[0]), before)


def test_kernels_have_the_geometry_of_one_block():
    stack = ScaledResidualStack(
        [layers.Conv2D(8, 3, padding="same", groups=2), layers.Dense(4)], 5
    )
    with pytest.raises(ValueError, match="`layer` must be built"):
        keras_convinit.kernels_of(stack)
    stack.build((None, 8, 8, 4))
    convolution, dense = keras_convinit.kernels_of(stack)
    assert convolution.name == "branch.layers[0].kernel"
    assert convolution.variable is stack.weights[0]
    assert convolution.geometry.fans() == (18, 36)
    assert dense.variable is stack.weights[2]
    assert dense.geometry.fans() == (8, 4)
    assert (convolution.copies, dense.copies) == (5, 5)
    (kernel, _) = keras_convinit.kernels_of(stack.block(0))
    assert tuple(convolution.variable.shape) == (5, *kernel.variable.shape)


# As a layer among others.


def model_of(stack):
    return keras.Sequential([keras.Input((6,)), stack, layers.Dense(1)])


# Whether XLA compiles the model, and whether activations are computed again.
WAYS = {
    "tensorflow": [(False, False), (False, True), (True, False), (True, True)],
    "jax": [(True, False), (True, True)],
    "torch": [(False, False), (False, True)],
}


@pytest.mark.parametrize(("jit", "remat"), WAYS[BACKEND])
def test_it_is_trained_and_predicts_without_a_change(rng, jit, remat):
    stack = ScaledResidualStack([*dense(), layers.Dropout(0.1)], 3, remat=remat)
    model = model_of(stack)
    model.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=jit)
    assert model.jit_compile == jit
    x, y = gaussian(rng, 16, 6), gaussian(rng, 16, 1)
    start = [array(v) for v in model.trainable_variables]
    history = model.fit(x, y, batch_size=16, epochs=4, verbose=0).history["loss"]
    assert history[-1] < history[0]
    for before, variable in zip(start, model.trainable_variables, strict=True):
        changed = array(variable) != before
        assert changed.reshape(len(changed), -1).any(1).all(), variable.path
    before = [array(v) for v in model.variables]
    model.predict(x, verbose=0)
    for value, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(value, array(variable))


def test_it_works_without_state(rng):
    model = model_of(ScaledResidualStack(random_branch(), 3))
    x = gaussian(rng, 4, 6)
    trainable = [v.value for v in model.trainable_variables]
    others = [v.value for v in model.non_trainable_variables]
    before = [array(v) for v in model.variables]
    first, others = model.stateless_call(trainable, others, x, training=True)
    second, _ = model.stateless_call(trainable, others, x, training=True)
    assert not np.array_equal(array(first), array(second))
    for value, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(value, array(variable))
    zeros = [ops.zeros_like(value) for value in trainable]
    outputs, _ = model.stateless_call(zeros, others, x)
    np.testing.assert_array_equal(array(outputs), 0)


@pytest.mark.parametrize(
    ("policy", "remat"), [("mixed_float16", False), ("mixed_bfloat16", True)]
)
def test_mixed_precision(rng, policy, remat):
    branch = [
        layers.Dense(6, dtype=policy),
        # Asks for more than the stack computes in, and gets it.
        Normed(6, dtype="float32"),
        layers.Dropout(0.0, dtype=policy),
    ]
    stack = ScaledResidualStack(branch, 3, remat=remat, dtype=policy)
    x = gaussian(rng, 4, 6)
    y = stack(x)
    assert keras.backend.standardize_dtype(y.dtype) == stack.compute_dtype
    assert {v.dtype for v in stack.variables} == {"float32"}
    # As compilers may round less often, to a few units in the last place.
    eps = 2.0**-8 if policy == "mixed_bfloat16" else 2.0**-11
    z = chain(stack.unrolled())(x)
    close(array(ops.cast(y, "float32")), array(ops.cast(z, "float32")), 4 * eps)
    _, slopes = gradients(stack, stack.trainable_variables, x)
    assert all(np.all(np.isfinite(slope)) for slope in slopes)
    assert {slope.dtype.name for slope in slopes} == {"float32"}


def test_a_model_may_build_it_late_and_in_mixed_precision(rng):
    class Late(keras.Model):
        def __init__(self):
            super().__init__(dtype="mixed_bfloat16")
            self.stack = ScaledResidualStack(
                [functional(), layers.Dropout(0.1)], 3, dtype="mixed_bfloat16"
            )
            self.head = layers.Dense(1, dtype="mixed_bfloat16")

        def call(self, inputs):
            return self.head(self.stack(inputs))

    model = Late()
    model.compile("sgd", "mse")
    model.fit(gaussian(rng, 4, 6), gaussian(rng, 4, 1), epochs=1, verbose=0)
    kernel = array(model.stack.weights[0])
    assert len({block.tobytes() for block in kernel}) == 3
    rounded = array(ops.cast(ops.cast(kernel, "bfloat16"), "float32"))
    assert not np.array_equal(kernel, rounded)


def test_dimensions_may_be_unknown(rng):
    stack = ScaledResidualStack(convolution(), 3)
    inputs = keras.Input((None, None, 6))
    outputs = stack(inputs)
    assert outputs.shape == (None, None, None, 6)
    model = keras.Model(inputs, outputs)
    for size in (4, 5):
        x = gaussian(rng, 2, size, size, 6)
        y = model.predict(x, verbose=0)
        close(y, array(chain(stack.unrolled())(x)))


def test_a_mask_reaches_every_block_and_what_follows():
    @keras.saving.register_keras_serializable("tests")
    class Masked(layers.Layer):
        def call(self, inputs, mask=None):
            if mask is None:
                return inputs
            return inputs * ops.expand_dims(ops.cast(mask, inputs.dtype), -1)

    class Mask(layers.Layer):
        def call(self, inputs, mask=None):
            return mask

    stack = ScaledResidualStack(Masked(), 4)
    x = layers.Embedding(4, 6, mask_zero=True)(np.array([[1, 0, 2]]))
    y = stack(x)
    close(array(y), array(x) * np.array([1.5**4, 1, 1.5**4])[:, None])
    assert array(Mask()(y)).tolist() == [[True, False, True]]


# Saved, loaded and copied.


def test_it_is_loaded_in_a_fresh_process(rng, tmp_path):
    inputs = keras.Input((6,))
    outputs = ScaledResidualStack(dense(), 3, remat=True)(inputs)
    outputs = ScaledResidualStack(layers.Dense(6), 20)(outputs)
    model = keras.Model(inputs, outputs)
    x = gaussian(rng, 3, 6)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    np.savez(tmp_path / "data.npz", x=x, y=array(model(x)))
    code = """
import sys, keras, keras_convinit, numpy as np
folder = sys.argv[1]
data = np.load(folder + "/data.npz")
model = keras.models.load_model(folder + "/model.keras")
assert [layer.remat for layer in model.layers[1:]] == [True, False]
other = keras.models.clone_model(model)
assert not np.allclose(keras.ops.convert_to_numpy(other(data["x"])), data["y"])
other.load_weights(folder + "/model.weights.h5")
for loaded in (model, other):
    y = keras.ops.convert_to_numpy(loaded(data["x"]))
    np.testing.assert_allclose(y, data["y"], rtol=1e-5, atol=1e-5)
"""
    environment = {**os.environ, "KERAS_BACKEND": BACKEND}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, env=environment
    )


@pytest.mark.parametrize("branch", BRANCHES.values(), ids=BRANCHES)
def test_its_configuration_makes_it_again(branch):
    stack = ScaledResidualStack(branch(), 3, remat=True, name="stage")
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(stack)))
    again = keras.saving.deserialize_keras_object(config)
    assert (again.num_blocks, again.remat, again.name) == (3, True, "stage")
    stack.build(shape_of(branch))
    again.build(shape_of(branch))
    assert [v.path for v in again.variables] == [v.path for v in stack.variables]
    assert [v.shape for v in again.variables] == [v.shape for v in stack.variables]


def test_a_clone_has_draws_of_its_own_and_a_copy_has_not(rng):
    model = model_of(ScaledResidualStack(random_branch(), 3))
    x = gaussian(rng, 3, 6)
    y = array(model(x))
    assert not np.allclose(array(keras.models.clone_model(model)(x)), y)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_allclose(array(other(x)), y, rtol=1e-6)


def test_the_branch_that_is_given_is_left_alone(rng):
    branch = keras.Sequential([keras.Input((6,)), *dense()])
    before = [array(v) for v in branch.weights]
    stack = ScaledResidualStack(branch, 3)
    model = model_of(stack)
    model.compile("sgd", "mse")
    model.fit(gaussian(rng, 4, 6), gaussian(rng, 4, 1), epochs=1, verbose=0)
    for value, variable in zip(before, branch.weights, strict=True):
        np.testing.assert_array_equal(value, array(variable))
    assert not {id(v) for v in branch.variables} & {id(v) for v in model.variables}
