"""Every kernel once, with what it is asked for."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_convinit import kernels_of
from keras_convinit.analysis import activation_name, analyze, expand
from keras_convinit.layers import WeightNorm, WeightNormConv2D, WeightNormDense

L = keras.layers


def functional(build, *shape, dtype=None):
    inputs = keras.Input(shape, dtype=dtype)
    return keras.Model(inputs, build(inputs))


def names(graph):
    return [f"{site.path}:{site.kernel.name}" for site in graph.kernels]


def test_every_kernel_of_every_model_is_read_once(model):
    graph = analyze(model)
    found = [id(site.kernel.variable) for site in graph.kernels]
    assert len(set(found)) == len(found)
    assert set(found) == {id(kernel.variable) for kernel in kernels_of(model)}
    assert not graph.unread


def test_a_separable_convolution_is_two_kernels():
    model = functional(
        lambda x: L.SeparableConv2D(3, 3, name="b", activation="relu")(L.ReLU()(x)),
        8,
        8,
        2,
    )
    depthwise, pointwise = analyze(model).kernels
    assert activation_name(depthwise.preceding) == "relu"
    assert depthwise.following is pointwise.preceding is None
    assert activation_name(pointwise.following) == "relu"
    assert pointwise.classifier and not depthwise.classifier


def test_attention_is_three_readers_and_a_writer():
    model = functional(
        lambda x: L.MultiHeadAttention(2, 3, name="m")(
            L.LayerNormalization()(x), value=ops.relu(x)
        ),
        5,
        4,
    )
    query, key, value, output = (site for site in analyze(model).kernels)
    assert all(site.preceded_by_normalization is False for site in (output,))
    assert not query.classifier and output.classifier
    assert output.preceding is None and key.following is None
    assert value.path == "m"


@pytest.mark.parametrize("make", [L.LSTM, L.GRU, L.SimpleRNN])
def test_recurrent_layers(make):
    model = functional(lambda x: make(3, name="r")(ops.relu(x)), 5, 4)
    kernel, recurrent = analyze(model).kernels
    around = [activation_name(s) for s in (kernel.preceding, kernel.following)]
    assert around == ["relu", "tanh"]
    assert activation_name(recurrent.preceding) == "tanh"
    assert not recurrent.first


def test_both_ways():
    model = functional(lambda x: L.Bidirectional(L.LSTM(3), name="b")(x), 5, 4)
    assert [site.first for site in analyze(model).kernels] == [True, False, True, False]


def test_cells_on_top_of_each_other():
    cells = [L.LSTMCell(3), L.GRUCell(2, activation="relu")]
    model = functional(lambda x: L.RNN(cells, name="r")(x), 5, 4)
    found = [
        (s.first, activation_name(s.preceding), activation_name(s.following))
        for s in analyze(model).kernels
    ]
    assert found == [
        (True, "linear", "tanh"),
        (False, "tanh", "tanh"),
        (False, "tanh", "relu"),
        (False, "relu", "relu"),
    ]


def test_a_model_over_time_is_opened():
    inner = keras.Sequential(
        [
            L.Conv2D(2, 3, activation="relu", name="a"),
            L.Flatten(),
            L.Dense(3, name="b"),
        ],
        name="inner",
    )
    model = functional(lambda x: L.TimeDistributed(inner, name="time")(x), 5, 6, 6, 2)
    first, second = analyze(model).kernels
    assert (first.path, second.path) == ("time/inner/a", "time/inner/b")
    assert first.first and activation_name(second.preceding) == "relu"
    assert second.classifier


def test_weight_normalized_layers():
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            WeightNormConv2D(3, 3, activation="relu", name="a"),
            L.Flatten(),
            WeightNorm(L.Dense(2, activation="tanh"), name="b"),
        ]
    )
    first, second = analyze(model).kernels
    assert first.kernel.variable is model.layers[0].weight_norm_direction
    assert second.kernel.variable is model.layers[2].weight_norm_direction
    assert activation_name(second.preceding) == "relu"
    assert activation_name(second.following) == "tanh"


def test_a_shared_layer_is_asked_for_several_things():
    shared = L.Dense(4, name="shared")
    model = functional(lambda x: shared(ops.relu(shared(x))), 4)
    graph = analyze(model)
    (site,) = graph.kernels
    assert site.first and not site.classifier
    conflicts = {c.name: c.values for c in graph.conflicts}
    assert set(conflicts) == {"preceding", "following", "first", "classifier"}
    assert [activation_name(a) for a in conflicts["preceding"]] == ["linear", "relu"]


def test_a_shared_layer_may_be_asked_for_one_thing():
    shared = L.Dense(4, activation="relu", name="shared")
    model = functional(
        lambda x: L.Dense(2, name="last")(L.Concatenate()([shared(x), shared(x * 2)])),
        4,
    )
    graph = analyze(model)
    assert names(graph) == ["shared:kernel", "last:kernel"]
    assert not graph.conflicts


def test_equal_activations_are_no_conflict():
    shared = L.Dense(4, name="shared")
    outputs = {}

    def build(x):
        found = [shared(L.LeakyReLU(slope)(x)) for slope in slopes]
        return L.Dense(2)(L.Concatenate()(found))

    for slopes in ((0.3, 0.3), (0.3, 0.2)):
        outputs[slopes] = [c.name for c in analyze(functional(build, 4)).conflicts]
    assert outputs == {(0.3, 0.3): [], (0.3, 0.2): ["preceding"]}


def test_a_composite_layer_of_somebody_elses_is_opened():
    class Block(L.Layer):
        def __init__(self):
            super().__init__(name="block")
            self.inner = L.Dense(4, name="inner")

        def build(self, shape):
            self.inner.build(shape)

        def call(self, x):
            return x + self.inner(x)

    @expand.register
    def _(layer: Block, apply, inputs):
        return apply(L.Add(name="sum"), [inputs, apply(layer.inner, inputs)])

    graph = analyze(functional(lambda x: Block()(x), 4))
    assert names(graph) == ["block/inner:kernel"]
    assert graph.stages == (1,) and not graph.unread


def test_a_model_with_a_call_of_its_own():
    class Mine(keras.Model):
        def __init__(self):
            super().__init__()
            self.first = WeightNormDense(4, name="first")
            self.rest = [L.Dense(4, name=f"dense_{i}") for i in range(2)]

        def call(self, x):
            x = self.first(x)
            for layer in self.rest:
                x = x + layer(ops.relu(x))
            return x

    graph = analyze(Mine(), np.ones((2, 3), "float32"))
    assert names(graph) == [
        "first:weight_norm_direction",
        "dense_0:kernel",
        "dense_1:kernel",
    ]
    assert graph.stages == (2,) and not graph.unread
    assert [activation_name(s.preceding) for s in graph.kernels[1:]] == ["relu", "relu"]


def test_no_kernels():
    graph = analyze(functional(lambda x: L.ReLU()(x), 4))
    assert graph.kernels == graph.stages == graph.conflicts == graph.unread == ()


def test_what_is_not_built_is_refused():
    with pytest.raises(ValueError, match="`data` must be given"):
        analyze(keras.Sequential([L.Dense(2)]))
