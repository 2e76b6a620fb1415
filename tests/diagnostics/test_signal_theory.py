"""What is predicted for deep networks, and what is measured."""

import keras
import numpy as np
import pytest

import keras_convinit.initializers as ours
from keras_convinit import signal_report
from keras_convinit.diagnostics._figure import backward_line, forward_line
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


@pytest.mark.parametrize("scheme", SCHEMES)
def test_thirty_layers(scheme):
    report = signal_report(SCHEMES[scheme](), X)
    rows = report.rows
    for row in rows:
        if row.predicted_alpha is not None:
            assert abs(np.log(row.alpha / row.predicted_alpha)) < LAYER, row.path
        if row.predicted_beta is not None:
            assert abs(np.log(row.beta / row.predicted_beta)) < LAYER, row.path
    lines = forward_line(rows, report.inputs), backward_line(rows)
    measured = [[r.forward_norm for r in rows], [r.error_norm for r in rows]]
    for line, norms in zip(lines, measured, strict=True):
        assert np.abs(np.log(np.divide(norms, line))).max() < NETWORK
    if scheme in ALPHA:
        for row in rows[1:]:
            assert row.predicted_alpha == pytest.approx(ALPHA[scheme], rel=0.02)
        for row in rows[:-1]:
            assert row.predicted_beta == pytest.approx(ALPHA[scheme], rel=0.02)
    assert all(row.predicted_alpha is not None for row in rows)


def test_wrong_formulas_would_be_seen():
    # A fan or an activation that is wrong is a factor of at least sqrt(2) a layer.
    assert np.log(np.sqrt(2)) * DEPTH > 3 * NETWORK
    # Gamma read as its square is one of 1 / sqrt(0.8).
    assert np.log(1 / np.sqrt(0.8)) * DEPTH > NETWORK


def first_beyond(norms, start, limit=10):
    ratios = np.array(norms) / start
    return int(np.argmax((ratios > limit) | (ratios < 1 / limit)))


def test_he_on_a_residual_network_explodes_at_the_right_layer():
    model = residual(scaled=False)
    report = signal_report(model, X)
    rows = report.rows
    forward = next(t for t in report.troubles if t.direction == "forward")
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
    kinds = {(trouble.direction, trouble.kind) for trouble in report.troubles}
    assert kinds == {("forward", "vanishing"), ("backward", "vanishing")}
    rows = report.rows
    forward, backward = report.troubles
    norms = [row.forward_norm for row in rows]
    assert forward.row == first_beyond(norms, norms[0])
    # Backward it starts before the last layer, which is taken for a classifier.
    errors = [row.error_norm for row in rows[-2::-1]]
    assert backward.row == len(rows) - 2 - first_beyond(errors, errors[0])


@pytest.mark.parametrize("scheme", ["forward", "backward", "weight norm"])
def test_what_is_made_for_it_is_steady(scheme):
    assert signal_report(SCHEMES[scheme](), X).verdict == "steady"
