"""A stack that is a part of its stage, and all that reads one.

Here the stack has three blocks of a stage of sixteen: branches are divided by 4.
"""

import keras
import numpy as np
import pytest
from helpers.values import array

import keras_convinit
from keras_convinit.analysis import analyze
from keras_convinit.layers import ScaledResidual, ScaledResidualStack, fold


def model_of(branch, stage_blocks=16, first=True):
    x = inputs = keras.Input((6,))
    if first:
        x = ScaledResidual(branch, stage_blocks, name="first")(x)
    x = ScaledResidualStack(branch, 3, stage_blocks=stage_blocks, name="stack")(x)
    return keras.Model(inputs, x)


def gaussian(*shape):
    return np.random.default_rng(5).standard_normal(shape).astype("float32")


@pytest.mark.parametrize(("stage_blocks", "divisor"), [(16, 4.0), (1, 1.0)])
def test_branches_are_divided_by_the_root_of_the_stage(stage_blocks, divisor):
    stack = ScaledResidualStack(keras.layers.Dense(6), 3, stage_blocks=stage_blocks)
    expected = x = gaussian(4, 6)
    outputs = array(stack(x))
    for kernel in array(stack.weights[0]):
        expected = expected + expected @ kernel / divisor
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
    assert stack.branch_factor == 1 / divisor


def test_the_stage_is_the_stack_where_nothing_else_is_said():
    stack = ScaledResidualStack(keras.layers.Dense(6), 3)
    assert stack.stage_blocks == 3
    assert stack.branch_factor == pytest.approx(3**-0.5)


@pytest.mark.parametrize("value", [0, 2.5, True])
def test_no_stage_has_other_numbers_of_blocks(value):
    with pytest.raises(ValueError, match="`stage_blocks` must be a positive integer"):
        ScaledResidualStack(keras.layers.Dense(6), 3, stage_blocks=value)


def test_blocks_and_copies_are_of_the_same_stage(tmp_path):
    model = model_of(keras.layers.Dense(6))
    x = gaussian(4, 6)
    expected = array(model(x))
    stack = model.get_layer("stack")
    blocks = [*stack.unrolled(), stack.block(1)]
    assert [block.num_blocks for block in blocks] == [16] * 4
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    cloned = keras.models.clone_model(model)
    cloned.set_weights(model.get_weights())
    for copy in (loaded, cloned, fold(model)):
        np.testing.assert_allclose(array(copy(x)), expected, rtol=1e-5, atol=1e-5)


def test_the_graph_tells_the_factor():
    graph = analyze(model_of(keras.layers.Dense(6)))
    assert [site.branch_factor for site in graph.kernels] == [0.25, 0.25]
    assert graph.stages == (4,)


def test_a_scheme_with_data_runs_the_blocks_as_they_are():
    branch = keras.layers.Dense(6, kernel_initializer="zeros")
    model = model_of(branch, first=False)
    h = x = gaussian(200, 6)
    keras_convinit.initialize(model, "lsuv", data=x, seed=0, tolerance=1e-4)
    kernels = array(model.get_layer("stack").weights[0])
    for kernel in kernels:
        # What comes in is what LSUV saw, if it adds up as the stack does.
        assert np.var(h @ kernel) == pytest.approx(1, rel=1e-3)
        h = h + h @ kernel / 4


def test_a_signal_report_runs_the_blocks_as_they_are():
    model = model_of(keras.layers.Dense(6))
    x = gaussian(50, 6)
    report = keras_convinit.signal_report(model, x)
    sums = [row for row in report.rows if row.path.endswith("scaled_sum")]
    h = x
    kernels = [array(layer.weights[0]) for layer in model.layers[1:]]
    for row, kernel in zip(sums, [kernels[0], *kernels[1]], strict=True):
        h = h + h @ kernel / 4
        norm = np.sqrt(np.mean(np.sum(h**2, axis=-1)))
        assert row.forward_norm == pytest.approx(norm, rel=1e-4)
        assert row.factors == pytest.approx((1, 0.25))
