"""The network of `weight_norm_step.py` in JAX and Flax alone, without Keras.

Written as a user of Flax would: `flax.linen.WeightNorm` around each convolution,
optax, and one compiled function for the whole step.
"""

import functools

import flax.linen as nn
import jax
import optax


class Network(nn.Module):
    """Equal convolutions, with a classifier on top.

    Args:
        kind: `"plain"` or `"weight norm"`.
        width: Channels.
        layers: Number of convolutions.
    """

    kind: str
    width: int
    layers: int

    @nn.compact
    def __call__(self, x):
        """Logits of a batch of images."""
        for _ in range(self.layers):
            convolution = nn.Conv(self.width, (3, 3))
            if self.kind == "weight norm":
                convolution = nn.WeightNorm(convolution)
            x = nn.relu(convolution(x))
        return nn.Dense(10)(x.mean((1, 2)))


def training_step(kind, options, images, labels):
    """A function that makes one step, and returns the loss as a number.

    Args:
        kind: `"plain"` or `"weight norm"`.
        options: Those of `weight_norm_step.py`.
        images: `(batch, size, size, width)`.
        labels: `(batch,)`.
    """
    model = Network(kind, options.width, options.layers)
    optimizer = optax.sgd(1e-3, momentum=0.9)

    def loss_of(parameters, x, y):
        logits = model.apply(parameters, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def update(parameters, state, x, y):
        loss, gradients = jax.value_and_grad(loss_of)(parameters, x, y)
        changes, state = optimizer.update(gradients, state)
        return optax.apply_updates(parameters, changes), state, loss

    parameters = model.init(jax.random.key(0), images)
    state = optimizer.init(parameters)

    def step():
        nonlocal parameters, state
        parameters, state, loss = update(parameters, state, images, labels)
        return float(loss)

    return step
