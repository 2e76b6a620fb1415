import keras
import numpy as np
import pytest
from helpers.stacks import chain, close, dense, functional
from helpers.values import array, gaussian
from keras import layers

import keras_convinit
from keras_convinit.layers import ScaledResidualStack, stacked_variables_of


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


def test_rows_of_the_variables_are_values_of_the_template(rng):
    stack = ScaledResidualStack(functional(), 3)
    # The template of a functional model is built before the stack is.
    assert stack.branch.built
    assert stack.stacked_variables == ()
    assert stacked_variables_of(stack) == ()
    stack.build((None, 6))
    pairs = stack.stacked_variables
    assert stacked_variables_of(stack) == pairs
    assert [pair.variable for pair in pairs] == stack.weights
    assert [pair.template for pair in pairs] == stack.branch.weights
    for pair in pairs:
        pair.variable.assign(gaussian(rng, *pair.variable.shape))
    x = gaussian(rng, 4, 6)
    y = keras.ops.convert_to_tensor(x)
    for index in range(3):
        values = [(pair.template, pair.variable[index]) for pair in pairs]
        with keras.StatelessScope(values):
            y = y + stack.branch(y) * stack.branch_factor
    close(array(stack(x)), array(y))


def test_blocks_are_called_by_their_paths():
    stack = ScaledResidualStack(layers.Dense(6), 3, name="stage")
    stack.build((None, 6))
    assert stack.block_path(1) == "block_1"
    assert stack.block_path(1, "dense/kernel") == "block_1/dense/kernel"
    assert stack.block(1).name == "stage_block_1"


def test_initial_values_are_those_of_a_new_stack(rng):
    def branch():
        return [
            layers.Dense(9, kernel_initializer=keras.initializers.HeNormal(seed=1)),
            layers.Dense(6, bias_initializer="ones"),
        ]

    stack, other = ScaledResidualStack(branch(), 3), ScaledResidualStack(branch(), 3)
    with pytest.raises(ValueError, match="must be built"):
        stack.draw_initial_values()
    for each in (stack, other):
        each.build((None, 6))
    for variable in stack.weights:
        variable.assign(gaussian(rng, *variable.shape))
    drawn = stack.draw_initial_values()
    assert [values.shape for values in drawn] == [tuple(v.shape) for v in stack.weights]
    seeded, _, _, ones = drawn
    np.testing.assert_array_equal(seeded, array(other.weights[0]))
    np.testing.assert_array_equal(ones, array(other.weights[3]))
