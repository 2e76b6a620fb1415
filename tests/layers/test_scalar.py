"""Numbers that learn more slowly, against PyTorch's parameter groups."""

import keras
import numpy as np
import pytest

from keras_convinit.layers import ScalarBias, ScalarMultiplier, fold

torch = pytest.importorskip("torch")


def value(layer):
    return float(keras.ops.convert_to_numpy(layer.value))


def data():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((32, 4)).astype("float32")
    return x, (x.sum(1, keepdims=True) > 0).astype("float32") + 0.5


def ours(momentum, steps, factor):
    inputs = keras.Input((4,))
    bias, multiplier = ScalarBias(0.2, factor), ScalarMultiplier(0.7, factor)
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = keras.Model(inputs, multiplier(dense(bias(inputs))))
    model.compile(keras.optimizers.SGD(0.1, momentum=momentum), "mse")
    seen = []
    for _ in range(steps):
        model.train_on_batch(*data())
        kernel = keras.ops.convert_to_numpy(dense.kernel)
        seen.append([value(bias), value(multiplier), *kernel[:, 0]])
    return np.array(seen)


def theirs(momentum, steps, factor):
    x, y = map(torch.tensor, data())
    with torch.enable_grad(), torch.device("cpu"):
        bias = torch.tensor(0.2, requires_grad=True)
        multiplier = torch.tensor(0.7, requires_grad=True)
        kernel = torch.ones(4, 1, requires_grad=True)
        groups = [
            {"params": [kernel]},
            {"params": [bias, multiplier], "lr": 0.1 * factor},
        ]
        optimizer = torch.optim.SGD(groups, lr=0.1, momentum=momentum)
        seen = []
        for _ in range(steps):
            optimizer.zero_grad()
            loss = torch.mean((multiplier * ((x + bias) @ kernel) - y) ** 2)
            loss.backward()
            optimizer.step()
            seen.append([bias.item(), multiplier.item(), *kernel[:, 0].tolist()])
    return np.array(seen)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_steps_are_those_of_parameter_groups(momentum):
    expected = theirs(momentum, 8, 0.1)
    np.testing.assert_allclose(ours(momentum, 8, 0.1), expected, rtol=2e-4, atol=2e-5)
    # The factor itself in place of its root would learn ten times more slowly still.
    wrong = ours(momentum, 8, 0.01)
    assert np.abs(wrong - expected).max() > 0.01


@pytest.mark.parametrize("cls", [ScalarBias, ScalarMultiplier])
def test_saving(cls, tmp_path):
    layer = cls(0.3, learning_rate_factor=0.5, name="scalar")
    model = keras.Sequential([keras.Input((3,)), layer])
    layer.parameter.assign(2.0)
    path = tmp_path / "model.keras"
    model.save(path)
    again = keras.saving.load_model(path)
    assert again.layers[0].get_config() == layer.get_config()
    assert value(again.layers[0]) == value(layer)
    assert keras.saving.get_registered_name(cls) == f"keras_convinit>{cls.__name__}"


def test_defaults_are_the_identity():
    x = np.ones((2, 3), "float32")
    for layer in (ScalarBias(), ScalarMultiplier()):
        found = keras.ops.convert_to_numpy(layer(x))
        np.testing.assert_allclose(found, x, rtol=1e-6)


def test_folding_makes_constants_of_them():
    model = keras.Sequential([keras.Input((3,)), ScalarBias(0.4), ScalarMultiplier(3)])
    x = np.ones((2, 3), "float32")
    plain = fold(model)
    assert {type(layer) for layer in plain.layers} == {keras.layers.Rescaling}
    found = keras.ops.convert_to_numpy(plain(x))
    np.testing.assert_allclose(found, 1.4 * 3 * x, rtol=1e-6)


def test_half_precision_keeps_its_dtype():
    layer = ScalarMultiplier(0.5, dtype="mixed_float16")
    assert keras.backend.standardize_dtype(layer(np.ones((2, 3))).dtype) == "float16"


def test_bad_factor():
    with pytest.raises(ValueError, match=r"`learning_rate_factor` must be .* Received"):
        ScalarBias(learning_rate_factor=0.0)
