"""Which factors belong to the kernels around them, and which do not."""

import keras
import pytest
from keras import ops

from keras_convinit.analysis import activation_name, analyze

L = keras.layers


def dense(name, **options):
    return L.Dense(4, name=name, kernel_initializer="zeros", **options)


def graph_of(build):
    inputs = keras.Input((4,))
    return analyze(keras.Model(inputs, dense("end")(build(inputs))))


def around(graph, path):
    (site,) = (site for site in graph.kernels if site.path == path)
    return activation_name(site.preceding), activation_name(site.following)


def test_a_factor_belongs_to_the_kernels_on_both_sides():
    graph = graph_of(lambda x: 0.5 * ops.relu(dense("a")(x)))
    assert around(graph, "a") == ("linear", "0.5 relu(x)")
    assert around(graph, "end") == ("0.5 relu(x)", "linear")


def test_factors_that_cancel_and_signs_are_nothing():
    graph = graph_of(lambda x: -2.0 * L.Rescaling(0.5)(-ops.relu(dense("a")(x))))
    assert around(graph, "end") == ("relu", "linear")


def test_an_activation_that_does_nothing_any_more():
    graph = graph_of(lambda x: L.LeakyReLU()(ops.relu(ops.relu(dense("a")(x)))))
    assert around(graph, "a") == ("linear", "relu")
    assert around(graph, "end") == ("relu", "linear")


def test_a_factor_of_the_inputs_belongs_to_the_data():
    graph = graph_of(lambda x: dense("a")(L.Rescaling(0.5)(x) * 3.0 / 7.0))
    assert around(graph, "a") == ("linear", "linear")
    assert graph.kernels[0].first and not graph.unread


@pytest.mark.parametrize(
    "scaled", [lambda x: 0.5 * x, lambda x: x / 2, L.Rescaling(0.5)]
)
def test_a_factor_where_a_branch_ends_is_that_of_the_branch(scaled):
    def build(x):
        x = dense("stem")(x)
        return x + scaled(ops.relu(dense("b")(dense("a", activation="relu")(x))))

    graph = graph_of(build)
    assert around(graph, "b") == ("relu", "relu")
    assert {s.branch_factor for s in graph.kernels if s.branch is not None} == {0.5}
    assert not graph.unread


def test_a_factor_on_the_stream_and_one_before_a_branch_are_not_counted():
    def build(x):
        x = 0.5 * ops.relu(dense("stem")(x))
        return x + dense("b")(ops.relu(dense("a")(ops.relu(0.9 * x))) * 1.7)

    graph = graph_of(build)
    assert around(graph, "a") == ("relu", "1.7 relu(x)")
    assert around(graph, "b") == ("1.7 relu(x)", "linear")
    reasons = [one.reason for one in graph.unread]
    assert len(reasons) == 2 and all("not counted" in reason for reason in reasons)


def test_a_factor_behind_a_product_of_signals_may_make_up_for_it():
    def build(x):
        query, key = 0.5 * dense("query")(x), dense("key")(x)
        scores = ops.matmul(query, ops.transpose(key)) * 0.25
        return ops.matmul(scores, x)

    graph = graph_of(build)
    assert around(graph, "query") == around(graph, "end") == ("linear", "linear")


def test_a_gate_stays_one_whatever_it_is_multiplied_by():
    def build(x):
        x = ops.relu(dense("a")(x)) * 0.5
        return x * (2.0 * ops.sigmoid(dense("gate")(x)))

    graph = graph_of(build)
    assert around(graph, "gate") == ("0.5 relu(x)", "sigmoid")
    assert around(graph, "end") == ("0.5 relu(x)", "linear")
    assert not graph.unread


def test_a_normalization_makes_forget_what_was_before():
    def build(x):
        x = L.BatchNormalization()(0.5 * dense("a")(x))
        return 0.5 * ops.relu(x)

    graph = graph_of(build)
    assert around(graph, "a") == ("linear", "relu") and graph.kernels[0].normalized
    assert around(graph, "end") == ("0.5 relu(x)", "linear")


def test_a_function_in_several_operations_is_the_same_wherever_it_is_written():
    def leaky(x, slope=0.1):
        return ops.where(x > 0, x, slope * x)

    def build(x):
        left, right = leaky(dense("a")(x)), leaky(dense("b")(x), other)
        return L.Concatenate()([left, right])

    other = 0.1
    assert not graph_of(build).conflicts
    other = 0.2
    (conflict,) = graph_of(build).conflicts
    assert (conflict.path, conflict.name) == ("end", "preceding")


def test_a_function_of_which_a_part_is_used_elsewhere():
    def build(x):
        x = dense("a")(x)
        part = ops.tanh(x)
        return L.Concatenate()([dense("b")(x * part), dense("c")(part)])

    graph = graph_of(build)
    assert around(graph, "b")[0] == "Multiply"
    assert around(graph, "c")[0] == "tanh"
