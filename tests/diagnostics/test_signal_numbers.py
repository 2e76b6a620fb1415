"""Every column of a signal report, against forward and backward passes by hand."""

import keras
import numpy as np
import pytest

from keras_convinit import signal_report
from keras_convinit.layers import ScaledResidual, ScaledResidualStack, WeightNormDense


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def arrays(layer):
    return [keras.ops.convert_to_numpy(v).astype(float) for v in layer.weights]


def per_position(values):
    """The root of the mean over batch and positions of the sum over channels."""
    return np.sqrt(np.mean(np.sum(np.square(values), axis=-1)))


def per_sample(errors):
    """Of derivatives of the mean loss: those of the loss of a sample."""
    size = len(errors)
    squares = np.square(size * errors).reshape(size, -1).sum(axis=1)
    return np.sqrt(squares.mean())


def rows_of(report):
    return {row.path: row for row in report.rows}


def close(value):
    return pytest.approx(value, rel=1e-4)


def dense_network():
    inputs = keras.Input((5,))
    a = keras.layers.Dense(6, "relu", name="a", bias_initializer="normal")(inputs)
    b = keras.layers.Dense(6, "tanh", name="b")(a)
    c = keras.layers.Add(name="c")([a, b])
    d = keras.layers.BatchNormalization(name="d", epsilon=1e-6)(c)
    return keras.Model(inputs, keras.layers.Dense(3, name="e")(d))


def by_hand(model, x, y):
    """Outputs of all layers, errors there, and gradients by layer."""
    size = len(x)
    wa, ba = arrays(model.get_layer("a"))
    wb, bb = arrays(model.get_layer("b"))
    we, be = arrays(model.get_layer("e"))
    a = np.maximum(x @ wa + ba, 0)
    b = np.tanh(a @ wb + bb)
    c = a + b
    deviation = np.sqrt(c.var(axis=0) + 1e-6)
    d = (c - c.mean(axis=0)) / deviation
    e = d @ we + be
    probabilities = np.exp(e) / np.exp(e).sum(axis=1, keepdims=True)
    de = (probabilities - np.eye(3)[y]) / size
    dd = de @ we.T
    dc = (dd - dd.mean(axis=0) - d * (dd * d).mean(axis=0)) / deviation
    db = dc
    inner = db * (1 - b**2)
    da = dc + inner @ wb.T
    outer = da * (a > 0)
    signals = {"a": a, "b": b, "c": c, "d": d, "e": e}
    errors = {"a": da, "b": db, "c": dc, "d": dd, "e": de}
    gradients = {
        "a": [x.T @ outer, outer.sum(axis=0)],
        "b": [a.T @ inner, inner.sum(axis=0)],
        "d": [(dd * d).sum(axis=0), dd.sum(axis=0)],
        "e": [d.T @ de, de.sum(axis=0)],
    }
    return signals, errors, gradients


X, Y = random(12, 5), np.arange(12) % 3
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def test_a_dense_network():
    model = dense_network()
    report = signal_report(model, X, Y, LOSS)
    signals, errors, gradients = by_hand(model, X, Y)
    rows = rows_of(report)
    assert list(rows) == ["a", "b", "c", "d", "e"]
    assert report.inputs[0] == close(per_position(X))
    expected = float(keras.ops.convert_to_numpy(LOSS(Y, model(X, training=True))))
    assert report.loss == close(expected)
    for path, row in rows.items():
        assert row.forward_norm == close(per_position(signals[path]))
        assert row.error_norm == close(per_sample(errors[path]))
        if path in gradients:
            parts = [np.linalg.norm(part) for part in gradients[path]]
            assert row.gradient_norm == close(np.linalg.norm(parts))
        else:
            assert row.gradient_norm is row.weight_norm is None
    sizes = {path: per_position(signal) for path, signal in signals.items()}
    size = {path: per_sample(error) for path, error in errors.items()}
    assert rows["a"].alpha == close(sizes["a"] / per_position(X))
    assert rows["b"].alpha == close(sizes["b"] / sizes["a"])
    assert rows["c"].alpha == close(sizes["c"] / np.hypot(sizes["a"], sizes["b"]))
    assert rows["a"].beta == close(size["a"] / np.hypot(size["b"], size["c"]))
    assert rows["b"].beta == close(1)
    assert rows["d"].beta == close(size["d"] / size["e"])
    assert rows["e"].beta is None
    kernel, _ = arrays(model.get_layer("a"))
    assert rows["a"].weight_norm == close(np.linalg.norm(kernel))
    # Of a normalization gamma and beta, which is zero.
    assert rows["d"].weight_norm == close(np.sqrt(6))
    assert rows["a"].dead_fraction == np.mean(np.all(signals["a"] == 0, axis=0))
    assert rows["b"].dead_fraction == 0
    assert rows["c"].dead_fraction is rows["e"].dead_fraction is None


def gaussian(function, variance):
    """E[f(sqrt(v) z)^2] by a sum over a fine grid."""
    z = np.linspace(-12, 12, 400001)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    return np.sum(function(np.sqrt(variance) * z) ** 2 * density) * (z[1] - z[0])


def test_predictions_of_a_dense_network():
    model = dense_network()
    rows = rows_of(signal_report(model, X, Y, LOSS))
    signals, errors, _ = by_hand(model, X, Y)
    wa, ba = arrays(model.get_layer("a"))
    wb, _ = arrays(model.get_layer("b"))
    we, _ = arrays(model.get_layer("e"))
    entering = per_position(X) ** 2
    square = entering * np.sum(wa**2) / 5 + np.sum(ba**2)
    assert rows["a"].predicted_alpha == close(np.sqrt(square / 2 / entering))
    norm = per_position(signals["a"])
    variance = norm**2 * np.sum(wb**2) / 6 / 6
    expected = np.sqrt(6 * gaussian(np.tanh, variance)) / norm
    assert rows["b"].predicted_alpha == pytest.approx(expected, rel=5e-3)
    assert rows["c"].predicted_alpha == close(1)
    assert rows["d"].predicted_alpha == close(np.sqrt(6) / per_position(signals["c"]))
    assert rows["e"].predicted_alpha == close(np.sqrt(np.sum(we**2) / 6))
    assert rows["d"].predicted_beta == close(np.sqrt(np.sum(we**2) / 3))
    deviation = np.sqrt(signals["c"].var(axis=0).mean())
    assert rows["c"].predicted_beta == close(1 / deviation)
    slope = gaussian(lambda z: 1 - np.tanh(z) ** 2, variance)
    through = slope * np.sum(wb**2) / 6 * per_sample(errors["b"]) ** 2
    around = per_sample(errors["c"]) ** 2
    behind = per_sample(errors["b"]) ** 2 + around
    expected = np.sqrt((through + around) / behind)
    assert rows["a"].predicted_beta == pytest.approx(expected, rel=5e-3)


def test_a_convolution_with_a_stride():
    x = random(4, 7, 7, 2)
    model = keras.Sequential(
        [
            keras.Input((7, 7, 2)),
            keras.layers.Conv2D(3, 3, strides=2, name="a", use_bias=False),
            keras.layers.ReLU(name="b"),
            keras.layers.Flatten(name="c"),
            keras.layers.Dense(1, name="d", use_bias=False),
        ]
    )
    (kernel,), (weights,) = arrays(model.get_layer("a")), arrays(model.get_layer("d"))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    windows = windows[:, ::2, ::2]
    a = np.einsum("byxcij,ijco->byxo", windows, kernel)
    y = random(4, 1)
    report = signal_report(model, x, y, lambda y, outputs: y * outputs)
    d_b = (y @ weights.T / 4).reshape(a.shape)
    d_a = d_b * (a > 0)
    rows = rows_of(report)
    assert rows["a"].forward_norm == close(per_position(a))
    assert rows["a"].error_norm == close(per_sample(d_a))
    assert rows["b"].forward_norm == close(per_position(np.maximum(a, 0)))
    assert rows["b"].error_norm == close(per_sample(d_b))
    assert rows["a"].gradient_norm == close(
        np.linalg.norm(np.einsum("byxcij,byxo->ijco", windows, d_a))
    )
    mean_square = np.mean(kernel**2)
    assert rows["a"].predicted_alpha == close(np.sqrt(9 * 3 * mean_square))
    # Nine positions become one, with nine times the channels.
    assert rows["c"].alpha == rows["c"].predicted_alpha == close(3)
    assert rows["b"].beta == rows["b"].predicted_beta == close(1)
    assert rows["a"].predicted_beta == close(np.sqrt(1 / 2))
    assert rows["c"].predicted_beta == close(np.linalg.norm(weights))


def test_without_labels_the_error_signal_has_norm_one():
    inputs = keras.Input((5,))
    hidden = keras.layers.Dense(4, name="a")(inputs)
    outputs = [keras.layers.Dense(3, name=name)(hidden) for name in "bc"]
    report = signal_report(keras.Model(inputs, outputs), X)
    rows = rows_of(report)
    assert report.loss is None
    assert np.hypot(rows["b"].error_norm, rows["c"].error_norm) == close(1)
    assert rows["b"].error_norm < 1 > rows["c"].error_norm
    again = rows_of(signal_report(keras.Model(inputs, outputs), X, seed=1))
    assert again["b"].error_norm != rows["b"].error_norm


def test_a_loss_that_is_a_sum_is_no_larger_error():
    model = dense_network()
    total = keras.losses.SparseCategoricalCrossentropy(True, reduction="sum")
    mean, summed = (signal_report(model, X, Y, loss).rows for loss in (LOSS, total))
    for one, other in zip(mean, summed, strict=True):
        assert one.error_norm == close(other.error_norm)


def test_regularizers_are_part_of_the_gradient_of_the_models_own_loss_alone():
    plain = dense_network()
    model = keras.models.clone_model(plain)
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            layer.kernel.regularizer = keras.regularizers.L2(100.0)
    model.set_weights(plain.get_weights())
    for each in (plain, model):
        each.compile("sgd", LOSS)
    first, second = (signal_report(each, X, Y, LOSS).rows for each in (plain, model))
    for one, other in zip(first, second, strict=True):
        assert one.error_norm == close(other.error_norm)
        assert one.gradient_norm == (one.gradient_norm and close(other.gradient_norm))
    _, _, gradients = by_hand(model, X, Y)
    own = rows_of(signal_report(model, X, Y))
    for row in first:
        assert own[row.path].error_norm == close(row.error_norm)
    for name in ("a", "b", "e"):
        slope, of_bias = gradients[name]
        slope = slope + 200 * arrays(model.get_layer(name))[0]
        expected = np.hypot(np.linalg.norm(slope), np.linalg.norm(of_bias))
        assert own[name].gradient_norm == close(expected)


def test_norms_far_from_one():
    for factor in (1e-25, 1e25):
        model = keras.Sequential(
            [keras.Input((5,)), keras.layers.Dense(4, name="a", use_bias=False)]
        )
        (kernel,) = arrays(model.layers[0])
        report = signal_report(model, factor * X, random(12, 4), lambda y, o: y * o)
        norm = per_position(X @ kernel)
        assert report.rows[0].forward_norm == close(factor * norm)
        assert report.inputs[0] == close(factor * per_position(X))


def test_a_stack_is_opened_block_by_block():
    layers = [keras.layers.Dense(5, "tanh"), WeightNormDense(5)]
    stack = ScaledResidualStack(layers, 4, name="stack")
    model = keras.Sequential([keras.Input((5,)), stack, keras.layers.Dense(3)])
    blocks = stack.unrolled()
    unrolled = keras.Sequential([keras.Input((5,)), *blocks, model.layers[-1]])
    rows = signal_report(model, X, Y, LOSS).rows
    expected = signal_report(unrolled, X, Y, LOSS).rows
    assert [row.path.split("/")[1] for row in rows[:12:3]] == [
        f"block_{number}" for number in range(4)
    ]
    assert len(rows) == len(expected) == 13
    for one, other in zip(rows, expected, strict=True):
        assert one.type == other.type
        for name in ("forward_norm", "error_norm", "weight_norm", "gradient_norm"):
            value = getattr(one, name)
            assert value == (value and close(getattr(other, name))), (one.path, name)


def test_a_residual_block_of_one_layer():
    block = ScaledResidual(keras.layers.Dense(5, name="inner"), 4, name="block")
    model = keras.Sequential([keras.Input((5,)), block])
    rows = rows_of(signal_report(model, X))
    assert set(rows) == {"block/inner", "block/scaled_sum"}
    kernel, _ = arrays(block.branch)
    total = rows["block/scaled_sum"]
    assert total.forward_norm == close(per_position(X + X @ kernel / 2))
    branch, x = per_position(X @ kernel), per_position(X)
    expected = np.hypot(x, branch / 2) / np.hypot(x, branch)
    assert total.predicted_alpha == close(expected)
    assert rows["block/inner"].beta == close(0.5)
    assert rows["block/inner"].predicted_beta == close(0.5)
