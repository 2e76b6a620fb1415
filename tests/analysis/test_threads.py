"""Models with a `call` of their own, read by several threads."""

import threading

import keras
import numpy as np
import pytest

from keras_convinit import analysis


class Chain(keras.Model):
    """Layers in a row; says when it is run on symbols."""

    def __init__(self):
        super().__init__()
        self.parts = [keras.layers.Dense(3, activation="relu") for _ in range(3)]
        self.on_symbols = lambda: None

    def call(self, x):
        for part in self.parts:
            x = part(x)
        if isinstance(x, keras.KerasTensor):
            self.on_symbols()
        return x


X = np.ones((2, 3), "float32")


@pytest.fixture
def model():
    model = Chain()
    model(X)
    return model


def in_a_thread(function):
    """Starts it; `result` waits for what it gives."""
    found = []

    def work():
        try:
            found.append((function(), None))
        except BaseException as error:
            found.append((None, error))

    thread = threading.Thread(target=work)
    thread.start()

    def result():
        thread.join()
        ((value, error),) = found
        if error is not None:
            raise error
        return value

    return result


def test_layers_keep_their_classes_when_two_threads_read(model):
    # As if chance had it: the second begins within the first, and ends after it.
    second_is_within, first_is_done = threading.Event(), threading.Event()
    seen = []

    def on_symbols():
        seen.append(threading.get_ident())
        if seen[-1] == seen[0]:
            second_is_within.wait(0.5)
        else:
            second_is_within.set()
            first_is_done.wait(0.5)

    model.on_symbols = on_symbols

    def first():
        try:
            return analysis.analyze(model, X)
        finally:
            first_is_done.set()

    results = [in_a_thread(first), in_a_thread(lambda: analysis.analyze(model, X))]
    for result in results:
        assert len(result().kernels) == 3
    assert len(set(seen)) == 2
    assert {type(part) for part in model.parts} == {keras.layers.Dense}


def test_other_threads_see_the_layers_as_they_are(model, tmp_path):
    path = tmp_path / "layers.keras"
    expected = keras.ops.convert_to_numpy(model(X))
    found = {}

    def meanwhile():
        sequence = keras.Sequential([keras.Input((3,)), *model.parts])
        sequence.save(path)
        found["outputs"] = keras.ops.convert_to_numpy(model(X))
        found["serialized"] = keras.saving.serialize_keras_object(model.parts[0])

    def on_symbols():
        model.on_symbols = lambda: None
        in_a_thread(meanwhile)()

    model.on_symbols = on_symbols
    assert len(analysis.analyze(model, X).kernels) == 3
    np.testing.assert_array_equal(found["outputs"], expected)
    assert found["serialized"] == keras.saving.serialize_keras_object(model.parts[0])
    loaded = keras.models.load_model(path)
    assert [type(layer) for layer in loaded.layers] == [keras.layers.Dense] * 3
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), expected)


def test_after_an_error_layers_have_their_classes(model):
    def on_symbols():
        raise RuntimeError("the model is at fault")

    model.on_symbols = on_symbols
    with pytest.raises((RuntimeError, ValueError)):
        analysis.analyze(model, X)
    assert {type(part) for part in model.parts} == {keras.layers.Dense}
    model.on_symbols = lambda: None
    assert len(in_a_thread(lambda: analysis.analyze(model, X))().kernels) == 3
