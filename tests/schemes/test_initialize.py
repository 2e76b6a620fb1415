"""What holds for every scheme."""

import json
import warnings

import keras
import numpy as np
import pytest

from keras_convinit import initialize, schemes
from keras_convinit.layers import ScaledResidualStack, WeightNormDense

layers = keras.layers

SCHEMES = ["auto", "zhang_forward", "zhang_backward", "he_normal", "orthogonal"]


def network(name="network"):
    inner = keras.Sequential([layers.Dense(6, activation="relu")], name="inner")
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(7, 4, name="embedding")(inputs)
    x = layers.Conv1D(6, 3, padding="same", name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU()(x)
    x = inner(x)
    x = ScaledResidualStack(layers.Dense(6, use_bias=True), 3, name="stack")(x)
    x = layers.LSTM(4, name="lstm")(x)
    return keras.Model(inputs, layers.Dense(3, name="dense")(x), name=name)


def moved(model):
    """With other values than it began with."""
    for variable in model.weights:
        if keras.backend.is_float_dtype(variable.dtype):
            variable.assign(variable + 0.5)
    return model


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_same_seed_gives_the_same_weights(scheme, values):
    first, second, third = network(), moved(network()), network()
    report = initialize(first, scheme, seed=3)
    assert initialize(second, scheme, seed=3).rows[0].rule == report.rows[0].rule
    initialize(third, scheme, seed=4)
    for a, b in zip(values(first).values(), values(second).values(), strict=True):
        np.testing.assert_array_equal(a, b)
    for layer in ("conv", "dense"):
        a, b = (
            keras.ops.convert_to_numpy(model.get_layer(layer).kernel)
            for model in (first, third)
        )
        assert not np.allclose(a, b)


def test_without_a_seed_the_global_one_decides(values):
    model = network()
    kernels = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        initialize(model, "zhang_forward")
        kernels.append(values(model)["conv/kernel"])
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.allclose(kernels[0], kernels[2])


@pytest.mark.parametrize("initializer", ["he_normal", "zhang_backward", "object"])
def test_equal_kernels_draw_differently(initializer, values):
    if initializer == "object":
        # Even where one object has a seed of its own.
        initializer = keras.initializers.RandomNormal(seed=1)
    model = keras.Sequential(
        [keras.Input((8,)), *(layers.Dense(8, name=f"d{i}") for i in range(3))]
    )
    initialize(model, initializer, seed=0)
    first, second, third = (
        value for path, value in values(model).items() if path.endswith("kernel")
    )
    assert not np.allclose(first, second)
    assert not np.allclose(second, third)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_row_for_every_variable(scheme):
    model = network()
    report = initialize(model, scheme, seed=3)
    assert sorted(row.path for row in report.rows) == sorted(
        variable.path for variable in model.weights
    )
    assert not report.skipped


def test_other_variables_start_again(values):
    model = network()
    fresh = values(model)
    initialize(moved(model), "auto", seed=3)
    found = values(model)
    for path, value in found.items():
        if "embeddings" in path:
            # Drawn anew, between the same limits.
            assert np.abs(value).max() <= 0.05
        elif not path.endswith("kernel") and "seed" not in path:
            np.testing.assert_array_equal(value, fresh[path], path)
    # A one in the bias of the forget gate, as Keras has it.
    assert found["lstm/lstm_cell/bias"][4:8].tolist() == [1, 1, 1, 1]


def test_other_variables_are_kept_when_asked(values):
    model = moved(network())
    before = values(model)
    report = initialize(model, "auto", seed=3, others="keep")
    after = values(model)
    set_ = {row.path for row in report.rows}
    for path, value in before.items():
        assert (path in set_) != np.array_equal(after[path], value)
    assert set_ == {path for path in before if path.endswith("kernel")}


@pytest.mark.parametrize("scheme", ["auto", "he_normal"])
def test_a_dry_run_changes_nothing(scheme, values):
    model = moved(network())
    before = values(model)
    planned = initialize(model, scheme, seed=3, dry_run=True)
    assert planned.dry_run
    assert "nothing was changed" in str(planned)
    for path, value in values(model).items():
        np.testing.assert_array_equal(value, before[path])
    done = initialize(model, scheme, seed=3)
    assert [(r.path, r.rule) for r in done.rows] == [
        (r.path, r.rule) for r in planned.rows
    ]


def test_frozen_layers_are_left_alone(values):
    model = network()
    model.get_layer("conv").trainable = False
    model.get_layer("norm").trainable = False
    before = values(moved(model))
    report = initialize(model, "auto", seed=3)
    left = {one.path: one.reason for one in report.skipped}
    assert left["conv/kernel"] == "its layer is frozen"
    assert left["norm/gamma"] == "its layer is frozen"
    after = values(model)
    for path in left:
        np.testing.assert_array_equal(after[path], before[path])
    assert not np.array_equal(after["dense/kernel"], before["dense/kernel"])
    assert "Left alone:" in str(report)


def test_what_was_adapted_to_data_is_kept(values):
    scaling = layers.Normalization(name="scaling")
    scaling.adapt(np.arange(12.0).reshape(4, 3))
    model = keras.Sequential([keras.Input((3,)), scaling, layers.Dense(2)])
    before = values(model)
    report = initialize(model, "auto", seed=3)
    assert {one.reason for one in report.skipped} == {"adapted to data"}
    np.testing.assert_array_equal(values(model)["scaling/mean"], before["scaling/mean"])


def test_several_schemes_run_in_order(close_to, deviations):
    inputs = keras.Input((30,))
    x = layers.Dense(200, activation="relu", name="first")(inputs)
    model = keras.Model(inputs, WeightNormDense(40, name="last")(x))
    backward = schemes.ZhangBackwardScheme(gamma=0.5, classifier="same")
    report = initialize(model, ["he_normal", backward], seed=3)
    assert report.scheme == "HeNormal + ZhangBackward"
    assert len(report.rows) == len(model.weights)
    assert close_to(deviations(model)["first/kernel"], np.sqrt(2 / (0.5 * 200)))


def test_the_report_is_plain_data_and_a_narrow_table():
    model = network()
    report = initialize(model, "auto", seed=3)
    data = json.loads(json.dumps(report.to_dict()))
    assert len(data["rows"]) == len(report.rows)
    lines = str(report).splitlines()
    assert max(map(len, lines)) <= 100
    # Three more kernels are those of the stack, the LSTM's input and its own.
    assert sum("eq." in line for line in lines) == 6
    # The ten are counted, and no rows of the table: a title, a header, 6 rows.
    assert len(lines) == 2 + 6 + 1
    assert "10 more variables" in lines[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scheme": "zhang"}, r"`scheme` must be .*zhang_forward.* Received: scheme="),
        ({"scheme": 3}, r"`scheme` must be the name of a scheme"),
        ({"scheme": []}, r"`scheme` must not be empty"),
        ({"scheme": "auto", "gama": 1.0}, r"arguments that it takes.*gama"),
        ({"scheme": ["auto"], "gamma": 1.0}, r"must be given to objects"),
        ({"scheme": schemes.Auto(), "gamma": 1.0}, r"has its arguments already"),
        ({"scheme": "zhang_backward", "gamma": -1.0}, r"`gamma` must be"),
        ({"seed": 1.5}, r"`seed` must be an integer or None"),
        ({"others": "all"}, r"`others` must be one of reset, keep"),
    ],
)
def test_bad_arguments_change_nothing(arguments, message, values):
    model = network()
    before = values(model)
    with pytest.raises(ValueError, match=message):
        initialize(model, **arguments)
    for path, value in values(model).items():
        np.testing.assert_array_equal(value, before[path])


def test_bad_models():
    with pytest.raises(ValueError, match="`model` must be a Keras model"):
        initialize(layers.Dense(3))
    with pytest.raises(ValueError, match="built"):
        initialize(keras.Sequential([layers.Dense(3)]))
    model = keras.Sequential([keras.Input((3,)), layers.ReLU()])
    with pytest.raises(ValueError, match="`model` must have kernels"):
        initialize(model)


def test_calls_that_ask_for_different_things_are_reported():
    inputs = keras.Input((4,))
    shared = layers.Dense(4, name="shared")
    x = layers.ReLU()(shared(inputs))
    outputs = layers.Activation("tanh")(shared(x))
    model = keras.Model(inputs, layers.Dense(2)(outputs))
    report = initialize(model, "zhang_forward", seed=1)
    assert any("shared" in note and "preceding" in note for note in report.notes)
    assert "Notes:" in str(report)


class Scale(layers.Layer):
    """No kernel, and nothing that tells what it does."""

    def build(self, shape):
        self.factor = self.add_weight(name="factor", initializer="ones", shape=(4,))

    def call(self, inputs):
        return inputs * self.factor


class Matrix(layers.Layer):
    """A kernel that nobody has heard of."""

    def build(self, shape):
        self.weight = self.add_weight(name="weight", shape=(4, 4))

    def call(self, inputs):
        return keras.ops.matmul(inputs, self.weight)


def test_layers_that_are_not_known_are_named():
    inputs = keras.Input((4,))
    x = layers.Dense(4)(inputs)
    x = Matrix(name="matrix")(Scale(name="one")(Scale(name="two")(x)))
    model = keras.Model(inputs, layers.Dense(2)(x))
    report = initialize(model, "auto", seed=1)
    notes = "\n".join(report.notes)
    assert "two and 1 more: Scale has no kernel" in notes
    assert "kernels_of.register" in notes
    rules = {row.path: row.rule for row in report.rows}
    assert rules["matrix/weight"] == "as its unknown layer starts"


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.first = layers.Dense(8, activation="relu", name="first")
        self.second = layers.Dense(3, name="second")

    def call(self, x):
        return self.second(self.first(x))


def test_a_subclassed_model_needs_data():
    model = Subclassed()
    with pytest.raises(ValueError, match="`data`"):
        initialize(model, "auto")
    x = np.ones((2, 5), "float32")
    for data in (x, (x, np.ones(2))):
        report = initialize(model, "zhang_forward", data, seed=1)
        rules = [row.rule for row in report.rows if row.fan_in]
        assert rules == ["eq. 21 (first layer)", "eq. 21 (classifier)"]


class Stubborn(schemes.Auto):
    """Has no rule for the last kernel."""

    def rule(self, site, graph):
        if site.classifier:
            raise ValueError("no rule")
        return super().rule(site, graph)


def test_a_scheme_that_fails_changes_nothing(values):
    model = network()
    before = values(model)
    with pytest.raises(ValueError, match="no rule"):
        initialize(model, Stubborn(), seed=1)
    for path, value in values(model).items():
        np.testing.assert_array_equal(value, before[path])


def trained(steps):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Dense(2)])
    model.compile("sgd", "mean_squared_error")
    x, y = np.ones((2, 4), "float32"), np.ones((2, 2), "float32")
    if steps:
        model.fit(x, y, epochs=steps, verbose=0)
    return model


@pytest.mark.parametrize("scheme", ["auto", "lsuv"])
def test_a_model_that_was_trained_is_initialized_with_a_warning(scheme):
    model = trained(3)
    data = np.random.default_rng(0).standard_normal((16, 4)).astype("float32")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        report = initialize(model, scheme, data, seed=0)
    (warning,) = (one for one in caught if "3 steps" in str(one.message))
    assert warning.filename == __file__
    for said in ("4 variables", "dense", "Freeze", "`model.compile`"):
        assert said in str(warning.message)
    assert "trained for 3 steps" in report.notes[0]


def test_in_ordinary_use_there_is_no_warning(recwarn):
    never = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    frozen = trained(2)
    frozen.trainable = False
    anew = trained(2)
    anew.compile("sgd", "mean_squared_error")
    recwarn.clear()
    for model in (never, trained(0), anew, frozen):
        for _ in range(2):
            report = initialize(model, "auto", seed=0)
        assert not any("trained for" in note for note in report.notes)
    planned = initialize(trained(1), "auto", seed=0, dry_run=True)
    assert "trained for 1 steps" in planned.notes[0]
    assert not [one for one in recwarn if "initialize" in str(one.message)]


def test_notes_say_values():
    shared = layers.Dense(4, name="shared")
    inputs = keras.Input((4,))
    x = layers.Dense(4)(inputs)
    x = x + shared(layers.ReLU()(shared(x)))
    model = keras.Model(inputs, layers.Dense(2)(x))
    notes = initialize(model, "auto", seed=0).notes
    (note,) = (one for one in notes if "last_in_branch" in one)
    assert "last_in_branch may be False or True" in note


class Encoder(layers.Layer):
    """A kernel that is not known, in a class of which there are many."""

    def build(self, shape):
        self.matrix = self.add_weight(name="matrix", shape=(4, 4))

    def call(self, x):
        return keras.ops.matmul(x, self.matrix)


def test_layers_of_one_class_that_are_not_known_have_one_note():
    encoders = [Encoder(name=f"encoder_{i}") for i in range(12)]
    model = keras.Sequential([keras.Input((4,)), *encoders, layers.Dense(2)])
    notes = initialize(model, "auto", seed=0).notes
    (note,) = (one for one in notes if "registered" in one)
    assert note.startswith("encoder_0 and 11 more: ")
    assert "encoder_1" not in note
    assert "Encoder" in note


def test_the_help_names_every_scheme():
    for name in schemes.SCHEMES:
        assert f'"{name}"' in initialize.__doc__


def test_rules_are_shown_whole():
    x = inputs = keras.Input((8,))
    for _ in range(2):
        x = layers.Dense(8)(x)
        x = 0.123 * keras.ops.tanh(keras.ops.softplus(0.456 * x))
    report = initialize(keras.Model(inputs, layers.Dense(8)(x)), "zhang_forward")
    (long, *_) = (row.rule for row in report.rows if len(row.rule) > 40)
    assert long in str(report)
    header, *lines = str(report).splitlines()[1:4]
    # All columns stay below their headings.
    assert {len(line) for line in lines} == {len(header)}
