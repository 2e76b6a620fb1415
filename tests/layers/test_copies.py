"""A copy of a layer computes with the functions of its original, or is refused."""

import functools
import warnings

import keras
import numpy as np
import pytest
from helpers.functions import snake, tanh
from keras import layers, ops

from keras_convinit._copies import copy_layer, list_seeds
from keras_convinit.layers import ScaledResidual, ScaledResidualStack, WeightNorm

# Keras has functions of these names that compute something else.


def linear(x):
    return 3.0 * x


def relu(x):
    return ops.clip(x, -1.0, 1.0)


def zeros(shape, dtype=None):
    return ops.full(shape, 0.25, dtype=dtype)


class Halves(keras.initializers.Initializer):
    """Known to nobody."""

    def __call__(self, shape, dtype=None):
        return ops.full(shape, 0.5, dtype=dtype)


class Twice(layers.Layer):
    """Known to nobody, and holds another layer."""

    def __init__(self, inner, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner
        self.factor = factor

    def call(self, inputs):
        return self.factor * self.inner(inputs)

    def get_config(self):
        inner = keras.saving.serialize_keras_object(self.inner)
        return {**super().get_config(), "inner": inner, "factor": self.factor}

    @classmethod
    def from_config(cls, config):
        config["inner"] = keras.saving.deserialize_keras_object(config["inner"])
        return cls(**config)


class Forgetful(layers.Layer):
    """Does not say what it was made with."""

    def __init__(self, factor=2.0, activation=None, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor
        self.inside = [{"of": activation}]

    def call(self, inputs):
        return self.factor * self.inside[0]["of"](inputs)

    def get_config(self):
        activation = keras.activations.serialize(self.inside[0]["of"])
        return {**super().get_config(), "activation": activation}

    @classmethod
    def from_config(cls, config):
        config["activation"] = keras.activations.get(config["activation"])
        return cls(**config)


def functional(activation):
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(4, activation=activation)(inputs))


HOLDERS = {
    "layer": lambda f: layers.Dense(4, activation=f),
    "activation": layers.Activation,
    "list": lambda f: [layers.Dense(5, activation=f), layers.Dense(4)],
    "sequential": lambda f: [keras.Sequential([layers.Dense(4, activation=f)])],
    "functional": functional,
    "wrapper": lambda f: WeightNorm(layers.Dense(4, activation=f)),
    "unknown class": lambda f: Twice(Twice(layers.Dense(4, activation=f)), 3.0),
    "residual": lambda f: ScaledResidual(Twice(layers.Dense(4, activation=f)), 2),
    "stack": lambda f: ScaledResidualStack(layers.Dense(4, activation=f), 2),
    "stack in a class": lambda f: Twice(
        ScaledResidualStack(layers.Dense(4, activation=f), 2)
    ),
}
FUNCTIONS = {
    "tanh": tanh,
    "linear": linear,
    "relu": relu,
    "unknown": snake,
    "lambda": lambda x: x - ops.cos(x),
    "operation": ops.sin,
}


def inputs():
    return 2 * np.random.default_rng(0).standard_normal((8, 4)).astype("float32")


def computed(layer):
    return ops.convert_to_numpy(layer(inputs()))


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_stack_computes_with_the_function_that_it_was_given(holder, function):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        block = ScaledResidual(HOLDERS[holder](FUNCTIONS[function]), 1)
        stack = ScaledResidualStack(HOLDERS[holder](FUNCTIONS[function]), 1)
        expected = computed(block)
        stack.build((None, 4))
        for target, source in zip(stack.weights, block.branch.weights, strict=True):
            target.assign(ops.convert_to_numpy(source)[None])
        np.testing.assert_allclose(computed(stack), expected, rtol=1e-5, atol=1e-5)
        (written,) = stack.unrolled()
        np.testing.assert_allclose(computed(written), expected, rtol=1e-5, atol=1e-5)


def test_whatever_is_held_comes_along():
    twice = Halves()
    layer = layers.Dense(
        4, kernel_initializer=twice, bias_initializer=zeros, kernel_regularizer=relu
    )
    copy = copy_layer(layer)
    assert copy is not layer
    assert type(copy.kernel_initializer) is Halves
    assert copy.bias_initializer is zeros
    assert copy.kernel_regularizer is relu
    copy.build((None, 3))
    np.testing.assert_array_equal(copy.kernel, np.full((3, 4), 0.5))
    np.testing.assert_array_equal(copy.bias, np.full(4, 0.25))


def test_a_layer_that_is_held_twice_is_one_layer_in_the_copy():
    class Both(layers.Layer):
        def __init__(self, one, other, **kwargs):
            super().__init__(**kwargs)
            self.one, self.other = one, other

        def get_config(self):
            serialize = keras.saving.serialize_keras_object
            parts = {"one": serialize(self.one), "other": serialize(self.other)}
            return {**super().get_config(), **parts}

        @classmethod
        def from_config(cls, config):
            for name in ("one", "other"):
                config[name] = keras.saving.deserialize_keras_object(config[name])
            return cls(**config)

    dense = layers.Dense(4)
    copy = copy_layer(Both(dense, dense))
    assert copy.one is copy.other
    assert copy.one is not dense


def test_seeds_are_asked_for_in_layers_of_layers():
    initializer = keras.initializers.GlorotUniform(seed=3)
    inner = layers.Dense(4, kernel_initializer=initializer)
    layer = Twice(Twice(inner))
    assert list_seeds(layer) == [(3, True)]
    copy = copy_layer(layer, lambda seed, of_initializer: seed + 1)
    assert copy.inner.inner.kernel_initializer.seed == 4


@pytest.mark.parametrize(
    ("layer", "complaint"),
    [
        (layers.Dense(4, name="it", activation=functools.partial(tanh)), "partial"),
        (Forgetful(activation=tanh, name="it"), "another `inside`"),
        (Forgetful(3.0, activation=ops.tanh, name="it"), "another `factor`"),
        (layers.TimeDistributed(Forgetful(3.0, ops.tanh, name="it")), "`factor`"),
    ],
    ids=["without a name", "function", "argument", "inside"],
)
def test_what_cannot_be_copied_is_refused_by_name(layer, complaint):
    with pytest.raises(ValueError, match="register_keras_serializable") as caught:
        ScaledResidualStack(layer, 2)
    assert "name=it" in str(caught.value)
    assert complaint in str(caught.value)
    # One block for each needs no copies.
    if not isinstance(layer, keras.layers.TimeDistributed):
        assert computed(ScaledResidual(layer, 2)).shape == (8, 4)
