"""The Hessian's norm, against Hessians written out."""

import keras
import numpy as np
import pytest

import keras_convinit
from keras_convinit import hessian_norm
from keras_convinit.layers import ScaledResidualStack, WeightNormConv2D


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def numerical_hessian(function, point, step=1e-4):
    """By central differences of second order, in float64."""
    steps = step * np.eye(len(point))
    return np.array(
        [
            [
                function(point + a + b)
                - function(point + a - b)
                - function(point - a + b)
                + function(point - a - b)
                for a in steps
            ]
            for b in steps
        ]
    ) / (4 * step**2)


def norm(hessian):
    return np.abs(np.linalg.eigvalsh(hessian)).max()


def flat(variables):
    arrays = [keras.ops.convert_to_numpy(variable) for variable in variables]
    return np.concatenate([array.ravel() for array in arrays]).astype(float)


def full_hessian(model, x, y, loss):
    """By the automatic differentiation of the framework."""
    shapes = [tuple(variable.shape) for variable in model.trainable_variables]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1].tolist()
    others = [variable.value for variable in model.non_trainable_variables]
    x, y = keras.ops.convert_to_tensor(x, "float32"), keras.ops.convert_to_tensor(y)

    def function(point):
        parts = keras.ops.split(point, ends)
        parts = [keras.ops.reshape(p, s) for p, s in zip(parts, shapes, strict=True)]
        outputs, _ = model.stateless_call(parts, others, x, training=False)
        return keras.ops.mean(loss(y, outputs))

    point = flat(model.trainable_variables).astype("float32")
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.hessian(function)(point), float)
    if keras.backend.backend() == "torch":
        import torch

        point = keras.ops.convert_to_tensor(point)
        hessian = torch.autograd.functional.hessian(function, point)
        return keras.ops.convert_to_numpy(hessian)
    import tensorflow as tf

    point = tf.constant(point)
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(point)
        with tf.GradientTape() as inner:
            inner.watch(point)
            value = function(point)
        slope = inner.gradient(value, point)
    return outer.jacobian(slope, point, experimental_use_pfor=False).numpy()


def test_a_small_network_against_numerical_differences():
    x, classes = random(12, 3), np.random.default_rng(1).integers(0, 3, 12)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, "tanh"),
            keras.layers.Dense(3, use_bias=False),
        ]
    )

    def by_hand(point):
        first, bias, second = np.split(point, [12, 16])
        hidden = np.tanh(x @ first.reshape(3, 4) + bias)
        logits = hidden @ second.reshape(4, 3)
        logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        return -logs[np.arange(12), classes].mean()

    hessian = numerical_hessian(by_hand, flat(model.trainable_variables))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    found = hessian_norm(model, x, classes, loss)
    assert found.converged
    assert found.value == pytest.approx(norm(hessian), rel=2e-3)
    assert found.value == abs(found.eigenvalue)
    assert found.log10 == pytest.approx(np.log10(found.value))
    assert found.residual <= 1e-3 * found.value
    # Without the weights of the classifier it would be another number.
    assert norm(hessian[:16, :16]) < 0.95 * found.value


def convolutional():
    return [
        keras.layers.Conv2D(3, 3, activation="relu", strides=2),
        keras.layers.BatchNormalization(),
        keras.layers.MaxPooling2D(),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(3),
    ]


def grouped():
    return [
        keras.layers.DepthwiseConv2D(2, activation="gelu"),
        WeightNormConv2D(3, 2, activation="silu"),
        keras.layers.GroupNormalization(3),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(3),
    ]


def stack():
    branch = [keras.layers.Conv2D(2, 2, padding="same", activation="tanh")]
    return [
        ScaledResidualStack(branch, 3),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(3),
    ]


@pytest.mark.parametrize("layers", [convolutional, grouped, stack])
def test_convolutional_networks_against_the_full_hessian(layers):
    x, classes = random(6, 8, 8, 2), np.arange(6) % 3
    model = keras.Sequential([keras.Input((8, 8, 2)), *layers()])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    found = hessian_norm(model, x, classes, loss, batch_size=4)
    hessian = full_hessian(model, x, classes, loss)
    assert found.converged
    assert found.value == pytest.approx(norm(hessian), rel=5e-3)


def quadratic(eigenvalues):
    """A model, data and a loss whose Hessian has these eigenvalues.

    For outputs w.x and the loss y (w.x)^2 it is the mean of 2 y x x^T.
    """
    size = len(eigenvalues)
    vectors, _ = np.linalg.qr(random(size, size))
    model = keras.Sequential(
        [keras.Input((size,)), keras.layers.Dense(1, use_bias=False)]
    )
    labels = np.array(eigenvalues)[:, np.newaxis]
    return model, vectors * np.sqrt(size / 2), labels, lambda y, out: y * out**2


@pytest.mark.parametrize("pair", [(10.0, -9.7), (-10.0, 9.7)])
def test_opposite_signs_three_percent_apart(pair):
    model, x, y, loss = quadratic([*pair, *np.linspace(-6, 6, 40)])
    found = hessian_norm(model, x, y, loss)
    assert found.converged
    assert found.eigenvalue == pytest.approx(pair[0], rel=2e-3)
    theirs = [
        hessian_norm(model, x, y, loss, method="paper", seed=seed) for seed in range(6)
    ]
    assert not any(each.converged for each in theirs)
    assert max(abs(each.value / 10 - 1) for each in theirs) > 0.01


def test_a_function_with_a_gradient_of_its_own():
    @keras.ops.custom_gradient
    def square(z):
        def gradient(*given, upstream=None):
            # On PyTorch what is closed over has no gradient, but z is given.
            inner, outer = (z, *given) if upstream is None else (*given, upstream)
            return 2 * inner * outer

        return z * z, gradient

    model, x, y, _ = quadratic(np.linspace(-4, 6, 10))
    found = hessian_norm(model, x, y, lambda y, out: y * square(out))
    assert found.value == pytest.approx(6, rel=2e-3)


def test_the_way_of_the_paper_where_one_eigenvalue_stands_out():
    model, x, y, loss = quadratic([-5.0, *np.linspace(-2, 2, 20)])
    found = hessian_norm(model, x, y, loss, method="paper")
    assert (found.iterations, found.converged) == (40, True)
    assert found.value == pytest.approx(5, rel=1e-4)
    assert found.eigenvalue < 0


def test_a_loss_without_curvature():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    found = hessian_norm(model, random(4, 3), random(4, 1), lambda y, out: y * out)
    assert (found.value, found.residual, found.converged) == (0, 0, True)
    assert found.log10 == -np.inf


def test_the_same_seed_gives_the_same_number():
    model, x, y, loss = quadratic(np.linspace(-6, 6, 40))
    first, second, third = (
        hessian_norm(model, x, y, loss, max_iterations=3, seed=seed)
        for seed in (1, 1, 2)
    )
    assert first == second
    assert first.value != third.value
    assert not first.converged


def test_public_names():
    assert keras_convinit.hessian_norm is hessian_norm
    assert issubclass(keras_convinit.HessianNorm, object)


def test_all_products_of_a_model_that_draws_are_of_one_hessian():
    class Drawn(keras.layers.Layer):
        """Scales by a random number, also in inference."""

        def call(self, x):
            return x * float(np.random.uniform(1, 3))

    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(1, use_bias=False), Drawn()]
    )
    x = random(20, 6)
    found = hessian_norm(model, x, np.zeros((20, 1)), "mean_squared_error", seed=3)
    assert found.converged
    largest = 2 * np.linalg.norm(x.T @ x / 20, 2)
    # The square of one number from 1 to 3.
    assert 1 < found.value / largest < 9
