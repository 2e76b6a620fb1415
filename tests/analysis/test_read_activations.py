"""What stands before and behind a kernel."""

import keras
import pytest
from keras import ops

from keras_convinit.analysis import activation_name, analyze
from keras_convinit.scales import forward_scale

L = keras.layers


def graph_of(build, shape=(16, 16, 4)):
    inputs = keras.Input(shape)
    return analyze(keras.Model(inputs, build(inputs)))


def chain(*layers):
    def build(x):
        for layer in layers:
            x = layer(x)
        return x

    return build


def conv(name, **arguments):
    arguments = {"padding": "same", "kernel_initializer": "zeros", **arguments}
    return L.Conv2D(4, 3, name=name, **arguments)


def around(graph, path):
    (site,) = (site for site in graph.kernels if site.path == path)
    before = activation_name(site.preceding), site.preceded_by_normalization
    return (*before, activation_name(site.following), site.normalized)


BETWEEN = {
    "nothing": list,
    "pooling": lambda: [L.MaxPooling2D(2), L.AveragePooling2D(3, 1, "same")],
    "dropout": lambda: [L.Dropout(0.1), L.SpatialDropout2D(0.1), L.GaussianNoise(0.1)],
    "padding": lambda: [L.ZeroPadding2D(1), L.Cropping2D(1)],
    "shape": lambda: [L.Reshape((4, 16, 16)), L.Permute((2, 3, 1))],
    "scale": lambda: [L.Rescaling(0.5), lambda x: x * 2.0, lambda x: x + ops.ones(4)],
    "operations": lambda: [
        lambda x: x[:, ::2],
        lambda x: ops.transpose(x, (0, 2, 1, 3)),
    ],
    "identity": lambda: [
        L.Identity(),
        L.Activation("linear"),
        lambda x: ops.cast(x, "float16"),
    ],
    "custom": lambda: [L.Lambda(lambda x: x + 3)],
    "upsampling": lambda: [L.UpSampling2D()],
}


@pytest.mark.parametrize("name", list(BETWEEN))
def test_what_lets_an_activation_pass(name):
    between = BETWEEN[name]
    graph = graph_of(
        chain(conv("a"), *between(), L.Activation("tanh"), *between(), conv("b"))
    )
    assert around(graph, "a") == ("linear", False, "tanh", False)
    assert around(graph, "b") == ("tanh", False, "linear", False)
    assert not graph.unread and not graph.conflicts


@pytest.mark.parametrize(
    "make",
    [L.BatchNormalization, L.LayerNormalization, lambda: L.GroupNormalization(2)],
)
def test_normalization(make):
    before = graph_of(chain(conv("a"), make(), L.ReLU(), conv("b")))
    assert around(before, "a") == ("linear", False, "relu", True)
    assert around(before, "b") == ("relu", True, "linear", False)
    # Behind the activation it undoes what that did to the size of the signal.
    after = graph_of(chain(conv("a", activation="relu"), make(), conv("b")))
    assert around(after, "a") == ("linear", False, "relu", False)
    assert around(after, "b") == ("linear", True, "linear", False)


ACTIVATIONS = {
    "fused": (lambda: conv("a", activation="elu"), "elu"),
    "layer": (lambda: L.Activation("gelu"), "gelu"),
    "relu": (lambda: L.ReLU(), "relu"),
    "relu6": (lambda: L.ReLU(max_value=6.0), "relu6"),
    "leaky": (lambda: L.LeakyReLU(0.3), "LeakyReLU"),
    "prelu": (lambda: L.PReLU(), "PReLU"),
    "function": (lambda: keras.activations.relu, "relu"),
    "operation": (lambda: ops.tanh, "tanh"),
    "with an argument": (lambda: lambda x: ops.leaky_relu(x, 0.3), "LeakyRelu"),
    "square": (lambda: lambda x: x * x, "Multiply"),
    "written out": (lambda: lambda x: x * ops.sigmoid(x), "silu"),
    "unknown operation": (lambda: ops.arctan, "Arctan"),
    "lambda": (lambda: L.Lambda(lambda x: ops.maximum(x, 0)), "Lambda"),
}


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_every_way_to_write_an_activation(name):
    make, expected = ACTIVATIONS[name]
    graph = graph_of(chain(conv("first"), make(), conv("last")))
    if name != "fused":
        assert around(graph, "first")[2] == expected
    assert around(graph, "last")[0] == expected
    assert not graph.unread and not graph.conflicts
    assert forward_scale(graph.kernels[-1].preceding) > 0


def test_the_slope_of_an_operation_is_kept():
    graph = graph_of(chain(conv("a"), lambda x: ops.leaky_relu(x, 0.3), conv("b")))
    assert abs(forward_scale(graph.kernels[1].preceding) - 2 / 1.09) < 1e-5


def test_a_sigmoid_that_is_also_used_alone_stays_one():
    def build(x):
        x = conv("a")(x)
        gate = ops.sigmoid(x)
        return L.Concatenate()([conv("b")(x * gate), conv("c")(gate)])

    assert around(graph_of(build), "c")[0] == "sigmoid"


def test_raw_inputs_are_preceded_by_nothing():
    graph = graph_of(
        chain(L.Rescaling(2.0), L.Normalization(mean=0.0, variance=1.0), conv("a"))
    )
    assert graph.kernels[0].first and not graph.kernels[0].preceded_by_normalization
    graph = graph_of(chain(L.Embedding(5, 3), L.Conv1D(2, 3, name="a")), shape=(9,))
    assert [site.path for site in graph.kernels if site.first] == ["a"]


def test_what_is_put_side_by_side_must_agree():
    def build(x):
        left = conv("a", activation="relu")(x)
        right = conv("b")(x)
        if agree:
            right = L.ReLU()(right)
        return conv("c")(L.Concatenate()([left, right]))

    agree = True
    graph = graph_of(build)
    assert around(graph, "c")[0] == "relu"
    assert not graph.conflicts
    agree = False
    graph = graph_of(build)
    (conflict,) = graph.conflicts
    assert (conflict.path, conflict.name) == ("c", "preceding")
    assert [activation_name(a) for a in conflict.values] == ["relu", "linear"]


def test_ways_that_part_must_agree():
    def build(x):
        x = conv("a")(x)
        return L.Concatenate()([L.ReLU()(x), L.Activation(other)(x)])

    other = "relu"
    assert not graph_of(build).conflicts
    other = "tanh"
    (conflict,) = graph_of(build).conflicts
    assert (conflict.path, conflict.name) == ("a", "following")
    assert [activation_name(a) for a in conflict.values] == ["relu", "tanh"]


def test_a_gate_is_not_the_signal():
    def build(x):
        x = L.Activation("tanh")(conv("a")(x))
        gate = L.Dense(2, activation="relu", name="reduce")(
            L.GlobalAveragePooling2D(keepdims=True)(x)
        )
        gate = L.Dense(4, activation="sigmoid", name="expand")(gate)
        return conv("b")(L.Multiply()([gate, x]))

    graph = graph_of(build)
    assert around(graph, "reduce") == ("tanh", False, "relu", False)
    assert around(graph, "expand") == ("relu", False, "sigmoid", False)
    assert around(graph, "b")[0] == "tanh"
    assert graph.stages == () and not graph.conflicts
    assert not any(site.branch is not None for site in graph.kernels)


def test_the_classifier_is_the_last_kernel():
    def build(x):
        x = L.Flatten()(conv("a", activation="relu")(x))
        logits = L.Dense(3, name="logits")(x)
        value = L.Dense(1, name="value")(L.Dense(4, name="hidden")(x))
        return {"class": L.Softmax()(logits), "value": L.Reshape((1, 1))(value)}

    graph = graph_of(build)
    assert {s.path for s in graph.kernels if s.classifier} == {"logits", "value"}


def test_features_have_no_classifier():
    def build(x):
        y = L.BatchNormalization()(conv("b")(L.ReLU()(conv("a")(x))))
        return L.ReLU()(y)

    assert not any(site.classifier for site in graph_of(build).kernels)


def test_an_output_that_is_also_read_is_no_classifier():
    def build(x):
        x = conv("a")(x)
        return [x, conv("b")(x)]

    assert [s.path for s in graph_of(build).kernels if s.classifier] == ["b"]
