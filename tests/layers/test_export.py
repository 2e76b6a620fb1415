"""Models with our layers leave Keras, folded or as they are."""

import keras
import numpy as np
import pytest

from keras_convinit.layers import (
    ScaledResidual,
    ScaledResidualStack,
    WeightNormConv2D,
    fold,
)

BACKEND = keras.backend.backend()
SHAPE = (8, 8, 3)


def branch():
    return [
        WeightNormConv2D(4, 3, padding="same", activation="relu"),
        keras.layers.Conv2D(4, 3, padding="same", kernel_initializer="zhang_forward"),
    ]


@pytest.fixture(params=["as it is", "folded"])
def model(request):
    inputs = keras.Input(SHAPE)
    x = WeightNormConv2D(4, 3, padding="same")(inputs)
    x = ScaledResidual(branch(), 3)(x)
    x = ScaledResidualStack(branch(), 3)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    return fold(model, verbose=False) if request.param == "folded" else model


@pytest.fixture
def images(rng):
    return rng.standard_normal((2, *SHAPE)).astype("float32")


@pytest.mark.skipif(BACKEND == "torch", reason="Keras' export needs torch-xla")
def test_saved_model(model, images, tmp_path):
    import tensorflow as tf

    model.export(str(tmp_path / "model"), format="tf_saved_model", verbose=False)
    # The functions of a loaded model do not keep its variables alive.
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(loaded.serve(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf2onnx is that of TensorFlow")
def test_onnx(model, images, tmp_path):
    import onnxruntime

    path = str(tmp_path / "model.onnx")
    # Keras exports to ONNX what has been called.
    expected = model.predict(images, verbose=0)
    model.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path)
    (found,) = session.run(None, {session.get_inputs()[0].name: images})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
