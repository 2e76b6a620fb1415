"""Signal reports while a model is trained."""

import json
import sys

import keras
import numpy as np
import pytest

from keras_convinit import SignalMonitor, signal_report

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((32, 6)).astype("float32")
Y = RANDOM.integers(0, 3, 32)


def network():
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8, "relu", name="first"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dense(3, name="last"),
        ]
    )
    model.compile(
        keras.optimizers.Adam(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


def train(model, monitor, **kwargs):
    model.fit(X, Y, batch_size=16, verbose=0, callbacks=[monitor], **kwargs)


def test_reports_before_training_and_after_each_epoch():
    model = network()
    before = [signal_report(model, X, Y) for _ in range(2)][1]
    monitor = SignalMonitor(X, Y)
    train(model, monitor, epochs=3)
    assert list(monitor.reports) == [0, 1, 2, 3]
    assert monitor.reports[0] == before
    assert monitor.reports[3] == signal_report(model, X, Y)
    losses = [report.loss for report in monitor.reports.values()]
    assert losses[-1] < losses[0]
    assert len({report.rows[0].weight_norm for report in monitor.reports.values()}) == 4


def test_training_is_the_same_with_it():
    weights = []
    for monitor in (SignalMonitor(X, Y), keras.callbacks.Callback()):
        keras.utils.set_random_seed(7)
        model = network()
        train(model, monitor, epochs=2, shuffle=False)
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_every_few_epochs_and_on_from_where_it_was():
    model = network()
    monitor = SignalMonitor(X, Y, every=2)
    train(model, monitor, epochs=4)
    assert list(monitor.reports) == [0, 2, 4]
    # Once as people say it, once as they forget to.
    train(model, monitor, initial_epoch=4, epochs=6)
    assert list(monitor.reports) == [0, 2, 4, 6]
    train(model, monitor, epochs=2)
    assert list(monitor.reports) == [0, 2, 4, 6, 8]
    resumed = SignalMonitor(X, Y, every=2)
    train(model, resumed, initial_epoch=5, epochs=7)
    assert list(resumed.reports) == [5, 6]


def test_history_is_plain_data():
    monitor = SignalMonitor(iter([(X, Y)]))
    train(network(), monitor, epochs=1)
    assert [entry["epoch"] for entry in monitor.history] == [0, 1]
    assert json.loads(json.dumps(monitor.history, allow_nan=False)) == monitor.history
    assert monitor.history[1]["rows"][0]["path"] == "first"


def events(folder):
    from tensorboard.backend.event_processing import event_accumulator

    accumulator = event_accumulator.EventAccumulator(str(folder))
    accumulator.Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
    }


def test_scalars_for_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    model = network()
    monitor = SignalMonitor(X, Y, tmp_path / "logs")
    train(model, monitor, epochs=1)
    train(model, monitor, initial_epoch=1, epochs=2)
    found = events(tmp_path / "logs")
    for name, path in (("forward_norm", "norm"), ("gradient_norm", "first")):
        rows = [
            next(row for row in report.rows if row.path == path)
            for report in monitor.reports.values()
        ]
        steps, values = zip(*found[f"signal/{path}/{name}"], strict=True)
        assert steps == (0, 1, 2)
        np.testing.assert_allclose(values, [getattr(row, name) for row in rows], 1e-5)
    assert "signal/norm/dead_fraction" not in found
    assert len(found["signal/loss"]) == 3


def test_without_tensorboard(monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.startswith("tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ModuleNotFoundError, match="pip install tensorboard"):
        SignalMonitor(X, Y, tmp_path)


def test_what_is_refused():
    with pytest.raises(ValueError, match="`every` must be a positive integer"):
        SignalMonitor(X, Y, every=0)


class Pair(keras.Model):
    """Two networks that are trained against each other: there is no call of both."""

    def __init__(self):
        super().__init__()
        self.generator = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        self.judge = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        self.built = True


def growing(pair):
    """Trains by no gradient, so that it is the same for every framework."""

    class Grows(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            kernel = pair.generator.layers[0].kernel
            kernel.assign(2.0 * kernel)

    return Grows()


def test_a_part_of_what_is_trained_is_watched():
    pair = Pair()
    x = np.ones((4, 3), "float32")
    monitor = SignalMonitor(x, model=pair.generator)
    monitor.set_model(pair)
    grow = growing(pair)
    monitor.on_train_begin()
    for epoch in range(2):
        monitor.on_epoch_begin(epoch)
        grow.on_epoch_end(epoch)
        monitor.on_epoch_end(epoch)
    norms = [report.rows[0].weight_norm for report in monitor.reports.values()]
    assert norms == pytest.approx([norms[0], 2 * norms[0], 4 * norms[0]], rel=1e-6)
    with pytest.raises(ValueError, match="`loss` must be given"):
        signal_report(pair.generator, x, np.ones((4, 2)))


def test_a_part_has_the_values_of_the_moment():
    inputs = keras.Input((3,))
    part = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model = keras.Model(inputs, keras.layers.Dense(1)(part(inputs)))
    model.compile(keras.optimizers.SGD(0.1), "mean_squared_error")
    x = np.ones((4, 3), "float32")
    monitor = SignalMonitor(x, model=part)
    model.fit(x, np.ones((4, 1)), epochs=1, verbose=0, callbacks=[monitor])
    before, after = (monitor.reports[epoch].rows[0].weight_norm for epoch in (0, 1))
    kernel = keras.ops.convert_to_numpy(part.layers[0].kernel)
    assert after == pytest.approx(np.linalg.norm(kernel), rel=1e-6)
    assert before != pytest.approx(after, rel=1e-4)


def test_a_model_without_a_call_is_refused_before_it_is_trained():
    pair = Pair()
    pair.compile()
    monitor = SignalMonitor(np.ones((4, 3), "float32"))
    with pytest.raises(ValueError, match="must be given for a model without a `call`"):
        pair.fit(np.ones((4, 3), "float32"), verbose=0, callbacks=[monitor])
    with pytest.raises(ValueError, match="`model` must be a Keras model"):
        SignalMonitor(np.ones((4, 3)), model="generator")


class Weighted(keras.Model):
    """With a loss of its own."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, **kwargs):
        difference = keras.ops.abs(y - y_pred)
        return keras.ops.mean(difference * keras.ops.abs(x[:, :1]))


def test_a_loss_of_the_models_own_is_what_is_watched():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((8, 3)).astype("float32")
    y = generator.standard_normal((8, 1)).astype("float32")
    histories, weights = [], []
    monitor = SignalMonitor(x, y)
    for callbacks in ([], [monitor]):
        keras.utils.set_random_seed(3)
        inputs = keras.Input((3,))
        model = Weighted(inputs, keras.layers.Dense(1)(inputs))
        model.compile(keras.optimizers.SGD(0.1))
        history = model.fit(
            x, y, batch_size=4, epochs=3, verbose=0, callbacks=callbacks
        )
        histories.append(history.history["loss"])
        weights.append([keras.ops.convert_to_numpy(v) for v in model.variables])
    assert histories[0] == histories[1]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)
    difference = np.abs(y - model.predict(x, verbose=0)) * np.abs(x[:, :1])
    last = monitor.reports[max(monitor.reports)]
    assert last.loss == pytest.approx(difference.mean(), rel=1e-5)
