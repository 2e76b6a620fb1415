"""What a signal report takes, refuses, and leaves alone."""

import gc
import weakref

import keras
import numpy as np
import pytest
from helpers.values import array

from keras_convinit import initialize, signal_report
from keras_convinit.layers import ScaledResidualStack
from keras_convinit.schemes import GradInit, MetaInit


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


X, Y = random(8, 6, 6, 2), np.arange(8) % 3
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def network(**kwargs):
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(4, 3, padding="same", name="conv", **kwargs),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.ReLU(name="relu"),
            keras.layers.Dropout(0.5, seed=3, name="dropout"),
            keras.layers.GlobalAveragePooling2D(name="pool"),
            keras.layers.Dense(3, name="dense"),
        ]
    )


def everything(model):
    variables = [*model.variables, *model.optimizer.variables]
    return {v.path: array(v) for v in variables}


def test_the_model_is_left_as_it_is():
    model = network()
    model.compile("adam", LOSS, metrics=["accuracy"])
    model.train_on_batch(X, Y)
    before, outputs = everything(model), [layer.output for layer in model.layers]
    keras.utils.set_random_seed(7)
    drawn = array(keras.random.uniform((3,)))
    keras.utils.set_random_seed(7)
    for y in (Y, None):
        signal_report(model, X, y)
    after = everything(model)
    assert before.keys() == after.keys()
    for path, value in before.items():
        np.testing.assert_array_equal(value, after[path], err_msg=path)
    assert all(a is b.output for a, b in zip(outputs, model.layers, strict=True))
    # Neither Keras' own generator was used.
    np.testing.assert_array_equal(array(keras.random.uniform((3,))), drawn)
    assert np.all(np.isfinite(model.train_on_batch(X, Y)))


def test_the_error_signal_follows_from_the_seed_alone():
    """Whatever the generators that belong to nobody are at."""
    model = network()
    # The first is not compiled, and rounds otherwise.
    reports = []
    for number in range(4):
        keras.utils.set_random_seed(number)
        reports.append(signal_report(model, X, seed=number // 3))
    plain, first, second, other = (report.rows for report in reports)
    assert first == second
    for one, compiled in zip(plain, first, strict=True):
        assert one.error_norm == pytest.approx(compiled.error_norm, rel=1e-4)
    assert other[0].error_norm != pytest.approx(first[0].error_norm, rel=1e-3)


def test_statistics_of_the_batch_and_dropout_are_those_of_training():
    report = signal_report(network(), 100 + X)
    rows = {row.path: row for row in report.rows}
    assert rows["norm"].forward_norm == pytest.approx(2, rel=0.01)
    assert rows["dropout"].predicted_alpha == pytest.approx(np.sqrt(2))
    assert rows["dropout"].alpha == pytest.approx(np.sqrt(2), rel=0.2)


def test_what_is_compiled_is_used_again_with_the_weights_of_the_moment():
    model = network()
    model.compile("sgd", LOSS)
    plain, first, again = (signal_report(model, X, Y) for _ in range(3))
    assert first == again
    # The first report is not compiled, and rounds otherwise.
    for one, other in zip(plain.rows, first.rows, strict=True):
        assert one.path == other.path
        assert one.error_norm == pytest.approx(other.error_norm, rel=1e-4)
    model.get_layer("dense").kernel.assign(3 * model.get_layer("dense").kernel)
    second = signal_report(model, X, Y).rows
    ratio = second[-1].weight_norm / first.rows[-1].weight_norm
    assert ratio == pytest.approx(3, rel=1e-5)
    fewer = signal_report(model, X[:5], Y[:5]).rows
    assert [row.path for row in fewer] == [row.path for row in second]


def test_a_model_that_is_gone_leaves_nothing_behind():
    model = network()
    signal_report(model, X)
    reference = weakref.ref(model)
    del model
    keras.backend.clear_session()
    gc.collect()
    assert reference() is None


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return X, Y


def test_data_sets():
    import tensorflow as tf

    model = network()
    model.compile("sgd", LOSS)
    expected = [signal_report(model, X, Y) for _ in range(2)][1]
    assert expected.loss is not None
    pairs = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)
    for data in (pairs, Batches(), (X, Y), [(X, Y), (X, Y)].__iter__()):
        assert signal_report(model, data).rows == expected.rows
    alone = [signal_report(model, X) for _ in range(2)][1]
    assert alone.loss is None
    images = tf.data.Dataset.from_tensor_slices(X).batch(8)
    for data in (images, keras.ops.convert_to_tensor(X)):
        assert signal_report(model, data).rows == alone.rows
    # Without a loss labels are of no use.
    assert signal_report(network(), Batches()).loss is None


def test_inputs_by_name_and_several_outputs():
    inputs = {"a": keras.Input((4,), name="a"), "b": keras.Input((4,), name="b")}
    both = keras.layers.Concatenate(name="both")([inputs["a"], inputs["b"]])
    outputs = [keras.layers.Dense(1, name=name)(both) for name in ("p", "q")]
    model = keras.Model(inputs, outputs)
    model.compile("sgd", ["mse", "mse"], loss_weights=[1.0, 5.0])
    x = {"b": random(8, 4), "a": random(8, 4, seed=1)}
    report = signal_report(model, x, [random(8, 1), random(8, 1)])
    rows = {row.path: row for row in report.rows}
    assert set(rows) == {"both", "p", "q"}
    assert rows["both"].inputs == (-1, -2)
    assert rows["both"].alpha == pytest.approx(1, rel=1e-5)
    assert rows["q"].error_norm > rows["p"].error_norm


def test_inputs_that_are_whole_numbers():
    model = keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            keras.layers.Embedding(7, 4, name="table"),
            keras.layers.LSTM(3, name="lstm"),
            keras.layers.Dense(2, name="dense"),
        ]
    )
    table, lstm, dense = signal_report(model, np.arange(10).reshape(2, 5) % 7).rows
    assert table.alpha is table.predicted_alpha is None
    assert table.weight_norm > 0
    assert lstm.predicted_alpha is None
    assert lstm.alpha > 0
    assert dense.predicted_alpha > 0


def test_lower_precision_is_measured_in_float32():
    expected = network()
    for policy in ("mixed_bfloat16", "mixed_float16"):
        keras.config.set_dtype_policy(policy)
        try:
            model = network()
        finally:
            keras.config.set_dtype_policy("float32")
        model.set_weights(expected.get_weights())
        rows = signal_report(model, X, Y, LOSS).rows
        exact = signal_report(expected, X, Y, LOSS).rows
        # Up to the dropout, which draws other numbers.
        for one, other in zip(rows[:3], exact[:3], strict=True):
            assert one.forward_norm == pytest.approx(other.forward_norm, rel=0.02)


@pytest.mark.skipif(
    keras.backend.backend() == "tensorflow",
    reason="TensorFlow has no convolution of channels that come first on a CPU",
)
def test_channels_that_come_first():
    last = network()
    first = keras.Sequential(
        [
            keras.Input((2, 6, 6)),
            keras.layers.Conv2D(4, 3, padding="same", data_format="channels_first"),
            keras.layers.BatchNormalization(axis=1),
            keras.layers.ReLU(),
        ]
    )
    for one, other in zip(first.layers, last.layers, strict=False):
        one.set_weights(other.get_weights())
    short = keras.Sequential([keras.Input((6, 6, 2)), *last.layers[:3]])
    x = np.moveaxis(X, -1, 1)
    expected, found = signal_report(short, X), signal_report(first, x)
    assert found.inputs[0] == pytest.approx(expected.inputs[0])
    for one, other in zip(found.rows, expected.rows, strict=True):
        assert one.channels == other.channels == 4
        for name in ("forward_norm", "predicted_alpha", "dead_fraction", "weight_norm"):
            value = getattr(one, name)
            assert value == (
                None if value is None else pytest.approx(getattr(other, name), 1e-4)
            )


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.first = keras.layers.Dense(4, name="first")
        self.inner = keras.Sequential(
            [keras.layers.Dense(4, name="second")], name="inner"
        )

    def call(self, x):
        x = self.first(x)
        return keras.ops.relu(x + self.inner(x))


def test_a_model_with_a_call_of_its_own():
    model = Subclassed()
    x = random(8, 4)
    model(x)
    rows = signal_report(model, x).rows
    assert [row.path for row in rows] == ["first", "inner/second", "add", "relu"]
    assert all(row.predicted_alpha is not None for row in rows)
    assert rows[-1].dead_fraction is not None


def test_a_model_without_weights():
    model = keras.Sequential([keras.Input((4,)), keras.layers.ReLU()])
    (row,) = signal_report(model, random(8, 4)).rows
    assert row.gradient_norm is row.weight_norm is None
    assert row.error_norm == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": keras.layers.Dense(3)}, "must be a built Keras model"),
        ({"model": keras.Sequential()}, "must be a built Keras model"),
        ({"x": X[:0]}, "`x` must have at least one sample"),
        ({"x": iter([])}, "`x` must have at least one batch"),
        ({"y": Y[:3], "loss": LOSS}, "same number of samples"),
        ({"y": Y + 1, "loss": LOSS}, "must be classes from 0 to 2"),
        ({"y": Y, "loss": "no_such"}, "`loss` must be None, the name"),
        ({"y": Y}, "`loss` must be given for a model that is not compiled"),
    ],
)
def test_what_is_refused(change, message):
    arguments = {"model": network(), "x": X, **change}
    with pytest.raises(ValueError, match=message):
        signal_report(**arguments)


def test_names_may_begin_with_an_underscore():
    parts = [
        keras.layers.Dense(4, name="_hidden"),
        keras.layers.PReLU(name="_slopes"),
        ScaledResidualStack([keras.layers.Dense(4, "relu", name="_inner")], 2),
        keras.layers.Dense(3, name="_last"),
    ]
    model = keras.Sequential([keras.Input((4,)), *parts])
    x, y = random(6, 4), np.arange(6) % 3
    first, second = (signal_report(model, x, y, LOSS) for _ in range(2))
    assert [row.path for row in first.rows] == [row.path for row in second.rows]
    assert second.rows[0].path == "_hidden"
    for scheme in (GradInit(1, verbose=False), MetaInit(1, verbose=False), "lsuv"):
        assert initialize(model, scheme, data=(x, y), loss=LOSS).rows
