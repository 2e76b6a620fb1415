"""A training loop of one's own, on the backend in use.

    KERAS_BACKEND=tensorflow python examples/training_loop.py
    KERAS_BACKEND=jax python examples/training_loop.py
    KERAS_BACKEND=torch python examples/training_loop.py

A hundred weight-normalized residual blocks in one `ScaledResidualStack`: layers,
gradients and optimizer are Keras', the loop is yours. A quarter of a minute, with
PyTorch three quarters. Held-out digits that are right after 5 epochs, with seed 0:
96.1 % on TensorFlow, 96.9 % on JAX, 97.5 % on PyTorch.
"""

import argparse
from itertools import chain

import keras

from keras_convinit.initializers import WeightNormGain
from keras_convinit.lab import data
from keras_convinit.layers import ScaledResidualStack, WeightNormDense


def network(input_shape, width, blocks):
    """Blocks x + branch(x) / sqrt(blocks), compiled as one loop, and a classifier."""
    branch = [
        WeightNormDense(width, activation="relu"),
        WeightNormDense(width, gain_initializer=WeightNormGain(gamma=1.0)),
    ]
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Flatten(),
            WeightNormDense(width, gain_initializer=WeightNormGain(gamma=1.0)),
            ScaledResidualStack(branch, num_blocks=blocks),
            keras.layers.Dense(10),
        ]
    )


def train_tensorflow(model, loss, optimizer, batches):
    """Gradients from a tape."""
    import tensorflow as tf

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=True))
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return value

    return [float(step(x, y)) for x, y in batches]


def train_jax(model, loss, optimizer, batches):
    """A pure function of all that changes, put back into the model in the end."""
    import jax

    def loss_of(trained, others, x, y):
        logits, others = model.stateless_call(trained, others, x, training=True)
        return loss(y, logits), others

    @jax.jit
    def step(state, x, y):
        trained, others, slots = state
        gradient = jax.value_and_grad(loss_of, has_aux=True)
        (value, others), gradients = gradient(trained, others, x, y)
        trained, slots = optimizer.stateless_apply(slots, gradients, trained)
        return [trained, others, slots], value

    parts = (
        model.trainable_variables,
        model.non_trainable_variables,
        optimizer.variables,
    )
    state = [[variable.value for variable in part] for part in parts]
    losses = []
    for x, y in batches:
        state, value = step(state, x, y)
        losses.append(float(value))
    for variable, value in zip(chain(*parts), chain(*state), strict=True):
        variable.assign(value)
    return losses


def train_torch(model, loss, optimizer, batches):
    """Gradients in the variables, by `backward`."""
    import torch

    losses = []
    for x, y in batches:
        model.zero_grad()
        value = loss(y, model(x, training=True))
        value.backward()
        gradients = [variable.value.grad for variable in model.trainable_variables]
        with torch.no_grad():
            optimizer.apply(gradients, model.trainable_variables)
        losses.append(value.item())
    return losses


TRAIN = {"tensorflow": train_tensorflow, "jax": train_jax, "torch": train_torch}


def main(arguments=None):
    """Trains, and tells how many held-out images are right."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args(arguments)

    keras.utils.set_random_seed(0)
    digits = data.load("digits")
    model = network(digits.train_images.shape[1:], options.width, options.blocks)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    optimizer.build(model.trainable_variables)

    batches = data.batches(digits, batch_size=32, epochs=options.epochs)
    train = TRAIN[keras.backend.backend()]
    losses = train(model, loss, optimizer, batches.as_numpy_iterator())
    steps = len(losses) // options.epochs
    for epoch in range(options.epochs):
        part = losses[epoch * steps : (epoch + 1) * steps]
        print(f"epoch {epoch + 1}: loss {sum(part) / steps:.3f}")

    logits = model.predict(digits.standardized(digits.test_images), verbose=0)
    accuracy = (logits.argmax(-1) == digits.test_labels).mean()
    print(f"{100 * accuracy:.1f} % of held-out images right")
    return losses, accuracy


if __name__ == "__main__":
    main()
