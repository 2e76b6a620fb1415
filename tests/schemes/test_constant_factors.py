"""What a model multiplies signals by counts, as measured, forward and backward."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_convinit

L = keras.layers
WIDTH = 512
FUNCTIONS = {
    "factor": lambda x: ops.relu(x) * 0.5,
    "factor first": lambda x: 2.0 * ops.relu(x),
    "array": lambda x: ops.multiply(ops.relu(x), np.array([0.5], "float32")),
    "layer": lambda x: L.Rescaling(0.5)(L.ReLU()(x)),
    "lambda": lambda x: L.Lambda(lambda x: 0.5 * x)(L.ReLU()(x)),
    "quotient": lambda x: ops.relu(x) / 2,
    "no activation": lambda x: x * 0.5,
    "before it": lambda x: ops.relu(0.5 * x),
    "two factors": lambda x: 0.5 * L.Flatten()(ops.relu(x)) * 0.5,
    "choice": lambda x: ops.where(x > 0, x, 0.1 * x),
    "maximum": lambda x: ops.maximum(0.1 * x, x) * 0.5,
    "square": lambda x: ops.relu(x) ** 2,
    "saturating": lambda x: 2.0 * ops.tanh(x),
    "written out": lambda x: x * ops.relu6(x + 3.0) / 6.0,
    "two activations": lambda x: ops.softplus(ops.tanh(x)),
}


def between(function, depth=1):
    x = inputs = keras.Input((WIDTH,))
    for _ in range(depth):
        x = function(L.Dense(WIDTH)(x))
    return keras.Model(inputs, L.Dense(WIDTH)(x))


def kernels(model):
    return [ops.convert_to_numpy(v) for v in model.weights if len(v.shape) == 2]


def rms(x):
    return np.sqrt(np.mean(np.square(np.asarray(x, "float64"))))


def values(function, z):
    return ops.convert_to_numpy(function(ops.convert_to_tensor(z.astype("float32"))))


@pytest.mark.parametrize("scheme", ["zhang_forward", "zhang_backward"])
@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_a_signal_of_variance_one_keeps_its_size(name, scheme):
    model = between(FUNCTIONS[name])
    report = keras_convinit.initialize(model, scheme, seed=0, classifier="same")
    assert report.notes == ()
    before, behind = kernels(model)
    generator = np.random.default_rng(0)
    z = generator.standard_normal((256, WIDTH))
    if scheme == "zhang_forward":
        assert rms(values(FUNCTIONS[name], z) @ behind) == pytest.approx(1, rel=0.03)
        return
    step = 1e-2
    slopes = values(FUNCTIONS[name], z + step) - values(FUNCTIONS[name], z - step)
    errors = slopes / (2 * step) * generator.standard_normal(z.shape)
    assert rms(errors @ before.T) == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize("scheme", ["zhang_forward", "auto", "zhang_backward"])
@pytest.mark.parametrize("name", ["factor", "layer", "quotient", "choice"])
def test_reports_of_deep_models_are_steady(name, scheme):
    model = between(FUNCTIONS[name], depth=8)
    keras_convinit.initialize(model, scheme, seed=0)
    x = np.random.default_rng(0).standard_normal((64, WIDTH)).astype("float32")
    report = keras_convinit.signal_report(model, x)
    assert report.verdict == "steady"
    norms = [row.forward_norm for row in report.rows if row.type == "Dense"][:-1]
    assert norms[-1] == pytest.approx(norms[0], rel=0.35)


def test_gains_make_up_for_factors():
    dense = keras_convinit.layers.WeightNormDense
    inputs = keras.Input((WIDTH,))
    hidden = 0.25 * ops.relu(dense(WIDTH)(inputs))
    model = keras.Model(inputs, dense(WIDTH)(hidden))
    keras_convinit.initialize(model, "arpit", seed=0)
    x = np.random.default_rng(0).standard_normal((64, WIDTH)).astype("float32")
    outputs = keras.Model(inputs, hidden).predict(x, verbose=0)
    assert rms(outputs) == pytest.approx(1, rel=0.1)


def test_the_division_of_a_branch_by_a_quotient_is_not_done_again():
    x = inputs = keras.Input((8,))
    for _ in range(4):
        x = x + L.Dense(8)(ops.relu(L.Dense(8)(x))) / 2.0
    report = keras_convinit.initialize(keras.Model(inputs, x), "auto", seed=0)
    assert not any("sqrt" in row.rule for row in report.rows)


def test_what_is_not_counted_is_told_by_name():
    x = inputs = keras.Input((8,))
    x = L.Dense(8)(x)
    x = L.Dense(8)(ops.relu(x) * np.linspace(0.5, 1, 8).astype("float32"))
    x = L.Dense(8)(ops.where(x > 0, x, L.Dense(8)(x)))
    x = ops.relu(x) * 0.5
    x = x + L.Dense(8)(x)
    x = L.Dense(8)(0.7 * (x + L.Dense(8)(x)))
    report = keras_convinit.initialize(keras.Model(inputs, x), "auto", seed=0)
    notes = "\n".join(report.notes)
    assert "multiplies by values of its own, which are taken for 1" in notes
    assert "Where takes several signals" in notes
    assert "multiplies by 0.5 a signal that a sum" in notes
    assert "multiplies by 0.7 what comes from a sum" in notes
    assert len(report.notes) == 4
