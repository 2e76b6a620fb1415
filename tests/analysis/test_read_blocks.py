"""Residual blocks and stages, one case at a time."""

import keras
import pytest
from keras import ops

from keras_convinit.analysis import activation_name, analyze
from keras_convinit.layers import ScaledResidual, ScaledResidualStack, WeightNormDense

L = keras.layers


def dense(width=4, **arguments):
    return L.Dense(width, kernel_initializer="zeros", **arguments)


def graph_of(build, *shape):
    inputs = keras.Input(shape or (4,))
    return analyze(keras.Model(inputs, build(inputs)))


def places(graph):
    return [
        (s.path, s.stage, s.block, s.blocks, s.last_in_branch, s.projection)
        for s in graph.kernels
        if s.stage is not None
    ]


def test_every_way_to_write_a_sum():
    for add in (
        lambda a, b: L.Add()([a, b]),
        lambda a, b: L.add([b, a]),
        lambda a, b: ops.add(a, b),
        lambda a, b: a + b,
        lambda a, b: b + a,
    ):
        graph = graph_of(lambda x, add=add: add(x, dense(name="b")(dense(name="a")(x))))
        assert graph.stages == (1,)
        assert places(graph) == [
            ("a", 0, 0, 1, False, False),
            ("b", 0, 0, 1, True, False),
        ]


@pytest.mark.parametrize(
    "build",
    [
        lambda x: L.Multiply()([x, dense()(x)]),
        lambda x: L.Concatenate()([x, dense()(x)]),
        lambda x: L.Subtract()([x, dense()(x)]),
        lambda x: x + x,
        lambda x: x + 1.0,
        lambda x: dense()(x + ops.relu(x)),
        # Two towers: neither is a shortcut of the other.
        lambda x: dense()(x) + dense()(x),
        lambda x: dense()(dense()(x)) + dense()(dense()(dense()(x))),
    ],
    ids=range(8),
)
def test_what_is_no_residual_block(build):
    graph = graph_of(build)
    assert graph.stages == ()
    assert not any(
        s.branch is not None or s.projection or s.last_in_branch for s in graph.kernels
    )


def test_terms_of_other_origins_are_no_residual_block():
    left, right = keras.Input((4,)), keras.Input((4,))
    model = keras.Model([left, right], dense()(left) + dense()(dense()(right)))
    assert analyze(model).stages == ()


def test_one_of_several_branches():
    def build(x):
        return x + dense(name="b")(ops.relu(dense(name="a")(x))) + dense(name="c")(x)

    graph = graph_of(build)
    assert graph.stages == (1,)
    a, b, c = sorted(graph.kernels, key=lambda site: site.path)
    assert a.branch == b.branch != c.branch
    assert [s.last_in_branch for s in (a, b, c)] == [False, True, True]


def test_a_shortcut_without_kernels_may_normalize_and_pool():
    def build(x):
        y = L.Conv2D(4, 3, strides=2, padding="same", name="a")(x)
        return y + L.BatchNormalization()(L.AveragePooling2D(2)(x))

    graph = graph_of(build, 8, 8, 4)
    assert places(graph) == [("a", 0, 0, 1, True, False)]


def test_a_gate_in_a_branch_is_not_its_end():
    def build(x):
        y = dense(name="a")(x)
        gate = dense(activation="sigmoid", name="gate")(y)
        return x + L.Multiply()([y, gate])

    graph = graph_of(build)
    assert {s.path: s.last_in_branch for s in graph.kernels} == {
        "a": True,
        "gate": False,
    }
    assert all(s.branch == 0 for s in graph.kernels)


def test_a_width_ends_a_stage():
    def block(x, width):
        shortcut = x if x.shape[-1] == width else dense(width)(x)
        return shortcut + dense(width)(ops.relu(dense(width)(x)))

    def build(x):
        for width in (4, 4, 6, 6, 6, 5):
            x = block(x, width)
        return x

    assert graph_of(build).stages == (2, 3, 1)


def test_a_projection_of_the_same_size_ends_no_stage():
    def build(x):
        for _ in range(3):
            x = L.Add()([dense(name=f"p{_}")(x), dense()(ops.relu(dense()(x)))])
        return x

    graph = graph_of(build)
    assert graph.stages == (3,)
    assert [s.block for s in graph.kernels if s.projection] == [0, 1, 2]


def test_a_kernel_in_between_ends_a_stage():
    def build(x):
        for _ in range(2):
            x = x + dense()(x)
        x = dense()(x)
        return x + dense()(x)

    assert graph_of(build).stages == (2, 1)


def test_pooling_in_between_ends_a_stage():
    def build(x):
        x = x + L.Conv2D(2, 3, padding="same")(x)
        x = L.MaxPooling2D(2)(x)
        return x + L.Conv2D(2, 3, padding="same")(x)

    assert graph_of(build, 8, 8, 2).stages == (1, 1)


def test_a_width_that_changes_without_a_kernel_ends_a_stage():
    # As in the first ResNet for CIFAR: every other position, and zeros for channels.
    def build(x):
        for stride in (1, 2, 1):
            y = L.Conv2D(2 * stride * x.shape[-1] // 2, 3, stride, padding="same")(x)
            if stride == 2:
                width = x.shape[-1]
                x = ops.pad(x[:, ::2, ::2], [[0, 0]] * 3 + [[0, width]])
            x = x + y
        return x

    graph = graph_of(build, 8, 8, 2)
    assert graph.stages == (1, 2)
    assert not any(s.projection for s in graph.kernels)


def test_a_path_to_which_something_else_is_added_is_no_branch():
    def build(x):
        y = dense(name="a")(x)
        return y + ops.relu(dense(name="b")(y) + x)

    graph = graph_of(build)
    assert graph.stages == (1,)
    assert {s.path: s.last_in_branch for s in graph.kernels} == {"a": False, "b": True}


def test_a_stride_is_seen_where_no_size_is_known():
    def build(x):
        for stride in (1, 2, 1):
            y = L.Conv2D(2, 3, stride, padding="same")(x)
            y = L.Conv2D(2, 3, padding="same")(ops.relu(y))
            x = y + (x if stride == 1 else L.Conv2D(2, 1, 2)(x))
        return x

    assert graph_of(build, None, None, 2).stages == (1, 2)


def test_transformer_blocks():
    def build(x):
        for _ in range(2):
            y = L.LayerNormalization()(x)
            x = x + L.MultiHeadAttention(2, 2)(y, y)
            y = L.LayerNormalization()(x)
            x = x + dense()(dense(8, activation="gelu")(y))
        return x

    graph = graph_of(build, 5, 4)
    assert graph.stages == (4,)
    assert sum(s.last_in_branch for s in graph.kernels) == 4
    assert all(s.preceding is None for s in graph.kernels if not s.last_in_branch)


def test_attention_to_something_else_is_a_branch():
    left, right = keras.Input((5, 4)), keras.Input((6, 4))
    memory = dense(name="encoder")(right)
    x = left + L.MultiHeadAttention(2, 2, name="attention")(left, memory)
    graph = analyze(keras.Model([left, right], x))
    assert graph.stages == (1,)
    assert {s.path for s in graph.kernels if s.branch is not None} == {"attention"}


def test_a_factor_on_a_branch_is_seen():
    for scaled in (L.Rescaling(0.25), lambda x: x * 0.25, lambda x: 0.25 * x):
        graph = graph_of(lambda x, scaled=scaled: x + scaled(dense()(x)))
        assert graph.kernels[0].branch_factor == 0.25
    assert graph_of(lambda x: 0.25 * x + dense()(x)).kernels[0].branch_factor == 1


def branch():
    return [
        WeightNormDense(4, activation="relu", name="first"),
        WeightNormDense(4, name="second"),
    ]


def test_our_residual_layers_are_opened():
    layers = [
        ScaledResidual(branch(), 3, shortcut=L.Dense(4, name="p"), name="open"),
        ScaledResidual(branch(), 3, absorb=True, name="absorbed"),
        ScaledResidualStack(branch(), 5, name="stack"),
        L.Dense(2, name="last"),
    ]
    model = keras.Sequential([keras.Input((6,)), L.Dense(3, name="stem"), *layers])
    graph = analyze(model)
    assert graph.stages == (7,)
    assert not graph.unread and not graph.conflicts
    stack = layers[2]
    stacked = [s for s in graph.kernels if s.layer is stack]
    assert [s.path for s in stacked] == ["stack/branch/first", "stack/branch/second"]
    assert [s.kernel.copies for s in stacked] == [5, 5]
    own = {id(v) for v in stack.trainable_variables}
    assert all(id(s.kernel.variable) in own for s in stacked)
    assert [(s.block, s.last_in_branch) for s in stacked] == [(2, False), (2, True)]
    factors = {s.path: s.branch_factor for s in graph.kernels if s.last_in_branch}
    assert factors == pytest.approx(
        {
            "open/branch/second": 3**-0.5,
            "absorbed/branch/second": 1.0,
            "stack/branch/second": 5**-0.5,
        }
    )
    (projection,) = (s for s in graph.kernels if s.projection)
    assert projection.path == "open/p" and projection.blocks == 7
    assert [activation_name(s.preceding) for s in stacked] == ["linear", "relu"]
    assert [activation_name(s.following) for s in stacked] == ["relu", "linear"]


def test_a_layer_between_blocks_may_do_what_it_likes():
    # Of nested blocks the inner one has the kernel.
    def build(x):
        y = dense(name="a")(x)
        y = y + dense(name="inner")(y)
        return x + dense(name="b")(y)

    graph = graph_of(build)
    by_path = {s.path: s for s in graph.kernels}
    assert by_path["a"].branch == by_path["b"].branch != by_path["inner"].branch
    assert by_path["inner"].last_in_branch and by_path["b"].last_in_branch
    assert not by_path["a"].last_in_branch


def test_a_branch_ends_where_its_block_begins():
    # The block stands at the inputs, which no layer gives.
    graph = graph_of(lambda x: x + L.Maximum()([dense(name="inner")(x), x]))
    assert places(graph) == [("inner", 0, 0, 1, True, False)]


def test_branches_are_counted_over_all_blocks():
    def build(x):
        x = x + dense(name="a")(x)
        x = L.Add()([x, dense(name="b")(x), dense(name="c")(x)])
        return x + dense(name="d")(x)

    graph = graph_of(build)
    numbers = {s.path: s.branch for s in graph.kernels}
    assert sorted(numbers.values()) == [0, 1, 2, 3]
    assert numbers["a"] == 0 and numbers["d"] == 3
