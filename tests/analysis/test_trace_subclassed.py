"""Models with a `call` of their own."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_convinit.analysis import trace


class Block(keras.Model):
    def __init__(self):
        super().__init__(name="block")
        self.dense = keras.layers.Dense(4, name="dense")
        self.norm = keras.layers.BatchNormalization(name="norm")

    def call(self, inputs, training=None):
        return inputs + self.norm(self.dense(inputs), training=training)


class Network(keras.Model):
    def __init__(self):
        super().__init__(name="network")
        self.blocks = [Block(), Block()]
        self.head = keras.Sequential([keras.layers.Dense(2, name="last")], name="head")

    def call(self, inputs, training=None):
        for block in self.blocks:
            inputs = block(inputs, training=training)
        return {"class": self.head(inputs), "code": ops.relu(inputs)}


class Frozen(keras.Model):
    def __init__(self):
        super().__init__(name="frozen")
        self.block = Block()
        self.norm = keras.layers.BatchNormalization(name="norm")

    def call(self, inputs, training=None):
        return self.norm(self.block(inputs, training=False), training=training)


def decide(x):
    if float(ops.convert_to_numpy(ops.sum(x))) > 0:
        return x
    return -x


class Undecided(keras.Model):
    def __init__(self, last):
        super().__init__()
        self.dense = keras.layers.Dense(3, name="dense")
        self.last = last

    def call(self, inputs):
        return self.last(self.dense(inputs))


class Unsorted(keras.Model):
    """Names in another order than that of the alphabet, in and out."""

    def __init__(self):
        super().__init__()
        self.left = keras.layers.Dense(4, name="left")
        self.right = keras.layers.Dense(4, name="right")

    def call(self, inputs):
        left, right = self.left(inputs["z"]), self.right(inputs["a"])
        return {"second": ops.relu(left), "first": right - inputs["a"]}


X = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")


@pytest.mark.parametrize("make", [Network, Frozen])
@pytest.mark.parametrize("training", [None, True])
def test_running_the_program_is_calling_the_model(make, training, arrays):
    model = make()
    program = trace(model, X)
    expected = arrays(model(X, training=training))
    found = arrays(program.run(X, training=training))
    keras.tree.map_structure(np.testing.assert_array_equal, expected, found)


def test_names_in_any_order(arrays):
    model, data = Unsorted(), {"z": X, "a": 2 * X}
    program = trace(model, data)
    expected, found = arrays(model(data)), arrays(program.run(data))
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])


def test_calls_and_operations_are_found(arrays):
    model = Network()
    program = trace(model, X)
    assert [call.path for call in program.calls] == [
        "block/dense",
        "block/norm",
        "block/add",
        "block/dense#2",
        "block/norm#2",
        "block/add#2",
        "relu",
        "head/last",
    ]
    first, second = model.blocks
    assert program.calls[0].layer is first.dense
    assert program.calls[3].layer is second.dense
    assert [call.path for call in trace(model, X).calls] == [
        call.path for call in program.calls
    ]


def test_the_layers_are_left_alone():
    model = Network()
    model(X)
    parts = [model.blocks[0], model.blocks[0].dense, model.head, model.head.layers[0]]
    classes = [type(part) for part in parts]
    before = [hasattr(part, "output") for part in parts]
    trace(model, X)
    assert [type(part) for part in parts] == classes
    assert [hasattr(part, "output") for part in parts] == before


def test_the_layers_are_left_alone_after_a_failure():
    model = Undecided(decide)
    with pytest.raises(ValueError, match="made of layers"):
        trace(model, X)
    assert type(model.dense) is keras.layers.Dense
    assert not hasattr(model.dense, "output")


def test_the_advice_of_the_refusal_works(arrays):
    class Decide(keras.layers.Layer):
        def call(self, x):
            return decide(x)

        def compute_output_shape(self, shape):
            return shape

    model = Undecided(Decide(name="decide"))
    program = trace(model, X)
    assert [call.path for call in program.calls] == ["dense", "decide"]
    np.testing.assert_array_equal(arrays(program.run(X)), arrays(model(X)))


def test_inside_a_functional_model_it_is_opened(arrays):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Block()(inputs))
    program = trace(model)
    assert [call.path for call in program.calls] == [
        "block/dense",
        "block/norm",
        "block/add",
    ]
    np.testing.assert_array_equal(arrays(program.run(X)), arrays(model(X)))


def test_a_call_of_its_own_goes_before_the_graph(arrays):
    class Halved(keras.Model):
        def __init__(self):
            inputs = keras.Input((4,))
            super().__init__(inputs, keras.layers.Dense(2, name="dense")(inputs))

        def call(self, inputs):
            return self.get_layer("dense")(inputs) / 2

    model = Halved()
    program = trace(model, X)
    assert len(program.calls) == 2
    np.testing.assert_array_equal(arrays(program.run(X)), arrays(model(X)))


@pytest.mark.parametrize(
    "model", [Network(), keras.Sequential([keras.layers.Dense(2)])], ids=str
)
def test_what_is_not_built_needs_data(model):
    with pytest.raises(ValueError, match=r"`data` must be given.*Received: model="):
        trace(model)
    trace(model, X)
    assert model.built


def test_a_layer_is_no_model():
    with pytest.raises(ValueError, match="must be a Keras model"):
        trace(keras.layers.Dense(2))


def test_a_call_that_adds_a_loss_is_refused_with_what_it_says():
    class Adds(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3)

        def call(self, x):
            y = self.dense(x)
            self.add_loss(keras.ops.mean(y))
            return y

    model = Adds()
    x = np.ones((2, 4), "float32")
    model(x)
    with pytest.raises(ValueError, match="have a `call` made of layers") as refusal:
        trace(model, x)
    assert "whose `call` says: " in str(refusal.value)
    assert "loss" in str(refusal.value).partition("whose `call` says: ")[2]
