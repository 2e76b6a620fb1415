"""The verdict follows the signal whatever the network is made of."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from keras_convinit import initialize, signal_report

L = keras.layers
SEEDS = itertools.count()
X = np.random.default_rng(0).standard_normal((16, 8, 8, 8)).astype("float32")


def convolution(filters, scale=2.0):
    initializer = keras.initializers.VarianceScaling(scale, seed=next(SEEDS))
    return L.Conv2D(
        filters, 3, padding="same", activation="relu", kernel_initializer=initializer
    )


class Block(L.Layer):
    def __init__(self, scale, **kwargs):
        super().__init__(**kwargs)
        self.conv = convolution(8, scale)

    def call(self, x):
        return self.conv(x)


class Closed(Block):
    """One that cannot be opened."""

    def call(self, x):
        return self.conv(x) * ops.convert_to_tensor(self.conv.bias + 1.0)


def network(step, count=8):
    x = inputs = keras.Input((8, 8, 8))
    for _ in range(count):
        x = step(x)
    x = L.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, L.Dense(2)(x))


def kinds(model):
    return [(one.kind, one.direction) for one in signal_report(model, X).issues]


BOTH = {
    0.1: [("vanishing", "forward"), ("vanishing", "backward")],
    2.0: [],
    40.0: [("exploding", "forward"), ("exploding", "backward")],
}


@pytest.mark.parametrize("scale", BOTH)
def test_of_layers_of_somebodys_own(scale):
    written_out = network(lambda x: convolution(8, scale)(x))
    blocks = network(lambda x: Block(scale)(x))
    blocks.set_weights(written_out.get_weights())
    first, second = signal_report(written_out, X), signal_report(blocks, X)
    assert kinds(written_out) == BOTH[scale]
    found = [
        [(one.kind, one.direction, one.row, one.ratio) for one in report.issues]
        for report in (first, second)
    ]
    assert found[0] == found[1]
    closed = network(lambda x: Closed(scale)(x))
    closed.set_weights(written_out.get_weights())
    assert kinds(closed) == BOTH[scale]


@pytest.mark.parametrize("scale", BOTH)
@pytest.mark.parametrize("before", [0, 1, 2])
def test_of_concatenations(scale, before):
    x = inputs = keras.Input((8, 8, 8))
    for _ in range(before):
        x = convolution(8)(x)
    for _ in range(8):
        x = L.Concatenate()([convolution(16, scale)(x), convolution(16, scale)(x)])
    x = L.Flatten()(x)
    assert kinds(keras.Model(inputs, L.Dense(2)(x))) == BOTH[scale]


def test_more_channels_are_no_explosion():
    x = inputs = keras.Input((8, 8, 8))
    for _ in range(3):
        x = L.Concatenate()([convolution(400)(x), convolution(400)(x)])
    x = L.GlobalAveragePooling2D()(x)
    report = signal_report(keras.Model(inputs, L.Dense(2)(x)), X)
    assert report.verdict == "steady"


def test_products_are_looked_at():
    gate = {"kernel_initializer": "zeros", "activation": "sigmoid"}
    x = inputs = keras.Input((8, 8, 8))
    for _ in range(6):
        x = convolution(8)(x)
        x = L.Multiply()([x, L.Conv2D(8, 1, **gate)(x)])
    x = L.GlobalAveragePooling2D()(x)
    (forward, backward) = signal_report(keras.Model(inputs, L.Dense(2)(x)), X).issues
    assert (forward.kind, backward.kind) == ("vanishing", "vanishing")


@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
def test_branches_that_begin_with_a_normalization(scale):
    x = inputs = keras.Input((8, 8, 8))
    x = ops.tanh(x)
    for number in range(3):
        branch = convolution(8, scale ** (2 * number))(L.LayerNormalization()(x))
        x = L.Add()([x, branch])
    x = L.Dense(2)(L.Flatten()(L.LayerNormalization()(x)))
    found = kinds(keras.Model(inputs, x))
    # A branch may be small on purpose, but not large.
    assert ("exploding", "forward") in found if scale == 100 else found == []


@pytest.mark.parametrize("filling", [float("-inf"), float("nan")])
def test_padding_with_what_is_infinite_is_on_purpose(filling):
    x = inputs = keras.Input((8, 8, 8))
    x = ops.pad(
        convolution(8)(x), [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=filling
    )
    x = convolution(8)(L.MaxPooling2D(3, 2)(x))
    x = L.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, L.Dense(2)(x))
    verdict = signal_report(model, X).verdict
    assert (verdict == "steady") == (filling == float("-inf"))
    kernel = model.layers[-1].kernel
    kernel.assign(np.full(kernel.shape, np.inf))
    assert signal_report(model, X).verdict.startswith("not finite")


def test_kernels_of_layers_of_somebodys_own_are_set():
    model = network(lambda x: Block(2.0)(x))
    model.layers[1].conv.bias.assign(np.ones(8))
    report = initialize(model, "auto", seed=0)
    assert not np.any(ops.convert_to_numpy(model.layers[1].conv.bias))
    assert report.skipped == ()
    assert [row.rule for row in report.rows if row.path.endswith("kernel")] == [
        "eq. 21 (nothing before)",
        *["eq. 22 (relu before)"] * 7,
        "eq. 21 (classifier)",
    ]


def test_what_could_not_be_read_is_named_where_nothing_else_is_there():
    inputs = keras.Input((8, 8, 8))
    model = keras.Model(inputs, Closed(2.0, name="closed")(inputs))
    with pytest.raises(ValueError, match=r"closed: Closed.*kernels_of\.register"):
        initialize(model, "auto")


class Doubles(keras.Model):
    """A model whose `call` does something else while it is trained."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.dense = keras.layers.Dense(1)

    def call(self, x, training=None):
        return self.dense(2 * x if training else x)


@pytest.mark.parametrize("nested", [False, True])
def test_what_a_model_does_in_training_is_what_is_reported(nested):
    model = Doubles()
    x = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    if nested:
        inputs = keras.Input((3,))
        model = keras.Model(inputs, model(inputs))
    else:
        model(x)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    report = signal_report(model, x, x[:, :1])
    evaluated = model.evaluate(x, x[:, :1], verbose=0)
    model.reset_metrics()
    trained = float(model.train_on_batch(x, x[:, :1]))
    assert report.loss == pytest.approx(trained, rel=1e-5)
    assert report.loss != pytest.approx(evaluated, rel=0.1)
