"""Residual networks to read, as the papers build them."""

import keras


def conv(x, width, stride=1, size=3, **arguments):
    # Zeros, as nothing here is about values, and drawing takes time.
    return keras.layers.Conv2D(
        width,
        size,
        strides=stride,
        padding="same",
        kernel_initializer="zeros",
        **arguments,
    )(x)


def relu(x):
    return keras.layers.Activation("relu")(x)


def norm(x):
    return keras.layers.BatchNormalization()(x)


def block_after(x, width, stride):
    """He et al. 2015: convolution, normalization, ReLU, and a ReLU after the sum."""
    shortcut = x
    if stride > 1 or x.shape[-1] != width:
        shortcut = norm(conv(x, width, stride, 1))
    x = relu(norm(conv(x, width, stride)))
    return relu(norm(conv(x, width)) + shortcut)


def block_before(x, width, stride):
    """Zagoruyko, Komodakis 2016: normalization and ReLU before the convolutions."""
    active = relu(norm(x))
    shortcut = x
    if stride > 1 or x.shape[-1] != width:
        shortcut = conv(active, width, stride, 1)
    x = conv(active, width, stride)
    x = keras.layers.Dropout(0.3)(relu(norm(x)))
    return keras.layers.Add()([shortcut, conv(x, width)])


def block_without(x, width, stride):
    """Arpit et al. 2019: convolution, ReLU, convolution, nothing after the sum."""
    shortcut = x
    if stride > 1 or x.shape[-1] != width:
        shortcut = conv(x, width, stride, 1)
    return shortcut + conv(relu(conv(x, width, stride)), width)


def residual_network(block, blocks, widths, stem, stem_relu=False):
    inputs = keras.Input((32, 32, 3))
    x = conv(inputs, stem)
    if stem_relu:
        x = relu(norm(x))
    for stage, width in enumerate(widths):
        for index in range(blocks):
            x = block(x, width, 2 if stage and not index else 1)
    x = keras.layers.GlobalAveragePooling2D()(x)
    outputs = keras.layers.Dense(10, activation="softmax", name="classifier")(x)
    return keras.Model(inputs, outputs)


def resnet_110():
    return residual_network(block_after, 18, (16, 32, 64), 16, stem_relu=True)


def wide_resnet_28_10():
    return residual_network(block_before, 4, (160, 320, 640), 16)


def arpit_resnet_110():
    return residual_network(block_without, 18, (16, 32, 64), 16)
