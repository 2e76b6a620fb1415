"""Saved, loaded, folded, exported: the same predictions at each step.

    python examples/saving.py

A model with all that is ours: string initializer, weight normalization, scaled
residuals. A process that loads its file imports keras_convinit; one that loads what
`fold` makes of it does not, and here could not. Exported it needs no Keras either.
Half a minute. On TensorFlow, with seed 0, the predictions are equal to the last bit at
each step but ONNX, where they differ by 5e-6 at most.
"""

import argparse
import importlib.util
import pathlib
import subprocess
import sys
import tempfile

import keras
import numpy as np

import keras_convinit
from keras_convinit.initializers import WeightNormGain
from keras_convinit.lab import data
from keras_convinit.layers import ScaledResidual, WeightNormConv2D

KNOWS = "import keras_convinit"
KNOWS_NOT = "import sys; sys.modules['keras_convinit'] = None  # An import of it fails."
PREDICT = """
import sys, keras, numpy
model_file, inputs_file, outputs_file = sys.argv[1:]
model = keras.models.load_model(model_file)
numpy.save(outputs_file, model.predict(numpy.load(inputs_file), verbose=0))
"""


def network(input_shape, width, blocks):
    """Residual blocks without normalization of activations."""
    inputs = x = keras.Input(input_shape)
    x = keras.layers.Conv2D(width, 3, kernel_initializer="zhang_forward")(x)
    for _ in range(blocks):
        branch = [
            WeightNormConv2D(width, 3, padding="same", activation="relu"),
            WeightNormConv2D(
                width, 3, padding="same", gain_initializer=WeightNormGain(gamma=1.0)
            ),
        ]
        x = ScaledResidual(branch, num_blocks=blocks)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(10)(x))


def predicted_elsewhere(first_line, model_file, images, folder):
    """What a process of its own predicts with a model that it loads."""
    np.save(folder / "images.npy", images)
    files = [model_file, folder / "images.npy", folder / "predictions.npy"]
    code = first_line + PREDICT
    subprocess.run([sys.executable, "-c", code, *map(str, files)], check=True)
    return np.load(folder / "predictions.npy")


def compared(step, found, expected):
    """Says that a step has changed nothing, or fails."""
    difference = float(np.abs(np.asarray(found) - expected).max())
    np.testing.assert_allclose(found, expected, 1e-3, 1e-3, equal_nan=False)
    print(f"{step}: predictions differ by {difference:.1e} at most")
    return difference


def taken_around(model, images, folder):
    """Saves, loads, folds and exports the model, and compares what it predicts."""
    expected = model.predict(images, verbose=0)
    file = folder / "model.keras"
    model.save(file)
    found = predicted_elsewhere(KNOWS, file, images, folder)
    differences = {"loaded": compared("Loaded", found, expected)}

    file = folder / "folded.keras"
    keras_convinit.fold(model).save(file)
    found = predicted_elsewhere(KNOWS_NOT, file, images, folder)
    differences["folded"] = compared("Folded, loaded without us", found, expected)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        model.export(folder / "saved_model", verbose=False)
        exported = tf.saved_model.load(folder / "saved_model")
        found = exported.serve(images)
        differences["SavedModel"] = compared("SavedModel", found, expected)
        if all(map(importlib.util.find_spec, ("onnx", "tf2onnx", "onnxruntime"))):
            import onnxruntime

            model.export(folder / "model.onnx", format="onnx", verbose=False)
            session = onnxruntime.InferenceSession(folder / "model.onnx")
            (found,) = session.run(None, {session.get_inputs()[0].name: images})
            differences["ONNX"] = compared("ONNX", found, expected)
    return differences


def main(arguments=None):
    """Trains a little, and takes the model from place to place."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args(arguments)

    keras.utils.set_random_seed(0)
    digits = data.load("digits")
    x, images = map(digits.standardized, (digits.train_images, digits.test_images))
    model = network(x.shape[1:], options.width, options.blocks)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss)
    model.fit(x, digits.train_labels, epochs=options.epochs, verbose=2)
    with tempfile.TemporaryDirectory() as folder:
        return taken_around(model, images, pathlib.Path(folder))


if __name__ == "__main__":
    main()
