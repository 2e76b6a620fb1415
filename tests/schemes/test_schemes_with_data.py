"""What holds for every scheme that looks at data."""

import json

import keras
import numpy as np
import pytest

from keras_convinit import initialize
from keras_convinit.layers import ScaledResidualStack, WeightNormDense

layers = keras.layers

FIXED = keras.initializers.RandomNormal(seed=0)
SCHEMES = ["lsuv", "data_dependent"]


def network():
    inputs = keras.Input((5,))
    x = WeightNormDense(6, activation="relu", bias_initializer="ones", name="a")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Dropout(0.5)(x)
    x = ScaledResidualStack(WeightNormDense(6), 3, name="stack")(x)
    x = layers.Dense(3, kernel_initializer=FIXED, name="frozen")(x)
    x = layers.Dense(4, name="dense")(x)
    model = keras.Model(inputs, x)
    model.get_layer("frozen").trainable = False
    return model


def inputs(count=24):
    return np.random.default_rng(0).standard_normal((count, 5)).astype("float32")


def equal(first, second):
    assert first.keys() == second.keys()
    for path, value in first.items():
        np.testing.assert_array_equal(value, second[path], path)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return inputs()[8 * index : 8 * index + 8], np.zeros(8)


def with_nan():
    data = inputs()
    data[3, 2] = np.nan
    return data


BAD = {
    "none": (None, r"`data` must be given.*Received: data=None"),
    "empty": (inputs(0), "at least one sample"),
    "one": (inputs(1), "two samples"),
    "not finite": (with_nan(), r"finite\. Received: data with 1 values"),
    "shape": (inputs()[:, :4], r"shapes \[\(None, 5\)\].*\(24, 4\)"),
    "rank": (inputs()[..., None, None], "shapes"),
    "several": ([inputs(), inputs()], "shapes"),
    "no batches": (iter([]), "at least one batch"),
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", BAD)
def test_bad_data_are_refused_and_nothing_is_changed(scheme, name, values):
    data, message = BAD[name]
    model = network()
    before = values(model)
    with pytest.raises(ValueError, match=message):
        initialize(model, scheme, data=data, seed=0)
    equal(values(model), before)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_signal_that_explodes_is_refused(scheme, values):
    model = keras.Sequential(
        [
            keras.Input((5,)),
            WeightNormDense(6),
            layers.Activation(lambda x: keras.ops.exp(1e3 * x)),
            WeightNormDense(3),
        ]
    )
    before = values(model)
    with pytest.raises(ValueError, match="finite"):
        initialize(model, scheme, data=inputs(), seed=0)
    equal(values(model), before)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_dry_run_tells_all_and_changes_nothing(scheme, values):
    model = network()
    before = values(model)
    planned = initialize(model, scheme, data=inputs(), seed=0, dry_run=True)
    equal(values(model), before)
    done = initialize(model, scheme, data=inputs(), seed=0)
    assert planned.rows == done.rows
    assert [one.path for one in done.skipped] == ["frozen/kernel", "frozen/bias"]
    json.dumps(done.to_dict())
    lines = str(done).splitlines()
    assert max(map(len, lines)) <= 100
    assert "before" in lines[1]
    found = values(model)
    for name in ("frozen/kernel", "norm/moving_mean", "norm/moving_variance"):
        np.testing.assert_array_equal(found[name], before[name])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_seeds_and_forms_of_data(scheme, values):
    def weights(data, seed=3, **arguments):
        model = network()
        initialize(model, scheme, data=data, seed=seed, **arguments)
        return [v for v in values(model).values() if v.dtype.kind == "f"]

    def same(first, second):
        return all(map(np.array_equal, first, second))

    expected = weights(inputs())
    assert same(weights(inputs()), expected)
    assert not same(weights(inputs(), seed=4), expected)
    assert not same(weights(inputs(8)), expected)
    assert same(weights((inputs(), np.zeros(24))), expected)
    assert same(weights(keras.ops.convert_to_tensor(inputs())), expected)
    assert same(weights(Batches()), weights(inputs(8)))
    assert same(weights(Batches(), samples=20), weights(inputs(20)))
    assert same(weights(inputs(), samples=8), weights(inputs(8)))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_others_are_reset_or_kept(scheme, values):
    model = network()
    model.get_layer("norm").gamma.assign(np.full(6, 2.0))
    model.get_layer("dense").bias.assign(np.full(4, 2.0))
    initialize(model, scheme, data=inputs(), seed=0, others="keep")
    assert (values(model)["norm/gamma"] == 2).all()
    assert (values(model)["dense/bias"] == 2).all()
    initialize(model, scheme, data=inputs(), seed=0)
    assert (values(model)["norm/gamma"] == 1).all()
    assert (values(model)["dense/bias"] == 0).all()


def test_a_data_set_of_tensorflow():
    tf = pytest.importorskip("tensorflow")
    batches = tf.data.Dataset.from_tensor_slices((inputs(), np.zeros(24))).batch(8)
    first = initialize(network(), "lsuv", data=batches, seed=0, samples=16)
    second = initialize(network(), "lsuv", data=inputs(16), seed=0)
    pairs = zip(first.rows, second.rows, strict=True)
    assert all(a.measured_std == b.measured_std for a, b in pairs)


def test_inputs_by_name():
    one, two = keras.Input((3,), name="one"), keras.Input((2,), name="two")
    x = layers.Concatenate()([layers.Dense(4)(two), layers.Dense(4)(one)])
    model = keras.Model([two, one], layers.Dense(3)(x))
    data = {"one": inputs()[:, :3], "two": inputs()[:, 3:]}
    report = initialize(model, "lsuv", data=data, seed=0)
    assert sum(row.num_rescalings is not None for row in report.rows) == 3


def test_schemes_run_in_order(values):
    model = network()
    report = initialize(model, ["orthogonal", "lsuv"], data=inputs(), seed=0)
    assert report.scheme.endswith(" + LSUV")
    paths = [row.path for row in report.rows]
    assert len(paths) == len(set(paths))
    # Of the stack there are rows by block, and none by the scheme before.
    assert all(
        "[" in path for path in paths if path.startswith("stack") and "bias" not in path
    )
