"""Layers of somebody's own are opened where that is true to them."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_convinit.analysis import analyze, trace
from keras_convinit.layers import ScaledResidual, ScaledResidualStack

L = keras.layers
X = np.random.default_rng(0).standard_normal((3, 6, 4)).astype("float32")


class Residual(L.Layer):
    """Parts in lists and dicts, and `training` that is False unless it is told."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        dtype = self.dtype_policy
        first = L.Dense(5, activation="relu", name="first", dtype=dtype)
        self.parts = {"first": [first]}
        self.norm = L.BatchNormalization(name="norm", dtype=dtype)
        self.last = L.Dense(4, name="last", dtype=dtype)

    def call(self, x, training=False):
        y = self.norm(self.parts["first"][0](x), training=training)
        return x + 0.5 * self.last(y)


class Frozen(Residual):
    """One part that is told the same whatever the layer is told."""

    def call(self, x, training=None):
        return self.last(self.norm(self.parts["first"][0](x), training=False))


class Decoder(L.Layer):
    """Made in `build`, with arguments that are mostly None."""

    def build(self, x_shape, cache_shape=None):
        self.queries = L.EinsumDense("btd,dhk->bthk", (None, 2, 3), name="queries")
        self.queries.build(x_shape)
        self.outputs = L.EinsumDense("bthk,hkd->btd", (None, 4), name="outputs")
        self.outputs.build((*x_shape[:-1], 2, 3))
        self.norm = L.LayerNormalization(name="norm")
        self.norm.build(x_shape)

    def call(self, x, cache=None, cache_index=0):
        y = self.queries(self.norm(x))
        if cache is not None:
            y = y + cache
        return x + self.outputs(ops.softmax(y / np.sqrt(3), axis=-1))


class Scaled(L.Layer):
    """A vector of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = L.Dense(4, name="dense")

    def build(self, shape):
        self.gamma = self.add_weight(shape=(4,), name="gamma", initializer="normal")
        self.dense.build(shape)

    def call(self, x):
        return ops.add(x, ops.multiply(self.dense(x), self.gamma))

    def compute_output_shape(self, shape):
        return shape


class Twice(L.Layer):
    """Another layer of its own, called twice, and models of each kind."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = Residual(name="inner")
        self.row = keras.Sequential([keras.Input((6, 4)), L.Dense(4)], name="row")
        inputs = keras.Input((6, 4))
        outputs = L.ReLU()(L.Dense(4, name="deep")(inputs))
        self.graph = keras.Model(inputs, outputs, name="graph")
        self.stack = ScaledResidualStack(L.Dense(4, name="b"), 2, name="stack")

    def call(self, x):
        return self.stack(self.graph(self.row(self.inner(self.inner(x)))))


class Pair(L.Layer):
    """Several signals in, several out."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.left, self.right = L.Dense(4, name="left"), L.Dense(4, name="right")

    def call(self, signals, factor=1.0):
        return {
            "sum": self.left(signals[0]) + self.right(signals[1]),
            "rest": factor * signals[1],
        }


def functional(layer, **keywords):
    inputs = keras.Input((6, 4))
    return keras.Model(inputs, layer(L.Dense(4, name="stem")(inputs), **keywords))


def pair():
    inputs = keras.Input((6, 4))
    found = Pair(name="pair")([inputs, L.ReLU(name="relu")(inputs)], factor=3.0)
    return keras.Model(inputs, [found["sum"], found["rest"]])


MODELS = {
    "residual": (lambda: functional(Residual(name="own")), "own/first"),
    "told to train": (
        lambda: functional(Residual(name="own"), training=True),
        "own/first",
    ),
    "frozen": (lambda: functional(Frozen(name="own")), "own/norm"),
    "decoder": (lambda: functional(Decoder(name="own")), "own/outputs"),
    "scaled": (lambda: functional(Scaled(name="own")), "own/dense"),
    "twice": (lambda: functional(Twice(name="own")), "own/inner/last#2"),
    "half": (
        lambda: functional(Residual(name="own", dtype="mixed_bfloat16")),
        "own/first",
    ),
    "pair": (pair, "pair/right"),
    "in a branch": (
        lambda: functional(ScaledResidual(Residual(name="own"), 2, name="res")),
        "res/own/first",
    ),
    "in a sequential model": (
        lambda: keras.Sequential([keras.Input((6, 4)), Residual(name="own")]),
        "own/first",
    ),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("training", [None, True])
def test_running_the_program_is_calling_the_model(name, training, arrays):
    make, path = MODELS[name]
    model = make()
    for variable in model.variables:
        if variable.path.endswith("moving_mean"):
            variable.assign(np.linspace(0, 1, variable.shape[0]))
    program = trace(model, open_composites=True)
    assert path in [call.path for call in program.calls]
    # In training, averages change.
    values = model.get_weights()
    expected = arrays(model(X, training=training))
    model.set_weights(values)
    found = arrays(program.run(X, training=training))
    keras.tree.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), expected, found
    )


def test_what_the_parts_are_in_the_network():
    inputs = x = keras.Input((6, 4))
    for number in range(3):
        x = Residual(name=f"block_{number}")(x)
    graph = analyze(keras.Model(inputs, L.Dense(2, name="head")(L.Flatten()(x))))
    assert graph.unread == () and graph.stages == (3,)
    first, last = graph.kernels[2], graph.kernels[3]
    assert (first.path, last.path) == ("block_1/first", "block_1/last")
    assert first.following is keras.activations.relu and not first.last_in_branch
    assert last.last_in_branch and last.branch_factor == 0.5
    assert (last.block, last.blocks, last.preceded_by_normalization) == (1, 3, True)
    assert graph.kernels[-1].classifier


def test_in_a_stack_and_over_time():
    inputs = keras.Input((6, 4))
    x = L.TimeDistributed(Scaled(name="own"), name="time")(inputs)
    x = ScaledResidualStack([Plain(name="block")], 3, name="stack")(x)
    model = keras.Model(inputs, x)
    graph = analyze(model)
    assert graph.stages[-1] == 3
    time, dense = graph.kernels
    assert (time.path, dense.path) == ("time/own/dense", "stack/branch/block/dense")
    assert (dense.kernel.copies, dense.kernel.stacked, dense.blocks) == (3, True, 3)
    (kernel,) = (w for w in model.get_layer("stack").weights if len(w.shape) == 3)
    assert dense.kernel.variable is kernel


class Plain(L.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = L.Dense(4, name="dense")

    def call(self, x):
        return self.dense(ops.relu(x))


class Whole(L.Layer):
    """A dense layer, and something else by which it cannot be opened."""

    def __init__(self, what, **kwargs):
        if what == "regularizer":
            kwargs["activity_regularizer"] = "l2"
        super().__init__(**kwargs)
        self.what = what
        self.dense = L.Dense(4, name="dense")
        self.seed = keras.random.SeedGenerator(1)
        self.last_seen = None

    def build(self, shape):
        self.gamma = self.add_weight(shape=(4,), name="gamma", initializer="normal")
        self.count = self.add_weight(shape=(), name="count", trainable=False)
        self.dense.build(shape)

    def call(self, x, training=None):
        y = self.dense(x)
        if self.what == "value":
            y = y * ops.exp(self.gamma)
        if self.what == "loss":
            self.add_loss(ops.mean(y))
        if self.what == "constant loss":
            self.add_loss(ops.convert_to_tensor(3.0))
        if self.what == "state":
            self.last_seen = y
        if self.what == "variable":
            self.count.assign(1.0)
        if self.what == "training" and training:
            y = 2 * y
        if self.what == "random":
            y = y + keras.random.normal((6, 4), seed=self.seed)
        if self.what == "numpy":
            y = y + np.random.default_rng().standard_normal((6, 4)).astype("float32")
        if self.what == "decision" and ops.convert_to_numpy(ops.sum(y)) > 0:
            y = -y
        if self.what == "position":
            y = y + self.dense(ops.ones((1, 6, 4)))
        return y

    def compute_output_shape(self, shape):
        return shape


REASONS = (
    "value",
    "loss",
    "constant loss",
    "state",
    "variable",
    "training",
    "random",
    "numpy",
    "decision",
    "position",
    "regularizer",
)


@pytest.mark.parametrize("what", REASONS)
def test_what_cannot_be_known_stays_whole_and_is_named(what, arrays):
    layer = Whole(what, name="own")
    if what == "decision":
        # Neither could Keras call it on symbols.
        layer.build((None, 6, 4))
    model = functional(layer)
    seen = layer.last_seen
    program = trace(model, open_composites=True)
    assert [call.path for call in program.calls] == ["stem", "own"]
    graph = analyze(model)
    assert [site.path for site in graph.kernels] == ["stem"]
    (unread,) = [one for one in graph.unread if one.layer is layer]
    assert unread.path == "own"
    assert "Whole could not be opened (" in unread.reason
    assert "expand.register" in unread.reason
    assert type(layer.dense) is L.Dense and layer.last_seen is seen
    if what not in ("random", "numpy"):
        expected = arrays(model(X, training=True))
        np.testing.assert_allclose(arrays(program.run(X, training=True)), expected)


def test_without_what_else_it_does_it_is_opened():
    model = functional(Whole("nothing", name="own"))
    assert [site.path for site in analyze(model).kernels] == ["stem", "own/dense"]


class WithMask(L.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = L.Dense(4, name="dense")
        self.supports_masking = True

    def call(self, x, mask=None):
        y = self.dense(x)
        if mask is not None:
            y = y * ops.expand_dims(ops.cast(mask, y.dtype), -1)
        return y


class WithoutMask(WithMask):
    def call(self, x):
        return ops.relu(self.dense(x))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("cls", [WithMask, WithoutMask])
def test_masks_go_where_they_go_in_the_model(cls, masked, arrays):
    tokens = keras.Input((5,), dtype="int32")
    x = L.Embedding(7, 4, mask_zero=masked)(tokens)
    model = keras.Model(tokens, L.GlobalAveragePooling1D()(cls(name="own")(x)))
    program = trace(model, open_composites=True)
    opened = "own/dense" in [call.path for call in program.calls]
    # What the layer does with a mask cannot be seen without one.
    assert opened == (not masked or cls is WithoutMask)
    data = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 0]])
    np.testing.assert_allclose(
        arrays(program.run(data)), arrays(model(data)), atol=1e-6
    )


def test_what_is_registered_goes_before():
    class Mine(Residual):
        pass

    from keras_convinit.analysis import expand

    @expand.register
    def _(layer: Mine, apply, inputs, **_):
        return apply(layer.last, apply(layer.parts["first"][0], inputs))

    program = trace(functional(Mine(name="own")), open_composites=True)
    assert [call.path for call in program.calls] == ["stem", "own/first", "own/last"]


def test_a_sum_with_a_constant_is_a_residual_sum():
    class Sum(L.Layer):
        def __init__(self, scale, **kwargs):
            super().__init__(**kwargs)
            self.scale = scale

        def call(self, signals):
            return signals[0] + signals[1] * self.scale

    inputs = x = keras.Input((4,))
    for _ in range(2):
        x = Sum(0.17)([x, L.Dense(4)(x)])
    graph = analyze(keras.Model(inputs, x))
    assert (graph.stages, graph.unread) == ((2,), ())
    assert [site.branch_factor for site in graph.kernels] == [0.17, 0.17]
    assert all(site.last_in_branch for site in graph.kernels)


def test_a_wrapper_of_what_cannot_be_opened_is_named():
    @keras.saving.register_keras_serializable("test_own_layers")
    class Cell(L.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = L.Dense(3, name="dense")
            self.state_size = self.output_size = 3

        def build(self, shape):
            self.dense.build((None, shape[-1] + 3))

        def call(self, x, states):
            (state,) = states
            state = ops.tanh(self.dense(ops.concatenate([x, state], axis=-1)))
            return state, [state]

    layer = L.Bidirectional(L.RNN(Cell(), return_sequences=True), name="own")
    model = functional(layer)
    (unread,) = analyze(model).unread
    assert unread.path == "own" and "kernels_of.register" in unread.reason


class Operated(L.Layer):
    """A dense layer, and its own variables on the left of what that gives."""

    def __init__(self, operation, **kwargs):
        super().__init__(**kwargs)
        self.operation = operation
        self.dense = L.Dense(4, name="dense")

    def build(self, shape):
        self.vector = self.add_weight(shape=(4,), name="vector", initializer="normal")
        self.matrix = self.add_weight(shape=(6, 6), name="matrix", initializer="normal")
        self.dense.build(shape)

    def call(self, x):
        return self.operation(self, self.dense(x))

    def compute_output_shape(self, shape):
        return shape


OPERATED = {
    "plus": lambda own, y: own.vector + y,
    "minus": lambda own, y: own.vector - y,
    "times": lambda own, y: own.vector * y,
    "over": lambda own, y: own.vector / (2.0 + ops.abs(y)),
    "at": lambda own, y: own.matrix @ y,
    "to the power": lambda own, y: (own.vector) ** ops.relu(0.0 * y),
    "greater": lambda own, y: ops.where(own.vector > y, y, 0.0),
    "equal": lambda own, y: ops.where(own.vector == y, 0.0, y),
    "function": lambda own, y: ops.multiply(own.vector, y),
    "right": lambda own, y: y * own.vector,
}


@pytest.mark.parametrize("name", OPERATED)
def test_a_variable_may_stand_on_either_side(name, arrays):
    layer = Operated(OPERATED[name], name="own")
    model = functional(layer)
    variables = [layer.vector, layer.matrix]
    classes = [type(v) for v in variables]
    assert [site.path for site in analyze(model).kernels] == ["stem", "own/dense"]
    assert [type(v) for v in variables] == classes
    program = trace(model, open_composites=True)
    np.testing.assert_allclose(arrays(program.run(X)), arrays(model(X)), rtol=1e-5)


@pytest.mark.parametrize("draws", ["own", "global", "own in training"])
def test_what_draws_random_numbers_is_named_with_the_reason(draws):
    class Noisy(L.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = L.Dense(4, name="dense")
            self.seed_generator = keras.random.SeedGenerator(1)

        def build(self, shape):
            self.dense.build(shape)

        def call(self, x, training=None):
            seed = None if draws == "global" else self.seed_generator
            if draws == "own in training" and not training:
                return self.dense(x)
            return self.dense(x) + keras.random.normal((6, 4), seed=seed)

        def compute_output_shape(self, shape):
            return shape

    (unread,) = analyze(functional(Noisy(name="own"))).unread
    assert "could not be opened (it draws random numbers itself)" in unread.reason
