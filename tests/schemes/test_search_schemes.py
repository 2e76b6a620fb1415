"""What holds for every scheme that searches for scales."""

import contextlib
import dataclasses
import json
import warnings

import keras
import numpy as np
import pytest

from keras_convinit import initialize
from keras_convinit.layers import ScaledResidual, ScaledResidualStack, WeightNormDense
from keras_convinit.schemes import BatchSampler, GradInit, MetaInit, ScaleSearch

layers = keras.layers
pytestmark = pytest.mark.slow

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
SHORT = {
    "gradinit": {"iterations": 3, "batch_size": 8, "verbose": False},
    "metainit": {"steps": 3, "batch_size": 8, "verbose": False},
}
SCHEMES = list(SHORT)


def network():
    keras.utils.set_random_seed(4)
    inputs = keras.Input((6,))
    x = WeightNormDense(4, activation="relu", name="first")(inputs)
    x = layers.Dense(4, name="second")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = ScaledResidualStack(layers.Dense(4, name="stacked"), 3, name="stack")(x)
    branch = [layers.Dense(4, name="inner"), layers.ReLU()]
    x = ScaledResidual(branch, 2, name="block")(x)
    x = layers.Dense(4, name="frozen")(x)
    model = keras.Model(inputs, layers.Dense(3, name="dense")(x))
    model.get_layer("frozen").trainable = False
    return model


def data(count=20):
    generator = np.random.default_rng(0)
    x = generator.standard_normal((count, 6)).astype("float32")
    return x, np.arange(count) % 3


def equal(first, second):
    assert first.keys() == second.keys()
    for path, value in first.items():
        np.testing.assert_array_equal(value, second[path], path)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_starts_and_scales_and_tells(scheme, values):
    model = network()
    before = values(model)
    arguments = {"data": data(), "loss": LOSS, "seed": 0, **SHORT[scheme]}
    planned = initialize(model, scheme, dry_run=True, **arguments)
    equal(values(model), before)
    done = initialize(model, scheme, **arguments)
    assert planned.rows == done.rows
    assert planned.dry_run
    after = values(model)
    # The kernels are those of the start, times one number.
    started = network()
    initialize(started, "he_normal", seed=0)
    for path, value in values(started).items():
        if path.endswith("kernel") and not path.startswith("stack"):
            ratio = after[path] / value
            assert np.ptp(ratio) <= 1e-5 * abs(ratio).max(), path
    np.testing.assert_array_equal(after["frozen/kernel"], before["frozen/kernel"])
    assert {one.path for one in done.skipped} == {"frozen/kernel", "frozen/bias"}
    assert (after["norm/moving_mean"] == before["norm/moving_mean"]).all()
    assert any("[2]" in row.path and "times" in row.rule for row in done.rows)
    json.dumps(done.to_dict())
    assert max(map(len, str(done).splitlines())) <= 100
    assert all(len(found) == 3 for found in done.history.values())


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        rows = slice(5 * index, 5 * index + 5)
        return tuple(part[rows] for part in data())


def test_forms_of_data(values):
    tf = pytest.importorskip("tensorflow")
    ends = []
    for form in (Batches(), tf.data.Dataset.from_tensor_slices(data()).batch(7)):
        model = network()
        short = SHORT["gradinit"]
        initialize(model, "gradinit", data=form, loss=LOSS, seed=0, **short)
        ends.append(values(model))
    # Batches of other sizes, the same samples.
    equal(ends[0], ends[1])


def test_samples_that_come_once_are_not_lost(values):
    ends = []
    for form in (Batches(), (Batches()[index] for index in range(4))):
        model = network()
        short = {**SHORT["gradinit"], "iterations": 1, "batch_size": 12}
        initialize(model, "gradinit", data=form, loss=LOSS, seed=0, **short)
        ends.append(values(model))
    equal(ends[0], ends[1])


def without_labels():
    return data()[0]


def with_nan():
    x, y = data()
    x[3, 2] = np.nan
    return x, y


BAD = {
    "no labels": (without_labels, "inputs and labels"),
    "empty": (lambda: data(0), "at least one sample"),
    "one": (lambda: data(1), "two samples"),
    "not finite": (with_nan, r"finite"),
    "classes": (lambda: (data()[0], np.full(20, 3)), "classes from 0 to 2"),
    "labels": (lambda: (data()[0], np.zeros((20, 7))), "`y` must be labels"),
    "lengths": (lambda: (data()[0], data(19)[1]), "same number of samples"),
    "shape": (lambda: (data()[0][:, :4], data()[1]), "."),
    "ended": (lambda: iter([data(4)]), "begin again"),
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", BAD)
def test_bad_data_are_refused_and_nothing_is_changed(scheme, name, values):
    bad, message = BAD[name]
    model = network()
    before = values(model)
    with pytest.raises(ValueError, match=message):
        initialize(model, scheme, data=bad(), loss=LOSS, seed=0, **SHORT[scheme])
    equal(values(model), before)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_loss_is_needed(scheme):
    with pytest.raises(ValueError, match="`loss` must be given"):
        initialize(network(), scheme, data=data(), **SHORT[scheme])
    model = network()
    model.compile("sgd", LOSS)
    report = initialize(model, scheme, data=data(), **SHORT[scheme])
    assert len(report.history["loss"]) == 3


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_explodes_is_refused_and_nothing_is_changed(scheme, values):
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(4, activation=lambda x: keras.ops.exp(1e3 * x)),
            layers.Dense(3),
        ]
    )
    before = values(model)
    with pytest.raises(ValueError, match="must be finite on the samples"):
        initialize(model, scheme, data=data(), loss=LOSS, seed=0, **SHORT[scheme])
    equal(values(model), before)


def press_ctrl_c(found):
    raise KeyboardInterrupt


def lose_all_digits(found):
    numbers = dict.fromkeys(found.numbers, float("nan"))
    return dataclasses.replace(found, numbers=numbers)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("happens", [press_ctrl_c, lose_all_digits])
@pytest.mark.parametrize("last", [3.0, 2.0])
def test_ended_early_it_has_the_first_best(scheme, happens, last, values, monkeypatch):
    ranks = [5.0, 2.0, last]
    seen = []
    (cls,) = (
        each
        for each in ScaleSearch.__subclasses__()
        if each.__module__.endswith(scheme)
    )
    step = cls.step

    def ended(self):
        at = self.at
        found = step(self)
        if len(seen) == 3:
            return happens(found)
        seen.append(at)
        return dataclasses.replace(found, rank=(ranks[len(seen) - 1],))

    monkeypatch.setattr(cls, "step", ended)
    model, started = network(), network()
    long = {**SHORT[scheme], next(iter(SHORT[scheme])): 10}
    with warned("ended after 3 of 10 iterations"):
        report = initialize(model, scheme, data=data(), loss=LOSS, seed=0, **long)
    reason = "interrupted" if happens is press_ctrl_c else "must be finite"
    assert reason in report.notes[-1]
    assert report.interrupted == (happens is press_ctrl_c)
    initialize(started, "he_normal", seed=0)
    kernel = values(model)["dense/kernel"] / values(started)["dense/kernel"]
    rules = {row.path: row.rule for row in report.rows}
    assert rules["dense/kernel"].endswith(f"times {kernel.mean():.3g}")
    # The scales of the second iteration, which was the best, and the first such.
    assert np.isclose(seen[1], kernel.mean(), rtol=1e-5).any()
    assert not np.isclose(seen[2], kernel.mean(), rtol=1e-5).any()


@contextlib.contextmanager
def warned(message):
    # `pytest.warns` lets pass what numpy says to Keras, without where it was said.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    assert any(message in str(one.message) for one in caught)


def test_progress_is_shown(capsys):
    short = {**SHORT["gradinit"], "verbose": True}
    initialize(network(), "gradinit", data=data(), loss=LOSS, **short)
    printed = capsys.readouterr().out
    assert "3/3" in printed
    assert "gradient_norm" in printed


def test_in_mixed_precision_the_statistics_are_wide(values):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        narrow = network()
    finally:
        keras.config.set_dtype_policy("float32")
    wide = network()
    ends = []
    for model in (narrow, wide):
        report = initialize(
            model,
            GradInit(3, batch_size=8, verbose=False),
            data=data(),
            loss=LOSS,
            seed=0,
        )
        ends.append(report.history["gradient_norm"])
        assert all(v.dtype == np.float32 for v in values(model).values())
    # Eight bits in every product of the pass.
    np.testing.assert_allclose(ends[0], ends[1], rtol=0.05)


def test_after_another_scheme():
    report = initialize(
        network(),
        ["orthogonal", GradInit(2, batch_size=8, start=None, verbose=False)],
        data=data(),
        loss=LOSS,
    )
    assert report.scheme.endswith("+ GradInit")
    report = initialize(
        network(),
        MetaInit(2, batch_size=8, start="lsuv", verbose=False),
        data=data(),
        loss=LOSS,
    )
    assert report.scheme == "LSUV + MetaInit"


def test_arrays_are_shuffled_by_the_seed_from_the_first_sample_on():
    def drawn(seed):
        sampler = BatchSampler(network(), data(), "mine")
        sampler.begin(seed)
        return np.concatenate([sampler.next(10).x for _ in range(4)])

    x = data()[0]
    first, same, other = drawn(0), drawn(0), drawn(1)
    np.testing.assert_array_equal(first, same)
    for epoch in (first[:20], first[20:], other[:20]):
        # Each sample once, in an order of its own.
        assert not np.array_equal(epoch, x)
        np.testing.assert_array_equal(np.sort(epoch, axis=0), np.sort(x, axis=0))
    assert not np.array_equal(first[:20], other[:20])
    assert not np.array_equal(first[:20], first[20:])


def test_a_data_set_of_keras_is_told_when_an_epoch_ends():
    class Told(Batches):
        ended = 0

        def on_epoch_end(self):
            self.ended += 1

    batches = Told()
    sampler = BatchSampler(network(), batches, "mine")
    for count, ended in ((20, 0), (20, 1), (20, 2)):
        sampler.next(count)
        assert batches.ended == ended
