"""Masks reach everything that Keras hands them to: layers, losses, other networks."""

import keras
import numpy as np
import pytest
from helpers.values import array

from keras_convinit import initialize, signal_report
from keras_convinit._masks import attach_mask, get_mask, keep_mask
from keras_convinit.analysis import trace
from keras_convinit.layers import ScaledResidual, ScaledResidualStack, fold

layers = keras.layers
LENGTH = 5


def tokens():
    """Sequences of two to four words, padded with zeros."""
    generator = np.random.default_rng(0)
    x = np.zeros((16, LENGTH), "int32")
    for row in x:
        length = generator.integers(2, 5)
        row[:length] = generator.integers(1, 20, length)
    return x


def embedding():
    return layers.Embedding(
        20, 6, mask_zero=True, embeddings_initializer=keras.initializers.RandomNormal()
    )


def sequential(*parts):
    return keras.Sequential([keras.Input((LENGTH,), dtype="int32"), *parts])


def sequential_states():
    return sequential(embedding(), layers.LSTM(5), layers.Dense(3))


def sequential_pooling():
    return sequential(
        embedding(),
        layers.Dense(5, "relu"),
        layers.GlobalAveragePooling1D(),
        layers.Dense(3),
    )


def built_by_a_call():
    model = keras.Sequential([embedding(), layers.LSTM(5), layers.Dense(3)])
    model(tokens())
    return model


def tagger():
    """The outputs are masked, and so is the loss."""
    return sequential(
        embedding(),
        layers.Bidirectional(layers.GRU(4, return_sequences=True)),
        layers.TimeDistributed(layers.Dense(5)),
        layers.Dense(3),
    )


def attention():
    inputs = keras.Input((LENGTH,), dtype="int32")
    x = embedding()(inputs)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 3)(x, x)])
    x = layers.LayerNormalization()(x)
    x = layers.Attention()([x, x])
    outputs = layers.Dense(3)(layers.GlobalAveragePooling1D()(x))
    return keras.Model(inputs, outputs)


def nested():
    words = keras.Input((LENGTH,), dtype="int32")
    inner = keras.Model(words, layers.Dense(6)(embedding()(words)))
    inputs = keras.Input((LENGTH,), dtype="int32")
    x = keras.Sequential([layers.Dense(5), layers.LSTM(4)])(inner(inputs))
    return keras.Model(inputs, layers.Dense(3)(x))


def told():
    """A mask that goes with no tensor, to models of both kinds and a stack."""
    inputs = keras.Input((LENGTH,), dtype="int32")
    mask = keras.ops.not_equal(inputs, 0)
    x = layers.Embedding(20, 6)(inputs)
    hidden = keras.Input((LENGTH, 6))
    states = layers.GRU(6, return_sequences=True)(hidden)
    x = keras.Model(hidden, layers.Dense(6)(states))(x, mask=mask)
    x = layers.Dense(6)(keras.ops.tanh(x))
    branch = [layers.LSTM(6, return_sequences=True)]
    x = ScaledResidualStack(branch, 2)(x, mask=mask)
    pooled = [layers.GlobalAveragePooling1D(), layers.Dense(3)]
    outputs = keras.Sequential([keras.Input((LENGTH, 6)), *pooled])(x, mask=mask)
    return keras.Model(inputs, outputs)


def residual():
    return sequential(
        embedding(),
        ScaledResidual([layers.LSTM(6, return_sequences=True)], 2),
        ScaledResidual([layers.Dense(6)], 2, shortcut=layers.Dense(6)),
        ScaledResidualStack([layers.GRU(6, return_sequences=True)], 2),
        layers.GlobalAveragePooling1D(),
        layers.Dense(3),
    )


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = embedding()
        self.states = layers.GRU(5, return_sequences=True)
        self.pool = layers.GlobalAveragePooling1D()
        self.dense = layers.Dense(3)

    def call(self, inputs):
        return self.dense(self.pool(self.states(self.embedding(inputs))))


def subclassed():
    model = Subclassed()
    model(tokens())
    return model


def real_numbers():
    inputs = keras.Input((LENGTH,), dtype="int32")
    x = layers.Masking()(layers.Embedding(20, 6)(inputs) * (inputs[:, :, None] > 0))
    return keras.Model(inputs, layers.Dense(3)(layers.LSTM(5)(x)))


MODELS = [
    sequential_states,
    sequential_pooling,
    built_by_a_call,
    tagger,
    attention,
    nested,
    told,
    residual,
    subclassed,
    real_numbers,
]


@pytest.fixture(params=MODELS, ids=lambda make: make.__name__)
def model(request):
    model = request.param()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1.0), loss)
    # Far from the start, so that it matters what is looked at.
    for variable in model.trainable_variables:
        variable.assign(2.0 * variable)
    return model


def labels(model):
    shape = model.predict(tokens(), verbose=0).shape[:-1]
    return np.random.default_rng(1).integers(0, 3, shape)


def test_the_program_gives_what_the_model_does(model):
    program = trace(model, tokens())
    expected, found = model(tokens()), program.run(tokens())
    np.testing.assert_allclose(array(found), array(expected), rtol=1e-5, atol=1e-6)
    masks = get_mask(found), get_mask(expected)
    assert (masks[0] is None) == (masks[1] is None)
    if masks[1] is not None:
        np.testing.assert_array_equal(*map(array, masks))


@pytest.mark.slow
def test_a_report_is_that_of_the_model(model):
    y = labels(model)
    outputs = model.predict(tokens(), verbose=0)
    loss = model.evaluate(tokens(), y, verbose=0)
    reports = [signal_report(model, tokens(), y) for _ in range(2)]
    before = [np.array(array(v)) for v in model.trainable_variables]
    model.train_on_batch(tokens(), y)
    steps = [
        old - array(new)
        for old, new in zip(before, model.trainable_variables, strict=True)
    ]
    gradient = np.sqrt(sum(np.square(step).sum() for step in steps))
    for report in reports:
        assert report.loss == pytest.approx(loss, rel=1e-5)
        norm = np.sqrt(np.square(outputs).sum(axis=-1).mean())
        assert report.rows[-1].forward_norm == pytest.approx(norm, rel=1e-5)
        found = np.sqrt(sum((row.gradient_norm or 0.0) ** 2 for row in report.rows))
        assert found == pytest.approx(gradient, rel=1e-3)


@pytest.mark.filterwarnings("ignore:No unit variance")
def test_unit_variance_is_that_of_the_model(model):
    initialize(model, "lsuv", data=tokens(), seed=0)
    outputs = model.predict(tokens(), verbose=0)
    assert outputs.std() == pytest.approx(1, rel=0.011)


def test_a_mask_is_read_and_given():
    x = embedding()(tokens())
    expected = tokens() != 0
    np.testing.assert_array_equal(array(get_mask(x)), expected)
    np.testing.assert_array_equal(
        array(get_mask(keep_mask(x, lambda x: 2 * x))), expected
    )
    plain = keras.ops.ones((16, LENGTH, 2), "bfloat16")
    assert get_mask(plain) is None
    assert get_mask(keep_mask(plain, lambda x: 2 * x)) is None
    given = attach_mask(plain, get_mask(x))
    np.testing.assert_array_equal(array(get_mask(given)), expected)
    assert keras.backend.standardize_dtype(given.dtype) == "bfloat16"


class Total(layers.Layer):
    """Sums over the positions that count; its block is told of no mask."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.supports_masking = True

    def call(self, x, mask=None):
        if mask is not None:
            x = x * keras.ops.cast(mask, x.dtype)[..., None]
        return x * 0 + keras.ops.sum(x, axis=1, keepdims=True)


class Block(layers.Layer):
    """Holds one, and takes no mask itself."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.supports_masking = True
        self.total = Total()

    def call(self, x):
        return self.total(x)


@pytest.mark.filterwarnings("ignore:.*does not support masking")
@pytest.mark.parametrize("part", [Total, Block])
def test_a_stack_masks_as_its_block_does(part):
    keras.saving.get_custom_objects().update(Total=Total, Block=Block)
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    x[:, 2:] = 0

    def outputs(block):
        inputs = keras.Input((4, 3))
        model = keras.Model(inputs, block(layers.Masking()(inputs)))
        folded = fold(model, verbose=False)
        return [keras.ops.convert_to_numpy(one(x)) for one in (model, folded)]

    def branch():
        # So that what is padded is not zero any more.
        return [
            layers.Dense(3, kernel_initializer="ones", bias_initializer="ones"),
            part(),
        ]

    found = [
        *outputs(ScaledResidual(branch(), 2)),
        *outputs(ScaledResidualStack(branch(), 1, stage_blocks=2)),
    ]
    dense = x.sum(axis=-1, keepdims=True) + np.ones(3)
    expected = x + dense[:, :2].sum(axis=1, keepdims=True) / np.sqrt(2)
    for one in found:
        np.testing.assert_allclose(one, expected, rtol=1e-5)
