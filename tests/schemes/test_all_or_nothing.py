"""A model is initialized as a whole, or stays as it is."""

import itertools
import warnings

import keras
import numpy as np
import pytest

from keras_convinit import initialize, schemes
from keras_convinit.layers import ScaledResidual, WeightNormDense
from keras_convinit.schemes import ValueOverlay

layers = keras.layers
DATA = np.random.default_rng(0).standard_normal((32, 6)).astype("float32")
QUICK = {"iterations": 2, "batch_size": 8, "verbose": False}
SEARCH = {"data": (DATA, np.zeros((32, 3), "float32")), "loss": "mean_squared_error"}


def network():
    branch = [WeightNormDense(6, activation="relu"), WeightNormDense(6)]
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(6, activation="relu", name="first"),
            ScaledResidual(branch, 2),
            layers.BatchNormalization(),
            layers.Dense(3, name="last"),
        ]
    )


def moved(model):
    for variable in model.weights:
        variable.assign(variable + 0.5)
    return model


def read(model):
    return [np.array(keras.ops.convert_to_numpy(v)) for v in model.variables]


def unchanged(model, before):
    return all(map(np.array_equal, read(model), before))


class Fails(schemes.Scheme):
    """Begins, and then cannot go on."""

    def __init__(self, error):
        self.error = error

    def apply(self, request):
        variable = request.model.variables[0]
        request.overlay.put(variable, request.overlay.as_float(variable) + 1)
        raise self.error


FIRST = {
    "auto": ("auto", {}),
    "he_normal": ("he_normal", {}),
    "arpit": ("arpit", {}),
    "lsuv": ("lsuv", {"data": DATA}),
    "data_dependent": ("data_dependent", {"data": DATA}),
    "gradinit": (schemes.GradInit(**QUICK), SEARCH),
    "metainit": (schemes.MetaInit(steps=2, batch_size=8, verbose=False), SEARCH),
}


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
@pytest.mark.parametrize("name", FIRST)
def test_a_list_that_fails_in_its_second_scheme(name, error):
    scheme, arguments = FIRST[name]
    model = moved(network())
    before = read(model)
    with pytest.raises(type(error)):
        initialize(model, [scheme, Fails(error)], seed=0, **arguments)
    assert unchanged(model, before)
    initialize(model, scheme, seed=0, **arguments)
    assert not unchanged(model, before)


class Interrupted(keras.initializers.Initializer):
    """Somebody presses a key while it draws."""

    def __call__(self, shape, dtype=None):
        raise KeyboardInterrupt


@pytest.mark.parametrize("name", FIRST)
def test_an_interruption_while_values_are_drawn(name):
    scheme, arguments = FIRST[name]
    model = moved(network())
    before = read(model)
    # The last one that is asked for a value.
    model.layers[-1].bias_initializer = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        initialize(model, scheme, seed=0, **arguments)
    assert unchanged(model, before)


@pytest.mark.parametrize("error", [ValueError("full"), KeyboardInterrupt()])
def test_an_error_while_values_are_assigned(error, monkeypatch):
    model = moved(network())
    before = read(model)
    variable = type(model.variables[0])
    assign, calls = variable.assign, itertools.count()

    def fails(self, value):
        if next(calls) == 4:
            raise error
        return assign(self, value)

    monkeypatch.setattr(variable, "assign", fails)
    with pytest.raises(type(error)):
        initialize(model, "auto", seed=0)
    assert next(calls) > 5
    monkeypatch.undo()
    assert unchanged(model, before)


def test_a_warning_that_is_an_error_changes_nothing():
    model = moved(keras.Sequential([keras.Input((6,)), layers.Dense(3)]))
    before = read(model)
    constant = np.zeros((32, 6), "float32")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "No unit variance")
        with pytest.raises(UserWarning, match="No unit variance"):
            initialize(model, "lsuv", constant, seed=0)
    assert unchanged(model, before)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        initialize(model, "lsuv", constant, seed=0)
    places = {str(one.message)[:16]: one.filename for one in caught}
    assert places["No unit variance"] == __file__


@pytest.mark.parametrize("name", FIRST)
def test_a_dry_run_says_what_would_be(name):
    scheme, arguments = FIRST[name]
    model = moved(network())
    before = read(model)
    planned = initialize(model, scheme, seed=0, dry_run=True, **arguments)
    assert unchanged(model, before)
    done = initialize(model, scheme, seed=0, **arguments)
    assert planned.dry_run
    assert not done.dry_run
    assert planned.rows == done.rows


def test_a_list_goes_on_with_what_was_put_also_in_a_dry_run():
    def std(model):
        x = keras.ops.convert_to_tensor(DATA)
        return float(np.std(keras.ops.convert_to_numpy(model.layers[0](x))))

    model = keras.Sequential([keras.Input((6,)), layers.Dense(200), layers.Dense(3)])
    scaled = schemes.LSUV(initializer=None)
    both = [keras.initializers.RandomNormal(stddev=0.01), scaled]
    planned = initialize(model, both, DATA, seed=0, dry_run=True)
    (row, *_) = planned.rows
    # What was drawn is that small, what the model has is not.
    assert row.output_std_before == pytest.approx(0.01 * 6**0.5, rel=0.2)
    assert initialize(model, both, DATA, seed=0).rows == planned.rows
    assert std(model) == pytest.approx(1, abs=0.011)


def test_values_are_read_in_the_order_in_which_they_were_put():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(2, name="d")])
    kernel = model.layers[0].kernel
    kernel.assign(np.ones((2, 2)))
    overlay = ValueOverlay(model)
    overlay.put(kernel, np.full((2, 2), 2.0))
    with overlay.in_scope():
        outputs = model(np.ones((1, 2), "float32"))
        overlay.lend(kernel, keras.ops.zeros((2, 2)))
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(kernel), 0)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(outputs), 4)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(kernel), 1)
    with overlay.assigned():
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(kernel), 2)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(kernel), 1)
    overlay.commit()
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(kernel), 2)
