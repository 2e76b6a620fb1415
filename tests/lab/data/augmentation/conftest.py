import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture
def pictures():
    """Pictures that are neither flat nor noise, of all the brightness there is."""
    numbers = np.random.default_rng(5)

    def some(count, size=32, channels=3):
        y, x = np.mgrid[:size, :size] / size
        waves = numbers.uniform(-7, 7, (4, count, 1, 1, channels))
        y, x = y[:, :, None], x[:, :, None]
        values = np.sin(waves[0] * x + waves[1] * y + waves[2])
        depth = numbers.uniform(5, 140, (count, 1, 1, channels))
        values = 127 + depth * values + numbers.normal(0, 6, values.shape)
        return np.clip(values, 0, 255).astype(np.uint8)

    return some


@pytest.fixture
def changed():
    """The images that an augmentation makes, as arrays."""

    def images_of(augmentation, images, seed=0):
        labels = tf.zeros((len(images), 1))
        return augmentation(tf.constant(images), labels, [seed, 1])[0].numpy()

    return images_of
