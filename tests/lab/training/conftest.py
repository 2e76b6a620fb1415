import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_convinit.lab.recipes import Initialization, Optimizer, Recipe, Schedule


@pytest.fixture
def recipe():
    """A small fully connected network on the digits, for two epochs of ten steps."""
    return Recipe(
        name="test/small/mlp",
        source="nowhere",
        network="mlp",
        arguments={"depth": 3, "width": 16},
        dataset="digits",
        augmentations=(("Mixup", {"alpha": 1.0, "per": "batch"}),),
        optimizer=Optimizer(0.1, weight_decay=1e-3),
        schedule=Schedule("cosine"),
        epochs=2,
        batch_size=128,
        initialization=Initialization("zhang_forward"),
    )


@pytest.fixture
def model():
    """Images of 4x4 to three logits, with all that has a state."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            layers.Flatten(),
            layers.Dense(8, activation="relu"),
            layers.BatchNormalization(momentum=0.5),
            layers.Dropout(0.2),
            layers.Dense(3),
        ]
    )


@pytest.fixture
def pairs():
    """48 images and one-hot labels."""
    numbers = np.random.default_rng(0)
    labels = numbers.integers(0, 3, 48)
    images = numbers.normal(size=(48, 4, 4, 1)) + 2 * labels[:, None, None, None]
    return images.astype("float32"), np.eye(3, dtype="float32")[labels]


@pytest.fixture
def epochs_from(pairs):
    """All epochs of a run of three, from one on: six batches of eight each."""

    def from_epoch(first):
        x, y = pairs
        orders = [np.random.default_rng(e).permutation(48) for e in range(first, 3)]
        order = np.concatenate(orders)
        return tf.data.Dataset.from_tensor_slices((x[order], y[order])).batch(8)

    return from_epoch
