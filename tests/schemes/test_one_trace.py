"""`initialize` reads a model once, whatever the scheme."""

import keras
import numpy as np
import pytest

from keras_convinit import initialize, layers
from keras_convinit.analysis import analyzing

L = keras.layers


@pytest.fixture
def model():
    branch = keras.Sequential([L.ReLU(), layers.WeightNormDense(6)])
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.ScaledResidualStack(branch, 3),
            L.Dense(2, activation="softmax"),
        ]
    )
    model.compile(loss="sparse_categorical_crossentropy")
    return model


@pytest.mark.parametrize(
    ("scheme", "arguments"),
    [
        ("auto", {}),
        ("lsuv", {}),
        ("data_dependent", {}),
        ("gradinit", {"iterations": 2, "batch_size": 4, "verbose": False}),
        ("metainit", {"steps": 2, "batch_size": 4, "verbose": False}),
        (["arpit", "lsuv", "he_normal"], {}),
    ],
    ids=str,
)
def test_a_model_is_traced_once(model, scheme, arguments, monkeypatch):
    traced = []
    trace_opened = analyzing.trace_opened

    def counted(*args, **kwargs):
        traced.append(args)
        return trace_opened(*args, **kwargs)

    monkeypatch.setattr(analyzing, "trace_opened", counted)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, 6)).astype("float32")
    y = rng.integers(0, 2, 16)
    wants_labels = scheme in ("gradinit", "metainit")
    initialize(model, scheme, (x, y) if wants_labels else x, seed=0, **arguments)
    assert len(traced) == 1
