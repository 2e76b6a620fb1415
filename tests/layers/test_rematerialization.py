"""Inside of a `keras.RematScope` a step is what it is without."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_convinit
from keras_convinit import layers as ours

BACKEND = keras.backend.backend()


def stack():
    branch = [
        ours.WeightNormDense(6, activation="tanh", name="inside"),
        layers.Dropout(0.5, seed=3),
        ours.WeightNorm(layers.Dense(6)),
    ]
    return ours.ScaledResidualStack(branch, 3, name="outside")


def residual():
    branch = [
        ours.WeightNorm(layers.Dense(6, activation="tanh", name="inside")),
        ours.WeightNormDense(6),
    ]
    return ours.ScaledResidual(branch, 2, name="outside")


def wrapper():
    layer = layers.Dense(6, activation="tanh", name="inside")
    return ours.WeightNorm(layer, name="outside")


SCOPES = {
    "full": {},
    "activations": {},
    "larger_than": {"output_size_threshold": 1},
    "inside": {"layer_names": ["inside"]},
    "outside": {"layer_names": ["outside"]},
}


@pytest.mark.parametrize("make", [stack, residual, wrapper])
@pytest.mark.parametrize("name", SCOPES)
def test_steps_are_the_same(make, name):
    if BACKEND == "tensorflow" and make is not stack and name != "activations":
        pytest.skip("Keras cannot compute layers again in a program of TensorFlow")
    scope = SCOPES[name]
    mode = "list_of_layers" if "layer_names" in scope else name
    generator = np.random.default_rng(0)
    x = generator.standard_normal((16, 6)).astype("float32")
    y = generator.standard_normal((16, 6)).astype("float32")
    models, losses = [], []
    for each in (keras.RematScope(None), keras.RematScope(mode, **scope)):
        inputs = keras.Input((6,))
        keras.utils.set_random_seed(1)
        with each:
            outputs = make()(inputs)
        model = keras.Model(inputs, outputs)
        if models:
            for target, source in zip(
                model.variables, models[0].variables, strict=True
            ):
                target.assign(keras.ops.convert_to_numpy(source))
        models.append(model)
    for model in models:
        model.compile(keras.optimizers.SGD(0.1), "mse")
        losses.append([float(model.train_on_batch(x, y)) for _ in range(3)])
    plain, scoped = models
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-6)
    for one, other in zip(plain.weights, scoped.weights, strict=True):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(other),
            keras.ops.convert_to_numpy(one),
            rtol=1e-5,
            atol=1e-6,
        )


@pytest.mark.parametrize("scheme", ["gradinit", "metainit"])
@pytest.mark.parametrize("mode", ["full", "activations"])
def test_searches_are_the_same(mode, scheme):
    if BACKEND == "tensorflow":
        pytest.skip("TensorFlow derives what is computed again once, and not twice")
    generator = np.random.default_rng(0)
    x = generator.standard_normal((16, 6)).astype("float32")
    y = generator.standard_normal((16, 4)).astype("float32")
    number = {"gradinit": "iterations", "metainit": "steps"}[scheme]
    found = []
    for each in (None, mode):
        with keras.RematScope(each):
            parts = [layers.Dense(8, activation="tanh"), layers.Dense(4)]
        model = keras.Sequential([keras.Input((6,)), *parts])
        keras_convinit.initialize(
            model,
            scheme,
            (x, y),
            loss="mse",
            seed=1,
            learning_rate=0.1,
            batch_size=8,
            verbose=False,
            **{number: 5},
        )
        found.append([keras.ops.convert_to_numpy(w) for w in model.weights])
        assert not any("rematerialized_call" in vars(part) for part in parts)
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-7)
