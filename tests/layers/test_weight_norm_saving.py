"""Weight-normalized layers in files, copies and other processes."""

import copy
import pickle

import keras
import numpy as np
import pytest

from keras_convinit import layers
from keras_convinit.initializers import WeightNormGain
from keras_convinit.optimizers import CoupledSGD


def make_model():
    """Every class, in a row, with values out of numpy."""
    relu = {"activation": "relu", "kernel_initializer": "zeros"}
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.WeightNormConv2D(4, 3, groups=2, use_bias=False, **relu),
            layers.WeightNormDepthwiseConv2D(
                3, depth_multiplier=2, depthwise_initializer="zeros"
            ),
            layers.WeightNormConv2DTranspose(4, 3, padding="same", **relu),
            layers.WeightNorm(keras.layers.Conv2D(4, 1, name="inner"), "ones"),
            keras.layers.Reshape((2, 2, 2, 2)),
            layers.WeightNormConv3D(4, 2, padding="same", **relu),
            keras.layers.Reshape((8, 4)),
            layers.WeightNormConv1D(4, 3, padding="causal", **relu),
            keras.layers.Flatten(),
            layers.WeightNormDense(
                3, gain_initializer=WeightNormGain(1.0), kernel_initializer="zeros"
            ),
        ]
    )
    generator = np.random.default_rng(1)
    model.set_weights(
        [generator.standard_normal(value.shape) for value in model.get_weights()]
    )
    model.compile(CoupledSGD(0.05, momentum=0.9, weight_decay=1e-3), "mse")
    return model


DATA = """
generator = np.random.default_rng(0)
x = generator.standard_normal((8, 6, 6, 2)).astype("float32")
y = generator.standard_normal((8, 3)).astype("float32")
"""

GO_ON = """
outputs = model.predict(x, verbose=0)
model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
weights = model.get_weights()
"""

LOAD = f"""
import keras
import keras_convinit
import numpy as np
folder = {{folder!r}}
{DATA}
with open(folder + "/model.json") as file:
    twin = keras.models.model_from_json(file.read())
twin.load_weights(folder + "/model.weights.h5")
model = keras.models.load_model(folder + "/model.keras")
{GO_ON}
np.savez(folder + "/found.npz", outputs, *twin.get_weights(), *weights)
"""


@pytest.fixture(scope="module")
def trained():
    model, names = make_model(), {}
    exec(DATA, {"np": np}, names)
    model.fit(names["x"], names["y"], batch_size=4, shuffle=False, verbose=0)
    return model, names["x"], names["y"]


def test_a_fresh_process_computes_and_trains_on_the_same(
    trained, tmp_path, fresh_process
):
    model, x, y = trained
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    (tmp_path / "model.json").write_text(model.to_json())
    start = model.get_weights()
    names = {"model": model, "x": x, "y": y}
    exec(GO_ON, names)

    fresh_process(LOAD.format(folder=str(tmp_path)))
    found = np.load(tmp_path / "found.npz")
    outputs, *weights = (found[name] for name in found.files)
    loaded, weights = weights[: len(start)], weights[len(start) :]
    np.testing.assert_allclose(outputs, names["outputs"], rtol=1e-5, atol=1e-6)
    for value, expected in zip(loaded, start, strict=True):
        np.testing.assert_array_equal(value, expected)
    for old, new, expected in zip(start, weights, names["weights"], strict=True):
        np.testing.assert_allclose(new, expected, rtol=1e-4, atol=1e-5)
        assert np.abs(old - expected).max() > 1e-4


def test_without_the_package_a_file_is_refused(trained, tmp_path, fresh_process):
    path = str(tmp_path / "model.keras")
    trained[0].save(path)
    printed = fresh_process(
        f"import keras; keras.models.load_model({path!r})", succeeds=False
    )
    assert "keras_convinit>WeightNormConv2D" in printed


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["deepcopy", "pickle"],
)
def test_copies(trained, duplicate, snapshot):
    model, _, _ = trained
    twin = duplicate(model)
    for old, new in zip(snapshot(model), snapshot(twin), strict=True):
        np.testing.assert_array_equal(old, new)
    assert twin.layers[0] is not model.layers[0]
    assert twin.to_json() == model.to_json()
    layer = duplicate(model.layers[0])
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(layer.kernel),
        keras.ops.convert_to_numpy(model.layers[0].kernel),
    )


def test_a_clone_keeps_the_rules(trained):
    model, _, _ = trained
    clone = keras.models.clone_model(model)
    for layer, twin in zip(model.layers, clone.layers, strict=True):
        assert type(layer) is type(twin)
        assert layer.get_config() == twin.get_config()
        names = [variable.name for variable in layer.variables]
        assert names == [variable.name for variable in twin.variables]
    gain = keras.ops.convert_to_numpy(clone.layers[0].weight_norm_gain)
    np.testing.assert_allclose(gain, (2 * 2 / 4) ** 0.5, rtol=1e-6)
