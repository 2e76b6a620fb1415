import csv
import errno
import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_convinit.lab.errors import LabError
from keras_convinit.lab.recipes import Optimizer, Schedule, WarmUp
from keras_convinit.lab.training import Record, checkpoint, fit_recorded
from keras_convinit.lab.training.divergence import Divergence
from keras_convinit.lab.training.evaluation import (
    compile_for_recording,
    evaluated,
    whole_batches,
)

HOW = {
    "optimizer": Optimizer(0.1, nesterov=True, weight_decay=1e-3),
    "schedule": Schedule("cosine", warm_up=WarmUp(1.0, "quadratic")),
    "epochs": 3,
    "steps_per_epoch": 6,
}


class Interrupted(Exception):
    pass


class Interrupt(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 == self.epoch:
            raise Interrupted


def values(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


@pytest.fixture
def fresh(model):
    """Models that all begin alike."""
    weights = model.get_weights()

    def make():
        keras.utils.set_random_seed(7)
        copy = keras.models.clone_model(model)
        copy.set_weights(weights)
        return copy

    return make


def without_seconds(record):
    return [(e.number, e.learning_rate, e.loss, e.accuracy) for e in record.epochs]


def test_an_interrupted_training_ends_like_another(fresh, epochs_from, tmp_path):
    whole = fresh()
    record = fit_recorded(whole, epochs_from, None, **HOW, folder=tmp_path / "whole")
    folder = tmp_path / "parts"
    for epoch in (1, 2):
        with pytest.raises(Interrupted):
            fit_recorded(
                fresh(),
                epochs_from,
                None,
                **HOW,
                folder=folder,
                callbacks=[Interrupt(epoch)],
            )
    parts = fresh()
    continued = fit_recorded(parts, epochs_from, None, **HOW, folder=folder)
    assert without_seconds(continued) == without_seconds(record)
    assert [epoch.number for epoch in continued.epochs] == [1, 2, 3]
    for one, other in zip(values(whole), values(parts), strict=True):
        np.testing.assert_array_equal(one, other)
    # And nothing is left to do.
    again = fit_recorded(fresh(), epochs_from, None, **HOW, folder=folder)
    assert again == continued


def test_learning_rates_are_those_of_first_steps(fresh, epochs_from):
    record = fit_recorded(fresh(), epochs_from, None, **HOW)
    steps = np.array([0, 6, 12])
    risen = np.minimum((steps + 1) / 6, 1) ** 2
    expected = 0.05 * (1 + np.cos(np.pi * steps / 18)) * risen
    found = [epoch.learning_rate for epoch in record.epochs]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_data_set_of_one_epoch_will_do(fresh, pairs, tmp_path):
    batches = tf.data.Dataset.from_tensor_slices(pairs).batch(8)
    how = {**HOW, "steps_per_epoch": None}
    record = fit_recorded(fresh(), batches, batches, **how, folder=tmp_path)
    assert len(record.epochs) == 3
    # It learns: chance is a third.
    assert record.epochs[-1].validation_accuracy > 0.6
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [row["number"] for row in rows] == ["1", "2", "3"]
    assert float(rows[-1]["validation_loss"]) == record.epochs[-1].validation_loss
    assert any((tmp_path / "events").iterdir())


def test_what_fills_up_a_batch_does_not_count(model, pairs):
    x, y = pairs[0][:11], pairs[1][:11]
    compile_for_recording(model, keras.optimizers.SGD(0.1), "auto")
    found = evaluated(
        model, whole_batches(tf.data.Dataset.from_tensor_slices((x, y)).batch(4), 4)
    )
    logits = keras.ops.convert_to_numpy(model(x, training=False)).astype("float64")
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    assert found["cross_entropy"] == pytest.approx(-(logs * y).sum(-1).mean(), rel=1e-5)
    right = (logits.argmax(-1) == y.argmax(-1)).mean()
    assert found["accuracy"] == pytest.approx(right)


@pytest.mark.once
def test_shares_of_batches_are_whole_together(pairs):
    batches = tf.data.Dataset.from_tensor_slices(pairs).batch(32)
    shares = [list(whole_batches(batches, 32, (number, 2))) for number in range(2)]
    images = np.concatenate(
        [np.concatenate([a[0], b[0]]) for a, b in zip(*shares, strict=True)]
    )
    weights = np.concatenate(
        [np.concatenate([a[2], b[2]]) for a, b in zip(*shares, strict=True)]
    )
    assert all(len(batch[0]) == 16 for share in shares for batch in share)
    np.testing.assert_array_equal(images[weights == 1], pairs[0])
    assert weights.sum() == 48


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_inf_end_a_training(fresh, epochs_from, tmp_path, value):
    # In the last step of the second epoch: the first one is kept, and an infinite loss
    # has no time to become NaN. In the labels: on a CPU, XLA makes 0 of a NaN that ReLU
    # is given.
    def poisoned(first):
        batches = epochs_from(first)
        added = np.zeros(18 - 6 * first, "float32")
        added[11 - 6 * first] = value
        added = tf.data.Dataset.from_tensor_slices(added)
        return tf.data.Dataset.zip((batches, added)).map(
            lambda pair, more: (pair[0], pair[1] + more)
        )

    record = fit_recorded(fresh(), poisoned, None, **HOW, folder=tmp_path)
    assert record.diverged
    assert [epoch.number for epoch in record.epochs] == [1, 2]
    assert record.epochs[0].loss is not None
    assert record.epochs[1].loss is None
    # It stays so.
    assert fit_recorded(fresh(), epochs_from, None, **HOW, folder=tmp_path) == record


def test_weights_that_the_last_step_breaks_are_a_divergence(fresh, epochs_from, pairs):
    class Break(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 5:
                kernel = self.model.layers[-1].kernel
                kernel.assign(keras.ops.full_like(kernel, np.inf))

    # JAX keeps its own copy of the weights while it trains.
    if keras.backend.backend() == "jax":
        pytest.skip("no callback changes weights there")
    validation = tf.data.Dataset.from_tensor_slices(pairs).batch(8)
    record = fit_recorded(fresh(), epochs_from, validation, **HOW, callbacks=[Break()])
    assert record.diverged
    assert len(record.epochs) == 1
    assert record.epochs[0].validation_loss is None


@pytest.mark.once
def test_a_look_at_the_loss_leaves_the_training_alone():
    class Trained:
        synced = 0
        stop_training = False

        # What Keras calls on JAX, when a callback asks for its model.
        def jax_state_sync(self):
            self.synced += 1

    divergence, trained = Divergence(), Trained()
    divergence.set_model(trained)
    divergence.on_train_batch_end(0, {"loss": 2.0})
    assert not trained.stop_training
    divergence.on_train_batch_end(1, {"loss": float("nan")})
    assert trained.stop_training
    assert divergence.found
    assert not trained.synced


def saved(fresh, epochs_from, folder):
    how = {**HOW, "epochs": 1}
    fit_recorded(fresh(), epochs_from, None, **how, folder=folder)
    return folder / "checkpoint.npz"


@pytest.mark.once
@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "method", "other"])
def test_a_damaged_checkpoint_is_told_and_kept(fresh, epochs_from, tmp_path, damage):
    path = saved(fresh, epochs_from, tmp_path)
    whole = path.read_bytes()
    middle, directory = len(whole) // 2, whole.index(b"PK\x01\x02")
    damaged = {
        "cut": whole[:middle],
        "empty": b"",
        "flipped": whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
        # Of the first entry of the directory: a way to compress that nobody knows.
        "method": whole[: directory + 10] + b"\x63" + whole[directory + 11 :],
        "other": None,
    }[damage]
    if damaged is None:
        with path.open("wb") as file:
            np.savez(file, weights=np.ones(3))
        damaged = path.read_bytes()
    path.write_bytes(damaged)
    model = fresh()
    before = model.get_weights()
    with pytest.raises(LabError, match=r"checkpoint\.npz is not a checkpoint of this"):
        fit_recorded(model, epochs_from, None, **HOW, folder=tmp_path)
    assert path.read_bytes() == damaged
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.once
def test_a_checkpoint_of_another_model_is_told(fresh, epochs_from, tmp_path):
    path = saved(fresh, epochs_from, tmp_path)
    other = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()])
    other.add(keras.layers.Dense(3))
    compile_for_recording(other, keras.optimizers.SGD(0.1, momentum=0.9), "auto")
    other.optimizer.build(other.trainable_variables)
    with pytest.raises(LabError, match="another model"):
        checkpoint.load(path, other)


@pytest.mark.once
def test_a_full_disk_ends_a_training_and_loses_nothing(
    fresh, epochs_from, tmp_path, monkeypatch
):
    path = saved(fresh, epochs_from, tmp_path)
    whole = path.read_bytes()
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(LabError, match=r"cannot be written \(No space left"):
            fit_recorded(fresh(), epochs_from, None, **HOW, folder=tmp_path)
    assert calls
    assert path.read_bytes() == whole
    assert not list(tmp_path.glob("*.unfinished"))
    # With room again, it goes on.
    record = fit_recorded(fresh(), epochs_from, None, **HOW, folder=tmp_path)
    assert [epoch.number for epoch in record.epochs] == [1, 2, 3]


@pytest.mark.once
def test_who_does_not_write_leaves_no_file(fresh, epochs_from, tmp_path):
    fit_recorded(fresh(), epochs_from, None, **HOW, folder=tmp_path, writes=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.once
def test_records_survive_a_dictionary():
    import dataclasses

    from keras_convinit.lab.plain_data import from_plain
    from keras_convinit.lab.training import Epoch

    logs = {"loss": 1.23456789, "accuracy": 0.5, "val_cross_entropy": float("inf")}
    epoch = Epoch.of(1, 0.1, logs, 2.0)
    assert (epoch.loss, epoch.validation_loss) == (1.23457, None)
    assert epoch.validation_accuracy is None
    record = Record().with_epoch(epoch, diverged=True)
    assert from_plain(Record, dataclasses.asdict(record)) == record
    assert record.as_csv().splitlines()[1] == "1,0.1,1.23457,0.5,,,2.0"
