"""Branches of stacks, and what a stack must come to."""

import keras
import numpy as np
from keras import layers, ops

from helpers.values import array, gaussian
from keras_convinit.layers import ScaledResidual

BACKEND = keras.backend.backend()


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
        loss = ops.sum(ops.cast(y, "float32") * ops.convert_to_tensor(weights))
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


def model_of(stack):
    return keras.Sequential([keras.Input((6,)), stack, layers.Dense(1)])


def random_branch():
    # On PyTorch, dropout without a seed has PyTorch's own random numbers.
    return [
        layers.Dropout(0.5, seed=1),
        layers.Dense(6),
        layers.GaussianNoise(0.3, seed=2),
    ]
