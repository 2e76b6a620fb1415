"""One model, reports of data of several structures, dtypes and sizes."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_convinit import signal_report

generator = np.random.default_rng(0)


class Takes(keras.Model):
    """A model that does different things with different data."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3, name="dense")

    def call(self, x):
        if isinstance(x, dict):
            return self.dense(x["a"] - x["b"])
        if isinstance(x, list | tuple):
            return self.dense(x[0] + x[1])
        if "int" in keras.backend.standardize_dtype(x.dtype):
            x = ops.one_hot(x[:, 0], 5)
        return self.dense(x)


def test_a_model_with_a_call_of_its_own():
    a, b = generator.standard_normal((2, 8, 5)).astype("float32")
    whole = generator.integers(0, 5, (8, 5)).astype("int32")
    model = Takes()
    for x in (a, [a, b], {"a": a, "b": b}, whole, whole.astype("float32"), a):
        outputs = ops.convert_to_numpy(model(x))
        norm = np.sqrt(np.square(outputs).sum(axis=-1).mean())
        row = signal_report(model, x).rows[-1]
        assert row.path == "dense"
        assert row.forward_norm == pytest.approx(norm, rel=1e-5)


def test_images_of_several_sizes():
    conv = keras.layers.Conv2D(4, 3, name="conv")
    model = keras.Sequential([keras.Input((None, None, 3)), conv])
    for size in (6, 9, 6):
        x = generator.standard_normal((5, size, size, 3)).astype("float32")
        outputs = ops.convert_to_numpy(model(x))
        norm = np.sqrt(np.square(outputs).sum(axis=-1).mean())
        (row,) = signal_report(model, x).rows
        assert row.forward_norm == pytest.approx(norm, rel=1e-5)
