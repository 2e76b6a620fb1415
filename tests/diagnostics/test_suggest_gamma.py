"""The gamma that is proposed brings the first step to the size that was asked for."""

import keras
import numpy as np
import pytest

from keras_convinit import initialize, suggest_gamma
from keras_convinit.analysis import tracing
from keras_convinit.layers import ScaledResidualStack

layers = keras.layers
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
RATE = 0.1


@pytest.fixture(scope="module")
def data():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((32, 6, 6, 3)).astype("float32")
    return x, generator.integers(0, 5, 32)


def network(normalized=True):
    inputs = x = keras.Input((6, 6, 3))
    for index in range(3):
        x = layers.Conv2D(8, 3, padding="same", name=f"conv_{index}")(x)
        if normalized:
            x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(5, name="classifier")(x))


def changes(model, x, y):
    """What a step of gradient descent does to the kernels, by doing it."""
    before = kernels(model)
    model.compile(keras.optimizers.SGD(RATE), LOSS, jit_compile=False)
    model.train_on_batch(x, y)
    norm = np.linalg.norm
    return [
        norm(new - old) / norm(old)
        for old, new in zip(before, kernels(model), strict=True)
    ]


def kernels(model):
    return [
        np.array(keras.ops.convert_to_numpy(layer.kernel))
        for layer in model.layers
        if layer.name.startswith("conv_")
    ]


def test_the_changes_are_those_of_a_step(data):
    model = network()
    initialize(model, gamma=0.5, seed=1)
    suggestion = suggest_gamma(model, *data, RATE, LOSS)
    assert [row.path for row in suggestion.rows] == ["conv_0", "conv_1", "conv_2"]
    found = [row.change for row in suggestion.rows]
    np.testing.assert_allclose(found, changes(model, *data), rtol=1e-3)
    assert suggestion.median == pytest.approx(np.median(found))
    for row in suggestion.rows:
        # 2 / (0.5 * fan_out) was drawn, with 216 weights and more.
        assert row.gamma == pytest.approx(0.5, rel=5 * np.sqrt(2 / 216))


@pytest.mark.parametrize("gamma", [0.1, 1.0, 5.0])
def test_it_reaches_the_target_from_anywhere(gamma, data):
    model = network()
    initialize(model, gamma=gamma, seed=1)
    suggestion = suggest_gamma(model, *data, RATE, LOSS, target=0.02)
    assert suggestion.target == 0.02
    initialize(model, gamma=suggestion.gamma, seed=1)
    assert np.median(changes(model, *data)) == pytest.approx(0.02, rel=0.1)


def test_it_is_inversely_proportional_to_the_learning_rate(data):
    model = network()
    initialize(model, seed=1)
    fast, slow = (suggest_gamma(model, *data, rate, LOSS).gamma for rate in (1.0, 0.01))
    assert slow == pytest.approx(100 * fast)


def test_the_numbers_are_shown(data):
    text = str(suggest_gamma(network(), *data, RATE, LOSS))
    assert "conv_2" in text
    assert "learning rate 0.1: median change" in text


class Own(keras.Model):
    """A model with a call of its own."""

    def __init__(self, parts):
        super().__init__(name="own")
        self.parts = parts

    def call(self, x):
        for part in self.parts:
            x = part(x)
        return x


@pytest.mark.parametrize("kind", [keras.Sequential, Own])
def test_a_stack_has_the_numbers_of_its_blocks(kind):
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((16, 6)), generator.integers(0, 5, 16)
    branch = [
        layers.Dense(6, use_bias=False, name="dense"),
        layers.LayerNormalization(),
        layers.ReLU(),
    ]
    first, last = layers.Dense(6, "tanh"), layers.Dense(5)
    stack = ScaledResidualStack(branch, 3, name="stack")
    stacked = kind([first, stack, last])
    stacked(x)
    written_out = keras.Sequential([first, *stack.unrolled(), last])
    written_out(x)
    one, other = (
        suggest_gamma(model, x, y, RATE, LOSS) for model in (stacked, written_out)
    )
    paths = [row.path for row in one.rows]
    name = stack.branch.name
    assert paths == [f"stack/block_{n}/{name}/dense" for n in range(3)]
    assert one.gamma == pytest.approx(other.gamma, rel=1e-4)
    assert len({row.gamma for row in one.rows}) == 3
    for row, same in zip(one.rows, other.rows, strict=True):
        assert row.gamma == pytest.approx(same.gamma, rel=1e-5)
        assert row.change == pytest.approx(same.change, rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": 0}, "`learning_rate` must be"),
        ({"target": -1.0}, "`target` must be"),
        ({"y": None}, "`y` must be labels"),
        ({"model": network(normalized=False)}, "a normalization right behind them"),
    ],
)
def test_bad_arguments(arguments, message, data):
    x, y = data
    given = {"model": network(), "x": x, "y": y, "learning_rate": RATE, "loss": LOSS}
    with pytest.raises(ValueError, match=message):
        suggest_gamma(**{**given, **arguments})


@pytest.mark.parametrize("kind", [keras.Sequential, Own])
def test_a_model_is_traced_once(kind, monkeypatch):
    traced = []
    record = tracing._recorded

    def counted(*args):
        traced.append(args)
        return record(*args)

    monkeypatch.setattr(tracing, "_recorded", counted)
    branch = [layers.Dense(6, name="dense"), layers.LayerNormalization()]
    model = kind([layers.Dense(6), ScaledResidualStack(branch, 2), layers.Dense(5)])
    x, y = np.ones((4, 6)), np.arange(4)
    model(x)
    assert len(suggest_gamma(model, x, y, RATE, LOSS).rows) == 2
    assert len(traced) == 1
