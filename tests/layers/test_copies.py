"""A copy of a layer computes with the functions of its original, or is refused."""

import functools
import random
import warnings

import keras
import numpy as np
import pytest
from helpers.functions import snake, tanh
from keras import layers, ops

from keras_convinit._copies import NotCopyableError, copy_layer, list_seeds
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


class Scaling(layers.Layer):
    """Multiplies by numbers that its configuration does not hold."""

    def __init__(self, **kwargs):
        self.scale = kwargs.pop("scale", 1.0)
        super().__init__(**kwargs)
        self.gain = 1.0
        self.options = {"powers": [1, 2]}
        self.table = np.ones(4, "float32")
        self.ready = False
        self.seen = None

    def build(self, input_shape):
        self.ready = True
        self.width = input_shape[-1]

    def call(self, inputs):
        self.seen = len(inputs.shape)
        factor = self.scale * self.gain
        return inputs * factor * ops.convert_to_tensor(self.table)

    def get_config(self):
        return super().get_config()


def change_gain(layer):
    layer.gain = 3.0


LOST = {
    "taken from kwargs": (lambda: Scaling(scale=3.0), lambda layer: None, "scale"),
    "set afterwards": (Scaling, change_gain, "gain"),
    "to None": (Scaling, lambda layer: setattr(layer, "gain", None), "gain"),
    "a new one": (Scaling, lambda layer: setattr(layer, "boost", 3), "boost"),
    "a text": (Scaling, lambda layer: setattr(layer, "mode", "b"), "mode"),
    "in a nest": (
        Scaling,
        lambda layer: layer.options["powers"].append(3),
        "options",
    ),
    "an array": (
        Scaling,
        lambda layer: setattr(layer, "table", np.full(4, 3.0, "float32")),
        "table",
    ),
    "of a subclass": (
        lambda: type("Own", (layers.Dense,), {})(4),
        lambda layer: setattr(layer, "boost", 3.0),
        "boost",
    ),
    "its call": (
        lambda: layers.Dense(4),
        lambda layer: setattr(layer, "call", lambda inputs: inputs),
        "call",
    ),
}


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize("kind", LOST)
def test_what_no_argument_names_is_not_lost(kind, built):
    make, change, name = LOST[kind]
    layer = make()
    if built:
        layer(inputs())
    if kind != "taken from kwargs":
        copy_layer(layer)
    change(layer)
    with pytest.raises(NotCopyableError, match=f"`{name}`"):
        copy_layer(layer)
    if not built:
        with pytest.raises(ValueError, match=f"`{name}`"):
            ScaledResidualStack([layers.Dense(4), layer], 2)


def test_what_build_and_call_set_is_no_loss():
    layer = Scaling(name="a")
    layer.label = "a/label"
    with pytest.raises(NotCopyableError, match="`label`"):
        copy_layer(layer)
    del layer.label
    layer(inputs())
    state = random.getstate()
    copy = copy_layer(layer)
    assert not copy.ready
    assert random.getstate() == state
    outer = Twice(Scaling())
    outer(inputs())
    assert copy_layer(outer).inner.ready


def test_a_functional_model_with_a_call_of_its_own_is_copied_truly():
    class Own(keras.Model):
        gain = 1.0

        def call(self, inputs):
            return self.gain * super().call(inputs)

    class OwnArguments(keras.Model):
        def __init__(self, units):
            tensor = keras.Input((4,))
            super().__init__(tensor, layers.Dense(units)(tensor))

        def call(self, inputs):
            return 2.0 * super().call(inputs)

    tensor = keras.Input((4,))
    model = Own(tensor, layers.Dense(4)(tensor))
    assert type(copy_layer(model)) is Own
    model.gain = 3.0
    with pytest.raises(NotCopyableError, match="`gain`"):
        copy_layer(model)
    with pytest.raises(NotCopyableError, match="whose copy is"):
        copy_layer(OwnArguments(4))


def adapted():
    layer = layers.Normalization()
    layer.adapt(np.arange(12.0).reshape(3, 4))
    return layer


FLAT, SEQUENCE, IMAGE = (4,), (6, 4), (8, 8, 4)
OF_KERAS = [
    (FLAT, lambda: layers.Dense(3, activation="relu", use_bias=False)),
    (FLAT, lambda: layers.Activation("gelu")),
    (FLAT, lambda: layers.ActivityRegularization(0.1, 0.2)),
    (FLAT, adapted),
    (FLAT, lambda: layers.BatchNormalization(momentum=0.9, epsilon=0.1)),
    (FLAT, lambda: layers.Discretization([0.0, 1.0])),
    (FLAT, lambda: layers.Dropout(0.3, seed=1)),
    (FLAT, lambda: layers.AlphaDropout(0.3)),
    (FLAT, lambda: layers.GaussianDropout(0.3)),
    (FLAT, lambda: layers.GaussianNoise(0.3)),
    (FLAT, lambda: layers.ELU(0.3)),
    (FLAT, lambda: layers.LeakyReLU(0.3)),
    (FLAT, lambda: layers.PReLU()),
    (FLAT, lambda: layers.ReLU(6.0, 0.1, 0.2)),
    (FLAT, lambda: layers.Softmax()),
    (FLAT, lambda: layers.Identity()),
    (FLAT, lambda: layers.LayerNormalization(epsilon=0.1)),
    (FLAT, lambda: layers.RMSNormalization()),
    (FLAT, lambda: layers.UnitNormalization()),
    (FLAT, lambda: layers.GroupNormalization(2)),
    (FLAT, lambda: layers.Masking(0.5)),
    (FLAT, lambda: layers.RepeatVector(3)),
    (FLAT, lambda: layers.Rescaling(0.5, 1.0)),
    (FLAT, lambda: layers.Rescaling([0.5, 1.0, 2.0, 3.0])),
    (FLAT, lambda: layers.Reshape((2, -1))),
    (FLAT, lambda: layers.SpectralNormalization(layers.Dense(3))),
    (FLAT, lambda: layers.Lambda(ops.tanh)),
    (SEQUENCE, lambda: layers.EinsumDense("abc,cd->abd", (None, 3), bias_axes="d")),
    (SEQUENCE, lambda: layers.Conv1D(3, 3, padding="causal", dilation_rate=2)),
    (SEQUENCE, lambda: layers.SeparableConv1D(3, 3)),
    (SEQUENCE, lambda: layers.DepthwiseConv1D(3)),
    (SEQUENCE, lambda: layers.Conv1DTranspose(3, 3)),
    (SEQUENCE, lambda: layers.LSTM(3, return_sequences=True, dropout=0.1)),
    (SEQUENCE, lambda: layers.GRU(3, reset_after=False)),
    (SEQUENCE, lambda: layers.SimpleRNN(3)),
    (SEQUENCE, lambda: layers.Bidirectional(layers.LSTM(3))),
    (SEQUENCE, lambda: layers.TimeDistributed(layers.Dense(3))),
    (SEQUENCE, lambda: layers.AveragePooling1D(2)),
    (SEQUENCE, lambda: layers.GlobalMaxPooling1D()),
    (SEQUENCE, lambda: layers.SpatialDropout1D(0.2)),
    (SEQUENCE, lambda: layers.UpSampling1D(3)),
    (SEQUENCE, lambda: layers.ZeroPadding1D(2)),
    (SEQUENCE, lambda: layers.Cropping1D(1)),
    (SEQUENCE, lambda: layers.Permute((2, 1))),
    (IMAGE, lambda: layers.Conv2D(6, 3, strides=2, padding="same", groups=2)),
    (IMAGE, lambda: layers.Conv2DTranspose(3, 3, strides=2)),
    (IMAGE, lambda: layers.DepthwiseConv2D(3, depth_multiplier=2)),
    (IMAGE, lambda: layers.SeparableConv2D(3, 3)),
    (IMAGE, lambda: layers.MaxPooling2D(3, 2)),
    (IMAGE, lambda: layers.AdaptiveAveragePooling2D(2)),
    (IMAGE, lambda: layers.GlobalAveragePooling2D(keepdims=True)),
    (IMAGE, lambda: layers.Flatten()),
    (IMAGE, lambda: layers.ZeroPadding2D(((1, 2), (0, 1)))),
    (IMAGE, lambda: layers.Cropping2D(1)),
    (IMAGE, lambda: layers.UpSampling2D(2, interpolation="bilinear")),
    (IMAGE, lambda: layers.SpatialDropout2D(0.2)),
    (IMAGE, lambda: layers.RandomFlip(seed=3)),
    (IMAGE, lambda: layers.RandomTranslation(0.1, 0.2)),
    (IMAGE, lambda: layers.RandomRotation(0.1)),
    (IMAGE, lambda: layers.CenterCrop(4, 4)),
    (IMAGE, lambda: layers.Resizing(4, 4)),
    (IMAGE, lambda: layers.RandomBrightness(0.1)),
    (IMAGE, lambda: layers.RandomContrast(0.1)),
]


@pytest.mark.parametrize("index", range(len(OF_KERAS)))
def test_layers_of_keras_are_copied(index):
    shape, make = OF_KERAS[index]
    layer = make()
    assert copy_layer(layer).get_config() == layer.get_config()
    layer(np.ones((2, *shape), "float32"))
    assert copy_layer(layer).get_config() == layer.get_config()


def test_layers_of_several_inputs_are_copied():
    x = np.ones((2, 6, 4), "float32")
    for layer, arguments in (
        (layers.MultiHeadAttention(2, 3, dropout=0.1), (x, x)),
        (layers.GroupQueryAttention(3, 2, 1), (x, x)),
        (layers.Attention(use_scale=True), ([x, x],)),
        (layers.AdditiveAttention(), ([x, x],)),
        (layers.Add(), ([x, x],)),
        (layers.Concatenate(axis=1), ([x, x],)),
        (layers.Dot(axes=2), ([x, x],)),
        (layers.Embedding(5, 3, mask_zero=True), (np.ones((2, 6), "int32"),)),
        (layers.CategoryEncoding(5), (np.ones((2, 6), "int32"),)),
    ):
        layer(*arguments)
        assert copy_layer(layer).get_config() == layer.get_config()
