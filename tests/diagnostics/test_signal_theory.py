"""What is predicted for deep networks, and what is measured."""

import keras
import numpy as np
import pytest

import keras_convinit.initializers as ours
from keras_convinit import Geometry, signal_report
from keras_convinit.diagnostics import signal_row
from keras_convinit.diagnostics._views import predict_error_norms, predict_forward_norms
from keras_convinit.layers import ScaledResidual, WeightNormDense

WIDTH, DEPTH, BATCH = 256, 30, 16
X = np.random.default_rng(0).standard_normal((BATCH, WIDTH))
# Of the square of a norm behind a layer of n units with ReLU the variance is 5 / n
# times its mean squared; of the norm a quarter of that. The samples are correlated.
LAYER = 5 * np.sqrt(5 / WIDTH / 4)
NETWORK = LAYER * np.sqrt(DEPTH)


def plain(initializer, activation="relu"):
    layers = [
        keras.layers.Dense(WIDTH, activation, kernel_initializer=initializer())
        for _ in range(DEPTH)
    ]
    return keras.Sequential([keras.Input((WIDTH,)), *layers])


def weight_normalized():
    layers = [WeightNormDense(WIDTH, activation="relu") for _ in range(DEPTH)]
    return keras.Sequential([keras.Input((WIDTH,)), *layers])


def residual(scaled=True, blocks=DEPTH // 2):
    layers = []
    for number in range(blocks):
        branch = [
            keras.layers.Dense(WIDTH, "relu", kernel_initializer="he_normal"),
            keras.layers.Dense(WIDTH, kernel_initializer="lecun_normal"),
        ]
        layers.append(
            ScaledResidual(branch, blocks if scaled else 1, name=f"block_{number}")
        )
    return keras.Sequential([keras.Input((WIDTH,)), *layers])


SCHEMES = {
    "forward": lambda: plain(ours.ZhangForward),
    "backward": lambda: plain(ours.ZhangBackward),
    "gamma": lambda: plain(lambda: ours.ZhangBackward(gamma=0.8)),
    "tanh": lambda: plain(lambda: ours.ZhangForward("tanh"), "tanh"),
    "he": lambda: plain(keras.initializers.HeNormal),
    "glorot": lambda: plain(keras.initializers.GlorotUniform),
    "weight norm": weight_normalized,
    "residual": residual,
    "unscaled residual": lambda: residual(scaled=False),
}
# What a layer multiplies the norm by.
ALPHA = {
    "forward": 1,
    "backward": 1,
    "gamma": np.sqrt(1 / 0.8),
    "he": 1,
    "glorot": np.sqrt(1 / 2),
    "weight norm": 1,
}


def check_thirty_layers(scheme):
    report = signal_report(SCHEMES[scheme](), X)
    rows = report.rows
    for row in rows:
        if row.predicted_alpha is not None:
            assert abs(np.log(row.alpha / row.predicted_alpha)) < LAYER, row.path
        if row.predicted_beta is not None:
            assert abs(np.log(row.beta / row.predicted_beta)) < LAYER, row.path
    lines = predict_forward_norms(rows, report.inputs), predict_error_norms(rows)
    measured = [[r.forward_norm for r in rows], [r.error_norm for r in rows]]
    for line, norms in zip(lines, measured, strict=True):
        assert np.abs(np.log(np.divide(norms, line))).max() < NETWORK
    if scheme in ALPHA:
        for row in rows[1:]:
            assert row.predicted_alpha == pytest.approx(ALPHA[scheme], rel=0.02)
        for row in rows[:-1]:
            assert row.predicted_beta == pytest.approx(ALPHA[scheme], rel=0.02)
    assert all(row.predicted_alpha is not None for row in rows)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_thirty_layers(scheme):
    check_thirty_layers(scheme)


def without_activation(activation, variance=1.0):
    return 1.0


def with_another_fan_in(geometry, stride_aware=False):
    fan_in, fan_out = FANS(geometry, stride_aware=stride_aware)
    return 2 * fan_in, fan_out


FANS = Geometry.fans
WRONG = {
    "forward scale": (signal_row, "forward_scale", without_activation),
    "backward scale": (signal_row, "backward_scale", without_activation),
    # The initializers are to stay right: none of the schemes here draws by them.
    "fan_in": (Geometry, "fans", with_another_fan_in),
}


@pytest.mark.parametrize(
    ("scheme", "formula"),
    [
        *(("he", formula) for formula in WRONG),
        # Of what comes back to a scaled block its branch is too small a part.
        *(("residual", formula) for formula in WRONG if formula != "backward scale"),
    ],
)
def test_wrong_formulas_are_seen(scheme, formula, monkeypatch):
    monkeypatch.setattr(*WRONG[formula])
    with pytest.raises(AssertionError):
        check_thirty_layers(scheme)


def test_a_gamma_that_is_squared_is_seen(monkeypatch):
    squared = lambda: plain(lambda: ours.ZhangBackward(gamma=0.8**2))  # noqa: E731
    monkeypatch.setitem(SCHEMES, "gamma", squared)
    with pytest.raises(AssertionError):
        check_thirty_layers("gamma")


def first_beyond(norms, start, limit=10):
    ratios = np.array(norms) / start
    return int(np.argmax((ratios > limit) | (ratios < 1 / limit)))


def test_he_on_a_residual_network_explodes_at_the_right_layer():
    model = residual(scaled=False)
    report = signal_report(model, X)
    rows = report.rows
    forward = next(t for t in report.issues if t.direction == "forward")
    assert forward.kind == "exploding"
    # What counts is the sums; branches are led around.
    norms = [row.forward_norm for row in rows[2::3]]
    index = 2 + 3 * first_beyond(norms, norms[0])
    assert (forward.row, forward.path) == (index, rows[index].path)
    assert 2 < index < len(rows) - 1
    assert f"exploding from {rows[index].path}" in report.verdict
    outputs = model.predict(X, verbose=0)
    norm = np.sqrt(np.mean(np.sum(outputs**2, axis=1)))
    assert rows[-1].forward_norm == pytest.approx(norm, rel=1e-4)


def test_scaled_it_is_steady():
    assert signal_report(residual(), X).verdict == "steady"


def test_glorot_on_deep_relu_vanishes():
    report = signal_report(SCHEMES["glorot"](), X)
    kinds = {(issue.direction, issue.kind) for issue in report.issues}
    assert kinds == {("forward", "vanishing"), ("backward", "vanishing")}
    rows = report.rows
    forward, backward = report.issues
    norms = [row.forward_norm for row in rows]
    assert forward.row == first_beyond(norms, norms[0])
    # Backward it starts before the last layer, which is taken for a classifier.
    errors = [row.error_norm for row in rows[-2::-1]]
    assert backward.row == len(rows) - 2 - first_beyond(errors, errors[0])


@pytest.mark.parametrize("scheme", ["forward", "backward", "weight norm"])
def test_what_is_made_for_it_is_steady(scheme):
    assert signal_report(SCHEMES[scheme](), X).verdict == "steady"
