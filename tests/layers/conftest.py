"""Fixtures for tests of layers."""

import dataclasses
import functools

import keras
import numpy as np
import pytest

import keras_convinit.layers


@pytest.fixture
def rng():
    """Random numbers, the same in every test."""
    return np.random.default_rng(7)


@pytest.fixture
def differentiate():
    """Gives the value of a function, and gradients of its product with `slopes`.

    The gradients are those of the sum of the product, for a list of variables. All of
    it is in arrays of float64.
    """
    by_backend = {
        "tensorflow": _with_tensorflow,
        "jax": _with_jax,
        "torch": _with_torch,
    }[keras.backend.backend()]

    def run(function, variables, slopes):
        value, found = by_backend(function, variables, slopes)
        return keras.tree.map_structure(_as_array, (value, found))

    return run


def _as_array(tensor):
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32")).astype(float)


def _product(value, slopes):
    slopes = keras.ops.convert_to_tensor(slopes, dtype=value.dtype)
    return keras.ops.sum(value * slopes)


def _with_tensorflow(function, variables, slopes):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        value = function()
        product = _product(value, slopes)
    return value, tape.gradient(product, [variable.value for variable in variables])


def _with_jax(function, variables, slopes):
    import jax

    # Compiled as a whole: one operation after the other takes far longer.
    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def gradients(values):
        with keras.StatelessScope(zip(variables, values, strict=True)):
            value = function()
        return _product(value, slopes), value

    found, value = gradients([variable.value for variable in variables])
    return value, found


def _with_torch(function, variables, slopes):
    import torch

    value = function()
    leaves = [variable.value for variable in variables]
    return value, list(torch.autograd.grad(_product(value, slopes), leaves))


@pytest.fixture
def snapshot():
    """Gives the values of all variables of a layer or model."""

    def take(layer):
        return [keras.ops.convert_to_numpy(variable) for variable in layer.variables]

    return take


@dataclasses.dataclass(frozen=True)
class Case:
    """A layer to try, by keyword so that the ordinary one takes the same."""

    weight_norm_class: type
    arguments: dict
    shape: tuple

    @property
    def ordinary_class(self):
        name = self.weight_norm_class.__name__.removeprefix("WeightNorm")
        return getattr(keras.layers, name)

    def layer(self, **arguments):
        return self.weight_norm_class(**{**self.arguments, **arguments})

    def ordinary_layer(self, **arguments):
        return self.ordinary_class(**{**self.arguments, **arguments})

    def built_layer(self, **arguments):
        """With values out of numpy, as JAX compiles for a second an initializer."""
        argument = self.weight_norm_class.kernel_initializer_argument
        layer = self.layer(**{argument: "zeros", **arguments})
        layer.build((None, *self.shape))
        generator = np.random.default_rng(7)
        for variable in layer.variables:
            value = generator.standard_normal(variable.shape)
            if variable is layer.weight_norm_gain:
                value = np.abs(value) + 0.5
            variable.assign(value.astype("float32"))
        return layer

    def inputs(self, seed=0):
        generator = np.random.default_rng(seed)
        return generator.standard_normal((2, *self.shape)).astype("float32")


def _case(name, shape, **arguments):
    return Case(getattr(keras_convinit.layers, f"WeightNorm{name}"), arguments, shape)


CASES = {
    "Dense": _case("Dense", (6,), units=5),
    "Conv1D": _case("Conv1D", (9, 4), filters=5, kernel_size=3, dilation_rate=2),
    "Conv2D": _case(
        "Conv2D",
        (7, 8, 4),
        filters=6,
        kernel_size=(3, 2),
        strides=2,
        activation="tanh",
    ),
    "grouped": _case(
        "Conv2D",
        (7, 8, 4),
        filters=6,
        kernel_size=3,
        groups=2,
        dilation_rate=2,
        padding="same",
        use_bias=False,
    ),
    "Conv3D": _case("Conv3D", (4, 5, 4, 3), filters=2, kernel_size=2),
    "Conv2DTranspose": _case(
        "Conv2DTranspose", (4, 3, 3), filters=5, kernel_size=3, strides=2
    ),
    "DepthwiseConv2D": _case(
        "DepthwiseConv2D", (7, 8, 3), kernel_size=3, depth_multiplier=2, strides=2
    ),
    "depthwise dilated": _case(
        "DepthwiseConv2D", (7, 8, 3), kernel_size=3, dilation_rate=2
    ),
}


@pytest.fixture(params=list(CASES))
def case(request):
    """One layer after the other: every class, strided, dilated and grouped."""
    return CASES[request.param]


@pytest.fixture(params=[name for name in CASES if name[0].isupper()])
def class_case(request):
    """One case for every class."""
    return CASES[request.param]


@pytest.fixture
def cases():
    """All of them, by name."""
    return CASES
