"""Files written in one process and read in another."""

import pathlib
import re

import keras
import numpy as np
import pytest

from keras_convinit.initializers import DeltaOrthogonal, ZhangBackward, ZhangForward


@pytest.fixture
def model():
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            layers.Conv2D(8, 3, padding="same", kernel_initializer="zhang_backward"),
            layers.Conv2D(
                8,
                3,
                padding="same",
                kernel_initializer=ZhangBackward(
                    keras.layers.LeakyReLU(0.25), gamma=0.4, seed=3
                ),
            ),
            layers.DepthwiseConv2D(3, depthwise_initializer=ZhangForward("gelu")),
            layers.Conv2D(
                8,
                3,
                kernel_initializer=DeltaOrthogonal(seed=keras.random.SeedGenerator(1)),
            ),
            layers.Flatten(),
            layers.Dense(3, kernel_initializer=ZhangForward(None, scale=0.5)),
        ]
    )


INPUTS = "np.random.default_rng(0).standard_normal((2, 8, 8, 4)).astype('float32')"

LOAD = """
    import numpy as np
    import keras
    {line}
    model = keras.models.load_model({path!r})
    print("CONFIG", model.to_json())
    print("OUTPUT", model.predict({inputs}, verbose=0).tolist())
"""


def test_a_file_is_read_by_a_process_that_imports_the_package(
    model, tmp_path, fresh_process
):
    path = str(tmp_path / "model.keras")
    model.save(path)
    printed = fresh_process(
        LOAD.format(line="import keras_convinit", path=path, inputs=INPUTS)
    )
    config = re.search(r"^CONFIG (.*)$", printed, re.MULTILINE).group(1)
    assert config == model.to_json()
    assert "zhang_backward" not in config
    outputs = re.search(r"^OUTPUT (.*)$", printed, re.MULTILINE).group(1)
    inputs = np.random.default_rng(0).standard_normal((2, 8, 8, 4)).astype("float32")
    expected = model.predict(inputs, verbose=0)
    np.testing.assert_allclose(np.array(eval(outputs)), expected, rtol=1e-6, atol=1e-7)


def test_without_the_import_the_error_is_the_one_that_the_readme_quotes(
    model, tmp_path, fresh_process, root
):
    path = str(tmp_path / "model.keras")
    model.save(path)
    printed = fresh_process(
        LOAD.format(line="", path=path, inputs=INPUTS), succeeds=False
    )
    (quoted,) = re.findall(
        r"^(Could not interpret .*?)\.\.\.$", (root / "README.md").read_text(), re.M
    )
    assert quoted in printed


def test_models_copy(model):
    inputs = np.random.default_rng(0).standard_normal((2, 8, 8, 4)).astype("float32")
    expected = model.predict(inputs, verbose=0)
    twin = keras.models.model_from_json(model.to_json())
    assert twin.to_json() == model.to_json()
    twin.set_weights(model.get_weights())
    np.testing.assert_allclose(
        twin.predict(inputs, verbose=0), expected, rtol=1e-6, atol=1e-7
    )


def test_weights_alone_know_nothing_of_initializers(model, tmp_path):
    path = str(tmp_path / "model.weights.h5")
    model.save_weights(path)

    def without_initializers(layer):
        config = layer.get_config()
        ours = [key for key, value in config.items() if "keras_convinit" in str(value)]
        return type(layer).from_config({**config, **dict.fromkeys(ours, "zeros")})

    plain = keras.models.clone_model(model, clone_function=without_initializers)
    assert "keras_convinit" not in plain.to_json()
    plain.load_weights(path)
    for ours, theirs in zip(model.weights, plain.weights, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs)
        )


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="SavedModel is TensorFlow's format"
)
def test_export_to_a_saved_model(model, tmp_path, fresh_process):
    path = str(tmp_path / "exported")
    model.export(path, verbose=False)
    assert (pathlib.Path(path) / "saved_model.pb").exists()
    # Serving needs neither Keras nor this package.
    printed = fresh_process(
        f"""
        import sys
        import numpy as np
        import tensorflow as tf
        served = tf.saved_model.load({path!r})
        print("OUTPUT", served.serve({INPUTS}).numpy().tolist())
        assert "keras_convinit" not in sys.modules
        """
    )
    outputs = re.search(r"^OUTPUT (.*)$", printed, re.MULTILINE).group(1)
    inputs = np.random.default_rng(0).standard_normal((2, 8, 8, 4)).astype("float32")
    np.testing.assert_allclose(
        np.array(eval(outputs)),
        model.predict(inputs, verbose=0),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.keras is TensorFlow's"
)
def test_the_string_works_through_tf_keras(fresh_process):
    printed = fresh_process(
        """
        import tensorflow as tf
        import keras_convinit
        layer = tf.keras.layers.Conv2D(8, 3, kernel_initializer="zhang_backward")
        print("CLASS", type(layer.kernel_initializer).__name__)
        """
    )
    assert "CLASS ZhangBackward" in printed
