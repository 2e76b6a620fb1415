"""Equal seeds give equal weights, and nothing else is moved by them."""

import random

import keras
import numpy as np
import pytest
from keras import ops

from keras_convinit import initialize, schemes
from keras_convinit.layers import ScaledResidualStack, WeightNorm, WeightNormConv1D

layers = keras.layers
X = np.random.default_rng(0).standard_normal((8, 6, 4)).astype("float32")


class Positions(layers.Layer):
    """A table that is drawn, and nothing that says by what."""

    def build(self, shape):
        self.table = self.add_weight(
            shape=shape[1:], initializer="random_normal", name="table"
        )

    def call(self, x):
        return x + self.table


class FromPython(keras.initializers.Initializer):
    """Draws from Python's generator."""

    def __call__(self, shape, dtype=None):
        values = [random.gauss(0, 1) for _ in range(int(np.prod(shape)))]
        return ops.convert_to_tensor(np.reshape(values, shape), dtype=dtype)


class FromNumpy(keras.initializers.Initializer):
    """Draws from numpy's generator."""

    def __call__(self, shape, dtype=None):
        return ops.convert_to_tensor(np.random.normal(size=shape), dtype=dtype)


class Seeded(keras.initializers.Initializer):
    """As Keras has them; and with an object that no configuration holds."""

    def __init__(self, factor, seed=None):
        self.factor = factor
        self.seed = seed

    def __call__(self, shape, dtype=None):
        return self.factor() * keras.random.normal(shape, dtype=dtype, seed=self.seed)


class Hidden(keras.initializers.Initializer):
    """Has a seed, but out of reach."""

    def __init__(self, seed=None):
        self._generator = np.random.default_rng(seed)

    def __call__(self, shape, dtype=None):
        drawn = self._generator.standard_normal(shape)
        return ops.convert_to_tensor(drawn, dtype=dtype)

    def get_config(self):
        return {"seed": None}


class FromKeras(keras.initializers.Initializer):
    """Draws from Keras' own generator, or from one that it hides."""

    def __init__(self, hidden=False):
        self._generator = keras.random.SeedGenerator(5) if hidden else None

    def __call__(self, shape, dtype=None):
        return keras.random.normal(shape, dtype=dtype, seed=self._generator)


def apart(layer):
    """Calls that a Sequential cannot make."""
    return lambda h: layer(h, h)


LAYERS = {
    "own": ("auto", Positions),
    "additive attention": (
        "auto",
        lambda: lambda h: layers.AdditiveAttention()([h, h]),
    ),
    "spectral": ("auto", lambda: layers.SpectralNormalization(layers.Dense(4))),
    "wrapped bias": (
        "auto",
        lambda: WeightNorm(layers.Dense(4, bias_initializer="random_normal")),
    ),
    "stack": (
        "auto",
        lambda: ScaledResidualStack(
            layers.Dense(4, bias_initializer="random_normal"), 3
        ),
    ),
    "many blocks": (
        "auto",
        lambda: ScaledResidualStack(
            layers.Dense(4, bias_initializer="random_normal"), 60
        ),
    ),
    "gru": ("data_dependent", lambda: layers.GRU(4, return_sequences=True)),
    "lstm": ("data_dependent", lambda: layers.LSTM(4, return_sequences=True)),
    "bidirectional": (
        "data_dependent",
        lambda: layers.Bidirectional(layers.SimpleRNN(4, return_sequences=True)),
    ),
    "attention": ("data_dependent", lambda: apart(layers.MultiHeadAttention(2, 4))),
    "python": ("auto", lambda: layers.Dense(4, bias_initializer=FromPython())),
    "numpy": ("auto", lambda: layers.Dense(4, bias_initializer=FromNumpy())),
    "keras": ("auto", lambda: layers.Dense(4, bias_initializer=FromKeras())),
    "with data": (
        "data_dependent",
        lambda: layers.Dense(4, bias_initializer=FromKeras(hidden=True)),
    ),
    "several": (["auto", "lsuv"], Positions),
}


def network(layer):
    inputs = keras.Input((6, 4))
    x = layer(WeightNormConv1D(4, 3, padding="same")(inputs))
    return keras.Model(inputs, layers.Dense(3)(x))


@pytest.mark.filterwarnings("ignore:No unit variance")
@pytest.mark.parametrize("name", LAYERS)
def test_equal_seeds_give_equal_weights(name, values):
    scheme, make = LAYERS[name]
    model = network(make())
    before = random.getstate(), np.random.get_state()[1].tolist()
    initialize(model, scheme, X, seed=0)
    found = values(model)
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]
    random.random(), np.random.random()
    initialize(model, scheme, X, seed=0)
    for path, value in values(model).items():
        np.testing.assert_array_equal(value, found[path], path)
    initialize(model, scheme, X, seed=1)
    differ = [p for p, v in values(model).items() if (v != found[p]).any()]
    drawn = [
        path
        for path, value in found.items()
        if np.ptp(value) > 0 and "vector_v" not in path and "moving" not in path
    ]
    assert set(drawn) <= {*differ, *_constant(found)}


def _constant(found):
    """Biases that are zeros and ones by Keras' rule for a forget gate."""
    return [path for path, v in found.items() if set(np.unique(v)) <= {0.0, 1.0}]


def test_without_a_seed_only_one_number_is_taken(values):
    model = network(Positions())
    keras.utils.set_random_seed(3)
    initialize(model, "auto")
    after, found = random.random(), values(model)
    keras.utils.set_random_seed(3)
    random.getrandbits(64)
    assert random.random() == after
    keras.utils.set_random_seed(3)
    initialize(model, "auto")
    for path, value in values(model).items():
        np.testing.assert_array_equal(value, found[path], path)


def test_an_error_gives_the_generators_back():
    model = network(Positions())
    before = random.getstate(), np.random.get_state()[1].tolist()
    with pytest.raises(ValueError, match="must have residual blocks"):
        initialize(model, "fixup", seed=0)
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]


def kernels(initializer):
    """Those of two equal layers, for a seed, the same again and another."""
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(6, name="a"), layers.Dense(6, name="b")]
    )
    found = []
    for seed in (0, 0, 1):
        report = initialize(model, initializer, seed=seed)
        found.append([np.array(ops.convert_to_numpy(x.kernel)) for x in model.layers])
    return found, report.notes


@pytest.mark.parametrize(
    "name", ["own", "python", "numpy", "keras", "generator", "hidden generator"]
)
def test_initializers_of_others_follow_the_seed(name):
    initializer = {
        "own": Seeded(lambda: 2.0, seed=5),
        "python": FromPython(),
        "numpy": FromNumpy(),
        "generator": FromKeras(),
        "hidden generator": FromKeras(hidden=True),
        # One object is a generator: it goes on where it is, but not here.
        "keras": keras.initializers.RandomNormal(seed=keras.random.SeedGenerator(3)),
    }[name]
    (first, again, other), notes = kernels(initializer)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first[0] != first[1]).all()
    assert (first[0] != other[0]).all()
    assert not any("draws by itself" in note for note in notes)


def test_one_whose_seed_is_out_of_reach_is_told():
    _, notes = kernels(Hidden(5))
    assert [note for note in notes if note.startswith("Hidden draws by itself")]
    model = keras.Sequential([keras.Input((6,)), layers.Dense(6)])
    report = initialize(
        model, schemes.LSUV(initializer=Hidden(5)), X[:, 0].repeat(2, 1)[:, :6], seed=0
    )
    assert [n for n in report.notes if n.startswith("Hidden draws by itself")]
    assert not any("draws by itself" in n for n in kernels("he_normal")[1])


@pytest.mark.parametrize("groups", [1, 2])
def test_an_initializer_is_left_as_it_was(groups):
    initializer = keras.initializers.RandomNormal(seed=7)
    model = keras.Sequential(
        [keras.Input((6, 6, 4)), layers.Conv2D(4, 3, groups=groups)]
    )
    initialize(model, initializer, seed=0)
    assert initializer.seed == 7
    assert initializer.get_config()["seed"] == 7


def test_keras_own_generator_goes_on_where_it_was():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(6)])
    found = []
    for initializes in (False, True):
        keras.utils.set_random_seed(3)
        keras.random.uniform((2,))
        if initializes:
            initialize(model, FromKeras(), seed=0)
        found.append(ops.convert_to_numpy(keras.random.uniform((2,))))
    np.testing.assert_array_equal(*found)
