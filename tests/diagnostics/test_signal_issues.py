"""What a verdict says of networks with something wrong."""

import keras
import numpy as np
import pytest

from keras_convinit import Geometry, Kernel, kernels_of, signal_report
from keras_convinit.diagnostics import SignalRow
from keras_convinit.diagnostics._forward import Step
from keras_convinit.diagnostics.signal_issues import find_issues
from keras_convinit.layers import ScaledResidualStack

X = np.random.default_rng(0).standard_normal((16, 8))


def network(*layers):
    return keras.Sequential([keras.Input((8,)), *layers])


def dense(name, scale=1.0, activation="relu", seed=None):
    initializer = keras.initializers.VarianceScaling(
        2 * scale**2, "fan_in", "untruncated_normal", seed=seed
    )
    return keras.layers.Dense(8, activation, name=name, kernel_initializer=initializer)


def test_weights_that_are_not_finite():
    model = network(*(dense(name) for name in "abc"), keras.layers.Dense(3))
    model.get_layer("b").kernel.assign(np.full((8, 8), np.nan))
    report = signal_report(model, X)
    issue = report.issues[0]
    assert (issue.kind, issue.path, issue.row) == ("not finite", "b", 1)
    assert report.verdict.startswith("not finite at b (forward)")
    assert "nan" in str(report)
    assert report.to_dict()["rows"][1]["weight_norm"] is None


def test_a_signal_that_overflows():
    layers = [dense(f"d{number}", 1e10) for number in range(6)]
    verdict = signal_report(network(*layers), X).verdict
    # 10^10 to the power of 4 is beyond float32.
    assert verdict.startswith("not finite at d3 (forward)")


@pytest.mark.parametrize(("scale", "kind"), [(100.0, "exploding"), (0.01, "vanishing")])
def test_the_first_layer_beyond_the_limit(scale, kind):
    model = network(
        dense("a"), dense("b"), dense("c", scale), dense("d"), keras.layers.Dense(3)
    )
    report = signal_report(model, X)
    forward, backward = report.issues
    assert (forward.kind, forward.direction, forward.path) == (kind, "forward", "c")
    # The error signal meets the weights of "c" on its way to "b".
    assert (backward.kind, backward.direction, backward.path) == (kind, "backward", "b")
    ratio = report.rows[2].forward_norm / report.rows[0].forward_norm
    assert forward.ratio == pytest.approx(ratio)
    assert f"{kind} from c (forward, x {forward.ratio:.2g})" in report.verdict


def row_of(norm, error=1.0):
    return SignalRow(
        path=f"at {norm:g}",
        type="Dense",
        inputs=(),
        channels=1,
        forward_norm=norm,
        alpha=None,
        predicted_alpha=None,
        factors=None,
        error_norm=error,
        beta=None,
        predicted_beta=None,
        weight_norm=1.0,
        gradient_norm=None,
        dead_fraction=None,
    )


def step_of(index, layer=None):
    return Step(
        path=f"step {index}",
        layer=layer,
        sources=(index - 1,),
        channels=1,
        positions=1,
        kernels=(),
        owners=(),
        trainable=(index,),
        has_unknown_kernels=True,
    )


@pytest.mark.parametrize(
    ("norm", "kind"),
    [
        (0.1, None),
        (0.0999, "vanishing"),
        (10.0, None),
        (10.01, "exploding"),
        (0.0, None),
        (np.inf, "not finite"),
    ],
)
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_the_limit_is_ten(norm, kind, direction):
    steps = [step_of(index) for index in range(4)]
    norms = [1.0, norm, 1.0, 1.0] if direction == "forward" else [norm, 1.0, 1.0, 1.0]
    forward = direction == "forward"
    rows = [row_of(*((n, 1.0) if forward else (1.0, n))) for n in norms]
    issues = find_issues(steps, rows)
    found = [(issue.kind, issue.direction, issue.row) for issue in issues]
    row = 1 if forward else 0
    assert found == ([] if kind is None else [(kind, direction, row)])
    if kind in ("vanishing", "exploding"):
        assert issues[0].ratio == norm


def test_a_classifier_may_be_small():
    model = network(dense("a"), dense("b"), dense("c", 1e-4, None))
    assert signal_report(model, X).verdict == "steady"


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_a_normalization_makes_up_for_the_size_of_a_kernel(scale):
    layers = []
    for number in range(4):
        layers += [
            dense(f"d{number}", scale, None),
            keras.layers.BatchNormalization(epsilon=1e-12),
            keras.layers.ReLU(),
        ]
    model = network(*layers, keras.layers.Dense(3))
    assert not [
        issue for issue in signal_report(model, X).issues if issue.kind != "dead"
    ]


def test_a_wider_layer_is_no_explosion():
    # He keeps the root mean square, and the norm grows by sqrt(200).
    wide = keras.layers.Dense(1600, "relu", kernel_initializer="he_normal")
    model = network(dense("a"), wide, keras.layers.Dense(3))
    assert signal_report(model, X).verdict == "steady"


def test_a_small_branch_is_no_loss_where_a_shortcut_leads_around():
    x = inputs = keras.Input((8,))
    for number in range(4):
        branch = dense(f"b{number}", 1e-6, None)(dense(f"a{number}")(x))
        x = keras.layers.Add(name=f"sum{number}")([x, branch])
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    assert signal_report(model, X).verdict == "steady"
    model.get_layer("b1").kernel.assign(1e9 * model.get_layer("b1").kernel)
    forward, backward = signal_report(model, X).issues
    assert (forward.kind, forward.path) == ("exploding", "sum1")
    assert (backward.kind, backward.path) == ("exploding", "sum0")


def test_dead_layers_are_named():
    dead = keras.layers.Dense(8, "relu", name="gone", bias_initializer="ones")
    model = network(dense("a"), dead, keras.layers.Dense(3))
    dead.bias.assign(-1000 * np.ones(8))
    report = signal_report(model, X)
    assert report.rows[1].dead_fraction == 1
    assert "dead: gone" in report.verdict
    half = np.where(np.arange(8) < 4, -1000.0, 1000.0)
    dead.bias.assign(half)
    report = signal_report(model, X)
    assert report.rows[1].dead_fraction == 0.5
    assert "dead" not in {issue.kind for issue in report.issues}


def test_kernels_with_equal_content():
    shared = keras.initializers.GlorotNormal(seed=1)
    layers = [
        keras.layers.Dense(8, name=name, kernel_initializer=shared) for name in "abc"
    ]
    model = network(*layers, dense("d"), dense("e"))
    report = signal_report(model, X)
    assert report.duplicates == (("a.kernel", "b.kernel", "c.kernel"),)
    assert report.verdict.endswith("equal kernels: a.kernel = b.kernel = c.kernel")
    model.get_layer("a").kernel.assign(2 * model.get_layer("a").kernel)
    assert signal_report(model, X).duplicates == (("b.kernel", "c.kernel"),)


def test_what_is_no_pair_of_equal_kernels():
    inputs = keras.Input((8,))
    layer = dense("shared")
    twice = keras.Model(inputs, layer(layer(inputs)))
    assert signal_report(twice, X).duplicates == ()
    zeros = [keras.layers.Dense(8, kernel_initializer="zeros") for _ in range(2)]
    assert signal_report(network(*zeros), X).duplicates == ()
    norms = [keras.layers.Dense(8, kernel_initializer="orthogonal") for _ in range(3)]
    assert signal_report(network(*norms), X).duplicates == ()


def test_equal_blocks_of_a_stack():
    stack = ScaledResidualStack(keras.layers.Dense(8), 3, name="stack")
    model = network(stack)
    assert signal_report(model, X).duplicates == ()
    kernel = next(v for v in stack.weights if len(v.shape) == 3)
    kernel.assign(keras.ops.take(kernel, [1, 1, 2], axis=0))
    (pair,) = signal_report(model, X).duplicates
    assert [path.split("/")[1] for path in pair] == ["block_0", "block_1"]


def test_the_verdict_says_what_was_not_looked_into():
    class Block(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = keras.layers.Dense(8)

        def build(self, shape):
            self.dense.build(shape)

        def call(self, x):
            if hidden:
                x = x * keras.ops.exp(self.dense.bias)
            return self.dense(x)

        def compute_output_shape(self, shape):
            return shape

    def report():
        blocks = [Block(name="one"), Block(name="two")]
        model = keras.Sequential([keras.Input((8,)), *blocks, keras.layers.Dense(8)])
        return signal_report(model, np.ones((4, 8), "float32"))

    hidden = True
    whole = report()
    assert whole.unopened == ("one", "two")
    assert whole.verdict.endswith("not looked inside: one and 1 more")
    assert "not looked inside" in str(whole)
    hidden = False
    opened = report()
    assert opened.unopened == () and "not looked" not in opened.verdict


def test_a_kernel_beside_a_shared_one_is_compared():
    class Two(keras.layers.Layer):
        def __init__(self, name, tied=None):
            super().__init__(name=name)
            self.tied = tied

        def build(self, shape):
            same = keras.initializers.GlorotNormal(seed=1)
            if self.tied is None:
                self.tied = self.add_weight(shape=(8, 8), name="tied")
            self.own = self.add_weight(shape=(8, 8), initializer=same, name="own")

        def call(self, x):
            return x @ self.tied + x @ self.own

    @kernels_of.register
    def _(layer: Two):
        names = ("tied", "own")
        return tuple(Kernel(n, getattr(layer, n), Geometry(1, 8, 8)) for n in names)

    first = Two("a")
    first.build((None, 8))
    report = signal_report(network(first, Two("b", first.tied)), X)
    assert report.duplicates == (("a.own", "b.own"),)
