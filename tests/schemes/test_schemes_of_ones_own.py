"""What no kernel can take is refused by name, and what a rule ignores is noted."""

import keras
import numpy as np
import pytest
from helpers.values import array, gaussian
from keras import layers, ops

import keras_convinit
from keras_convinit import initialize
from keras_convinit.schemes import (
    KernelInit,
    LayerwiseScheme,
    PerKernelScheme,
    ValueOverlay,
)

X = gaussian(np.random.default_rng(0), 32, 6)


def network():
    return keras.Sequential([keras.Input((6,)), layers.Dense(4, name="dense")])


class Drawing(keras.initializers.Initializer):
    def __init__(self, function):
        self.function = function

    def __call__(self, shape, dtype=None):
        return ops.convert_to_tensor(self.function(shape))


class Ruled(PerKernelScheme):
    def __init__(self, make):
        self.make = make

    def rule(self, context, analysis):
        return self.make()


class Visited(LayerwiseScheme):
    def __init__(self, function):
        self.function = function

    def treats(self, layer, kernels):
        return True

    def visit(self, layer):
        return self.function(layer)


def drawn(function, **arguments):
    return Ruled(lambda: KernelInit("mine", Drawing(function), **arguments))


def scaled_by(factor):
    def visit(layer):
        outputs = layer.run()
        for kernel, _ in layer.kernels:
            layer.scale(kernel, factor)
        return outputs

    return Visited(visit)


def ones(shape):
    return np.ones(shape, "float32")


REFUSED = {
    "transposed": (drawn(lambda shape: ones(shape[::-1])), r"\(6, 4\).*\(4, 6\)"),
    "a scalar": (drawn(lambda shape: ones(())), r"Drawing.*shape \(6, 4\)"),
    "NaN": (drawn(lambda shape: ones(shape) * np.nan), "24 of 24 of .*dense/kernel"),
    "too large": (drawn(ones, factor=1e39), "are NaN or infinite in float32"),
    "an infinite factor": (drawn(ones, factor=np.inf), "`factor` must be a finite"),
    "complex": (drawn(lambda shape: ones(shape) * 1j), "must be of real numbers"),
    "no rule": (Ruled(lambda: None), "`rule` of Ruled must return .*None for dense"),
    "an unknown name": (Ruled(lambda: KernelInit("mine", "no_such")), "no_such"),
    "no initializer": (Ruled(lambda: KernelInit("mine", None)), "Received: init.*None"),
    "scaled by NaN": (scaled_by(np.nan), "24 of 24 of .*dense/kernel"),
    "no outputs": (Visited(lambda layer: None), "`visit` of Visited .*None for dense"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_kernel_can_take_is_refused(name):
    scheme, message = REFUSED[name]
    model = network()
    before = [array(v) for v in model.weights]
    with pytest.raises(ValueError, match=message):
        initialize(model, scheme, data=X, seed=0)
    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(array(variable), value)


def test_a_rule_may_name_an_initializer_of_keras():
    report = initialize(network(), Ruled(lambda: KernelInit("He", "he_normal")), seed=0)
    assert report.rows[0].target_std == pytest.approx((2 / 6) ** 0.5)


def test_values_must_have_the_shape_of_their_variable():
    model = network()
    with pytest.raises(ValueError, match=r"dense/bias must have the shape \(4,\)"):
        ValueOverlay(model).put(model.weights[1], np.ones((4, 1)))


class Noise(layers.Layer):
    """Draws from Keras' own generator."""

    def call(self, x):
        return x + keras.random.normal(ops.shape(x))

    def compute_output_shape(self, shape):
        return shape


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="Keras refuses such layers there"
)
def test_layers_that_draw_without_a_seed_follow_that_of_the_call():
    noisy = [layers.Dense(6), Noise(), layers.Dense(4)]
    model = keras.Sequential([keras.Input((6,)), *noisy])

    def kernel(seed):
        initialize(model, "lsuv", data=X, seed=seed)
        return array(model.layers[-1].kernel)

    keras.utils.set_random_seed(3)
    expected = array(keras.random.normal((5,)))
    keras.utils.set_random_seed(3)
    first, again, other = kernel(0), kernel(0), kernel(1)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(array(keras.random.normal((5,))), expected)


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="Keras refuses such layers there"
)
def test_what_they_draw_differs_by_seed():
    model = keras.Sequential([keras.Input((6,)), Noise(), layers.Dense(4)])

    def signal(seed):
        seen = []
        scheme = Visited(lambda layer: seen.append(array(layer.run())) or layer.run())
        initialize(model, scheme, data=X, seed=seed, others="keep")
        return seen[0]

    # The kernel stays, so that all that may differ is the noise.
    np.testing.assert_array_equal(signal(0), signal(0))
    assert not np.array_equal(signal(0), signal(1))


def test_a_target_of_blocks_is_the_root_mean_square_of_theirs():
    branch = keras_convinit.layers.WeightNormDense(16, use_bias=False)
    stack = keras_convinit.layers.ScaledResidualStack(branch, 20)
    model = keras.Sequential([keras.Input((16,)), stack, layers.Dense(2)])
    rows = initialize(model, "hanin", seed=0).rows
    (row,) = (row for row in rows if "0.9^b" in row.rule)
    # Columns of 16 weights have the norm of their gain, so that both are exact.
    expected = np.sqrt(np.mean(0.9 ** (2 * np.arange(1, 21)))) / 4
    assert row.target_std == pytest.approx(expected, rel=1e-6)
    assert row.measured_std == pytest.approx(expected, rel=1e-5)


def generator(**arguments):
    layer = layers.Conv2DTranspose(8, 2, strides=2, name="up", **arguments)
    return keras.Sequential([keras.Input((4, 4, 16)), layer])


@pytest.mark.once
def test_weights_that_a_transposed_stride_does_not_meet_are_in_the_notes():
    # Of ones, an output is the number of weights that meet in it.
    met = generator(kernel_initializer="ones").predict(
        np.ones((1, 4, 4, 16)), verbose=0
    )
    assert np.all(met == 16)
    (note,) = initialize(generator(), "zhang_forward").notes
    assert note.startswith("up: 16 of 64 weights meet in an output")
    assert "`stride_aware=True` counts those" in note
    report = initialize(generator(), "zhang_forward", stride_aware=True)
    assert not report.notes and report.rows[0].fan_in == 16
    (note,) = initialize(generator(), "he_normal").notes
    assert note.startswith("up: 16 of 64")
