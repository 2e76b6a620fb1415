"""Parameters by hand."""

import math

# Random numbers of every new shape take JAX a second.
ZEROS = {"kernel_initializer": "zeros", "classifier_initializer": "zeros"}


def trainable_parameters(model):
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


def convolution(inputs, outputs, size=3, *, per_output):
    """`per_output` is what a channel has beside its kernel: a bias, a gain, both."""
    return (size * size * inputs + per_output) * outputs


def residual_network(widths, blocks, classes, *, stem, per_output):
    """Blocks of two 3x3 convolutions, and 1x1 ones where the width changes."""
    total = convolution(3, stem, per_output=per_output)
    inputs = stem
    for width, count in zip(widths, blocks, strict=True):
        total += convolution(inputs, width, per_output=per_output)
        total += (2 * count - 1) * convolution(width, width, per_output=per_output)
        if inputs != width:
            total += convolution(inputs, width, 1, per_output=per_output)
        inputs = width
    return total + (inputs + 1) * classes
