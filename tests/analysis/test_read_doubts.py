"""What is not known is said."""

import keras
import numpy as np
from keras import ops

from keras_convinit.analysis import analyze

L = keras.layers


def functional(build, *shape):
    inputs = keras.Input(shape)
    return keras.Model(inputs, build(inputs))


def names(graph):
    return [f"{site.path}:{site.kernel.name}" for site in graph.kernels]


def test_a_layer_that_is_not_known_is_reported():
    class Unknown(L.Layer):
        def build(self, shape):
            self.matrix = self.add_weight(shape=(shape[-1], 3), name="matrix")

        def call(self, x):
            return ops.matmul(x, self.matrix)

    model = functional(
        lambda x: L.Dense(2, name="b")(Unknown(name="a")(L.ReLU()(x))), 4
    )
    graph = analyze(model)
    assert names(graph) == ["b:kernel"]
    (unread,) = graph.unread
    assert unread.path == "a" and "kernels_of.register" in unread.reason
    # It is a kernel to its neighbors all the same.
    assert graph.kernels[0].preceding is None and not graph.kernels[0].first


def test_what_is_assumed_is_reported():
    class Half(L.Layer):
        def call(self, x):
            return x - ops.mean(x, axis=-1, keepdims=True)

    model = functional(lambda x: L.Dense(2, name="b")(Half(name="half")(x)), 4)
    (unread,) = analyze(model).unread
    assert unread.path == "half" and "taken to be linear" in unread.reason


def test_an_unknown_layer_of_several_signals_is_reported():
    class Mixed(L.Layer):
        def call(self, signals):
            return signals[0] + 0.1 * signals[1]

    def graph_with(**options):
        mixed = Mixed(name="mixed", **options)
        return analyze(functional(lambda x: mixed([x, L.Dense(4)(x)]), 4))

    # One that does more than its outputs show.
    graph = graph_with(activity_regularizer="l2")
    (unread,) = graph.unread
    assert unread.path == "mixed" and "side by side" in unread.reason
    assert graph.stages == ()
    graph = graph_with()
    assert (graph.unread, graph.stages) == ((), (1,))
    assert graph.kernels[0].branch_factor == 0.1


def test_a_variable_that_no_layer_holds_is_reported():
    class Mine(keras.Model):
        def __init__(self):
            super().__init__(name="mine")
            self.dense = L.Dense(3, activation="relu", name="dense")
            self.unused = L.Dense(3, name="unused")
            self.unused.build((None, 3))

        def build(self, shape):
            self.own = self.add_weight(shape=(3, 2), name="own")

        def call(self, x):
            return self.dense(x)

    model = Mine()
    graph = analyze(model, np.ones((2, 3), "float32"))
    assert names(graph) == ["dense:kernel"]
    assert sorted(entry.reason.split(" ")[0] for entry in graph.unread) == sorted(
        variable.path for variable in (model.own, model.unused.kernel)
    )
