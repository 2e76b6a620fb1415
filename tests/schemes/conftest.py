"""What the tests of schemes share."""

import keras
import numpy as np
import pytest


@pytest.fixture
def values():
    """The values of all weights of a model, by path."""

    def read(model):
        return {
            variable.path: np.array(keras.ops.convert_to_numpy(variable))
            for variable in model.weights
        }

    return read


@pytest.fixture
def deviations(values):
    """Root mean squares of a model's variables, and how many weights each has."""

    def read(model):
        return {
            path: (float(np.sqrt(np.square(value.astype(float)).mean())), value.size)
            for path, value in values(model).items()
            if np.issubdtype(value.dtype, np.floating)
        }

    return read


@pytest.fixture
def close_to():
    """Whether normal weights have a standard deviation, to five standard errors."""

    def compare(found, expected):
        root_mean_square, count = found
        ratio = (root_mean_square / expected) ** 2
        return abs(ratio - 1) < 5 * np.sqrt(2 / count)

    return compare
