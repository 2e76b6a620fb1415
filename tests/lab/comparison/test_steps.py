import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_convinit.lab.comparison.steps import StepAccuracies
from keras_convinit.lab.recipes import Optimizer
from keras_convinit.lab.training import fit_recorded


def test_accuracies_are_those_of_the_batches():
    numbers = np.random.default_rng(0)
    images = numbers.normal(size=(40, 6)).astype("float32")
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    said = keras.ops.convert_to_numpy(model(images)).argmax(axis=1)
    # Of eight, so many are right.
    counts = [0, 5, 3, 8, 1]
    right = np.concatenate([np.arange(8) < count for count in counts])
    labels = np.eye(3, dtype="float32")[np.where(right, said, (said + 1) % 3)]
    told = []
    steps = StepAccuracies(told.append)
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    # Steps too small to change anything.
    still = Optimizer(1e-12)
    fit_recorded(model, batches, None, optimizer=still, epochs=2, callbacks=[steps])
    expected = [count / 8 for count in counts]
    assert steps.accuracies == pytest.approx([*expected, *expected], abs=2e-5)
    # Beside the training, on JAX and PyTorch, in no certain order.
    assert len(told) == 10


def test_order_does_not_matter():
    steps = StepAccuracies(lambda accuracy: None)
    for batch, mean in [(0, 1.0), (2, 0.5), (1, 0.5)]:
        steps.on_train_batch_end(batch, {"accuracy": mean})
    steps.on_epoch_end(0)
    assert steps.accuracies == [1.0, 0.0, 0.5]
