"""The first example of the README does what the README's own table recommends."""

import re

import keras
import numpy as np
import pytest
from keras import ops


@pytest.fixture
def model(root):
    (code,) = re.findall(
        r"^## Ten lines\n\n```python\n(.*?)```",
        (root / "README.md").read_text(),
        re.M | re.S,
    )
    names = {}
    exec(code, names)  # As people do who paste it.
    return names["model"]


def test_each_kernel_has_the_variance_that_keeps_the_signal(model):
    kernels = [v for v in model.trainable_variables if v.name == "kernel"]
    assert len(kernels) == 18
    for number, kernel in enumerate(kernels):
        values = np.array(ops.convert_to_numpy(kernel))
        fan_in = values[..., 0].size
        # Images in front of the first one, means of what ReLU leaves of the last.
        scale = 1 if number in (0, 17) else 2
        found = values.var() * fan_in
        # The variance of a sample of normal numbers; five deviations.
        assert abs(found / scale - 1) < 5 * np.sqrt(2 / values.size)


def test_it_trains(model):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 32, 32, 3)).astype("float32")
    before = np.array(ops.convert_to_numpy(model(x)))
    # As large as the images' own values, give or take what the mean over positions
    # takes: not one in a million, nor a million.
    assert 1e-2 < before.std() < 10
    losses = model.fit(x, np.arange(4), epochs=2, batch_size=4, verbose=0)
    assert np.isfinite(losses.history["loss"]).all()
    after = np.array(ops.convert_to_numpy(model(x)))
    assert np.abs(after - before).max() > 1e-4


def test_the_default_of_keras_would_not(model):
    x = np.random.default_rng(0).standard_normal((4, 32, 32, 3)).astype("float32")
    deviation = np.array(ops.convert_to_numpy(model(x))).std()
    config = model.get_config()
    for layer in config["layers"][1:]:
        layer["config"].pop("kernel_initializer", None)
    default = keras.Sequential.from_config(config)
    lost = np.array(ops.convert_to_numpy(default(x))).std()
    assert lost < deviation / 50
