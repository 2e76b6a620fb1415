import math

import numpy as np
import pytest
from helpers.stacks import (
    BACKEND,
    BRANCHES,
    close,
    compare,
    convolution,
    dense,
    shape_of,
)
from helpers.values import array, gaussian
from keras import layers, ops

from keras_convinit.layers import ScaledResidualStack


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


@pytest.mark.skipif(BACKEND != "jax", reason="whose loops are unrolled if they are few")
@pytest.mark.parametrize("remat", [False, True])
@pytest.mark.parametrize("branch", [dense, convolution])
def test_a_loop_and_what_it_is_unrolled_to(rng, monkeypatch, branch, remat):
    import jax

    stack = ScaledResidualStack(branch(), 6, remat=remat)
    x = gaussian(rng, *shape_of(branch))
    stack.build(x.shape)

    def loops():
        gradient = jax.jit(jax.grad(lambda x: ops.sum(stack(x))))
        return gradient.lower(x).as_text().count("stablehlo.while")

    assert (loops() == 0) == (jax.default_backend() == "cpu")
    monkeypatch.setattr("keras_convinit.backend.jax.FEW", 5)
    assert loops() > 0
    compare(stack, stack.unrolled(), x)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX always compiles, torch never")
@pytest.mark.parametrize("remat", [False, True])
def test_it_is_the_unrolled_network_when_compiled_by_xla(rng, remat):
    stack = ScaledResidualStack(convolution(), 5, remat=remat)
    x = gaussian(rng, 2, 5, 5, 6)
    stack.build(x.shape)
    compare(stack, stack.unrolled(), x, jit=True)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="of TensorFlow's loops alone")
@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("num_blocks", [1, 7, 9])
def test_many_blocks_run_in_segments(rng, monkeypatch, num_blocks, jit):
    monkeypatch.setattr("keras_convinit.backend.tensorflow.FEW", 0)
    stack = ScaledResidualStack(dense(), num_blocks)
    x = gaussian(rng, 3, 6)
    stack.build(x.shape)
    compare(stack, stack.unrolled(), x, jit)


def test_the_blocks_are_the_published_recursion(rng):
    stack = ScaledResidualStack(layers.Dense(6), 4)
    x = gaussian(rng, 3, 6)
    y, kernel = array(stack(x)), array(stack.weights[0])
    expected = x
    for index in range(4):
        expected = expected + expected @ kernel[index] / 2
    close(y, expected)


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
