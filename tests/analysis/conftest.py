"""Models to read, of every kind."""

import keras
import numpy as np
import pytest
from keras import ops


def sequential():
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(3, 3, activation="relu", name="conv"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dropout(0.5, seed=1, name="drop"),
            keras.layers.Flatten(name="flat"),
            keras.layers.Dense(2, name="dense"),
        ],
        name="sequential",
    )


def several_ends():
    left = keras.Input((4,), name="left")
    right = keras.Input((3,), name="right")
    joined = keras.layers.Concatenate(name="joined")([left, right])
    outputs = {
        "a": keras.layers.Dense(2, name="a")(joined),
        "b": [keras.layers.Dense(3, name="b")(right), left],
    }
    return keras.Model({"left": left, "right": right}, outputs)


def shared_layer():
    inputs = keras.Input((4,))
    shared = keras.layers.Dense(4, activation="tanh", name="shared")
    return keras.Model(inputs, shared(shared(inputs)))


def shared_model():
    inputs = keras.Input((4,), name="inner_input")
    inner = keras.Model(
        inputs,
        [
            keras.layers.Dense(4, name="dense")(inputs),
            keras.layers.Activation("tanh", name="tanh")(inputs),
        ],
        name="inner",
    )
    outer = keras.Input((4,))
    first, second = inner(outer)
    return keras.Model(outer, inner(first + second))


def operations():
    inputs = keras.Input((4, 4))
    x = ops.relu(inputs) * 2.0 + 1.0
    x = ops.concatenate([x[:, 0], ops.matmul(x, inputs)[:, 1]], axis=-1)
    return keras.Model(inputs, ops.sum(x, axis=-1, keepdims=True))


def sequential_in_functional():
    inputs = keras.Input((6, 6, 2))
    inner = sequential()
    return keras.Model(inputs, keras.layers.Dense(2, name="last")(inner(inputs)))


def functional_in_sequential():
    return keras.Sequential(
        [
            keras.Input((4,)),
            shared_layer(),
            keras.Sequential([keras.layers.Dense(2, name="dense")], name="deep"),
        ]
    )


class FunctionalSubclass(keras.Model):
    def __init__(self):
        inputs = keras.Input((4,))
        super().__init__(inputs, keras.layers.Dense(2, name="dense")(inputs))


def keywords_and_masks():
    words = keras.Input((5,), dtype="int32", name="words")
    x = keras.layers.Embedding(7, 4, mask_zero=True, name="embedding")(words)
    x = keras.layers.MultiHeadAttention(2, 2, name="attention")(x, value=x)
    x, state = keras.layers.GRU(3, return_sequences=True, return_state=True)(x)
    x = keras.layers.GRU(3, name="last")(x, initial_state=state)
    return keras.Model(words, x)


def wrappers():
    inputs = keras.Input((3, 4))
    x = keras.layers.TimeDistributed(keras.layers.Dense(2))(inputs)
    return keras.Model(inputs, keras.layers.Bidirectional(keras.layers.LSTM(2))(x))


def other_rank_and_dtype():
    inputs = keras.Input((1,), dtype="float16", name="inner_input")
    inner = keras.Model(inputs, keras.layers.Dense(2, name="dense")(inputs))
    outer = keras.Input((), name="outer")
    return keras.Model(outer, inner(outer))


def frozen():
    inputs = keras.Input((6, 6, 2))
    return keras.Model(inputs, sequential()(inputs, training=False))


def told_twice():
    # A functional model tells its parts what it is told, whatever is written in it.
    inputs = keras.Input((6, 6, 2))
    x = frozen()(inputs, training=True)
    return keras.Model(inputs, keras.layers.Dense(2, name="last")(x))


MODELS = {
    function.__name__: function
    for function in (
        sequential,
        several_ends,
        shared_layer,
        shared_model,
        operations,
        sequential_in_functional,
        functional_in_sequential,
        FunctionalSubclass,
        keywords_and_masks,
        wrappers,
        other_rank_and_dtype,
        frozen,
        told_twice,
    )
}


@pytest.fixture(params=list(MODELS))
def model(request):
    """One model after the other."""
    return MODELS[request.param]()


@pytest.fixture
def models():
    """The functions that make them, by name."""
    return MODELS


@pytest.fixture
def batch():
    """Gives inputs for a functional model."""

    def draw(model, size=2):
        generator = np.random.default_rng(3)

        def array(symbol):
            shape = (size, *symbol.shape[1:])
            if "int" in symbol.dtype:
                return generator.integers(0, 5, shape).astype("int32")
            return generator.standard_normal(shape).astype("float32")

        symbols = model.inputs if len(model.inputs) == 1 else model.input
        arrays = keras.tree.map_structure(array, symbols)
        return arrays[0] if len(model.inputs) == 1 else arrays

    return draw


@pytest.fixture
def arrays():
    """Gives the arrays in a structure of tensors."""

    def convert(structure):
        return keras.tree.map_structure(ops.convert_to_numpy, structure)

    return convert
