"""Reading a model changes nothing about it."""

import keras
import numpy as np
import pytest

from keras_convinit.analysis import trace


def summary(model):
    lines = []
    model.summary(expand_nested=True, print_fn=lambda line, **_: lines.append(line))
    return lines


@pytest.mark.parametrize("open_composites", [False, True])
def test_config_weights_and_summary_are_as_before(model, open_composites, arrays):
    def look():
        return (
            model.get_config(),
            summary(model),
            [variable.path for variable in model.variables],
        )

    before, values = look(), arrays(model.variables)
    trace(model, open_composites=open_composites)
    assert look() == before
    for old, new in zip(values, arrays(model.variables), strict=True):
        np.testing.assert_array_equal(old, new)


def test_no_layer_has_been_called(model):
    # A model that is made of the same tensors knows what has been called on them: a
    # call on others would show in `output` of a layer that is called for the first
    # time, and in the count of calls that a file keeps.
    before = keras.saving.serialize_keras_object(model)
    outputs = {id(layer): getattr(layer, "output", None) for layer in model.layers}
    trace(model)
    assert keras.saving.serialize_keras_object(model) == before
    for layer in model.layers:
        assert getattr(layer, "output", None) is outputs[id(layer)]


def test_a_layer_called_once_is_still_called_once():
    inputs = keras.Input((4,))
    dense = keras.layers.Dense(2, name="dense")
    model = keras.Model(inputs, dense(inputs))
    trace(model)
    # The second call of a layer is written to a file as such.
    second = keras.Model(inputs, dense(inputs))
    (written,) = (
        entry for entry in second.get_config()["layers"] if entry["name"] == "dense"
    )
    outputs = second.get_config()["output_layers"]
    assert len(written["inbound_nodes"]) == 1
    assert keras.tree.flatten(outputs)[-2:] == [0, 0]


def test_names_of_later_layers_are_as_before(models):
    model = models["shared_model"]()
    first = keras.layers.Dense(1).name, keras.Model(model.input, model.output).name
    trace(model)
    second = keras.layers.Dense(1).name, keras.Model(model.input, model.output).name
    numbers = [
        [int(name.rsplit("_", 1)[1]) for name in names] for names in (first, second)
    ]
    assert [b - a for a, b in zip(*numbers, strict=True)] == [1, 1]


def test_a_compiled_model_keeps_its_optimizer(models, batch):
    model = models["sequential"]()
    model.compile(optimizer=keras.optimizers.SGD(), loss="mse")
    x = batch(model)
    model.fit(x, np.zeros((2, 2)), verbose=0)
    optimizer, iterations = model.optimizer, int(model.optimizer.iterations)
    trace(model)
    assert model.optimizer is optimizer
    assert int(optimizer.iterations) == iterations
    model.fit(x, np.zeros((2, 2)), verbose=0)


def test_losses_are_as_before(batch):
    class Penalized(keras.layers.Layer):
        def call(self, x):
            self.add_loss(keras.ops.sum(x**2))
            return x

    inputs = keras.Input((3,))
    model = keras.Model(inputs, Penalized()(inputs))
    model(np.ones((1, 3)))
    before = [float(loss) for loss in model.losses]
    trace(model)
    assert [float(loss) for loss in model.losses] == before == [3.0]
