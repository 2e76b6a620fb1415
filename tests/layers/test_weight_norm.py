"""The wrapper, against the drop-ins and the layers that it wraps."""

import inspect
import json

import keras
import numpy as np
import pytest
from helpers.values import array

from keras_convinit import Geometry, Kernel, kernels_of
from keras_convinit.initializers import WeightNormGain
from keras_convinit.layers import WeightNorm, WeightNormConv2D, WeightNormDense


def test_it_is_the_drop_in(class_case, differentiate, snapshot):
    drop_in = class_case.built_layer(activation="tanh")
    argument = class_case.weight_norm_class.kernel_initializer_argument
    wrapper = WeightNorm(
        class_case.ordinary_layer(activation="tanh", **{argument: "zeros"})
    )
    inputs = class_case.inputs()
    wrapper.build(inputs.shape)
    direction, bias, gain = drop_in.get_weights()
    wrapper.set_weights([gain, direction, bias])
    slopes = np.random.default_rng(1).standard_normal(
        drop_in.compute_output_shape(inputs.shape)
    )
    before = snapshot(wrapper)
    results = [
        differentiate(
            lambda layer=layer: layer(inputs),
            [layer.weight_norm_direction, layer.weight_norm_gain],
            slopes,
        )
        for layer in (drop_in, wrapper)
    ]
    keras.tree.map_structure(np.testing.assert_array_equal, *results)
    np.testing.assert_array_equal(array(drop_in.kernel), array(wrapper.kernel))
    for old, new in zip(before, snapshot(wrapper), strict=True):
        np.testing.assert_array_equal(old, new)
    (kernel,), (expected,) = kernels_of(wrapper), kernels_of(drop_in)
    assert kernel.geometry == expected.geometry
    assert kernel.variable is wrapper.weight_norm_direction


def test_names():
    layer = keras.layers.Dense(3, name="inner")
    wrapper = WeightNorm(layer, name="outer")
    wrapper.build((None, 4))
    assert [variable.path for variable in wrapper.variables] == [
        "outer/weight_norm_gain",
        "outer/inner/kernel",
        "outer/inner/bias",
    ]
    assert wrapper.weight_norm_direction is layer.kernel
    assert kernels_of(wrapper)[0].name == "layer.kernel"


def test_the_mode_kernel_leaves_a_built_layer_what_it_was():
    layer = keras.layers.Conv2DTranspose(5, 3, bias_initializer="ones")
    inputs = np.random.default_rng(0).standard_normal((2, 4, 4, 3)).astype("float32")
    expected = array(layer(inputs))
    wrapper = WeightNorm(layer, WeightNormGain(mode="kernel"))
    np.testing.assert_allclose(array(wrapper(inputs)), expected, rtol=1e-5, atol=1e-6)
    ones = WeightNorm(layer, "ones")
    assert np.abs(array(ones(inputs)) - expected).max() > 0.1


def test_the_config_is_the_signature():
    wrapper = WeightNorm(
        keras.layers.Conv1D(3, 2, dtype="mixed_bfloat16"),
        gain_initializer="ones",
        name="some_name",
        trainable=False,
    )
    config = json.loads(json.dumps(wrapper.get_config()))
    assert set(config) == set(inspect.signature(WeightNorm).parameters)
    twin = WeightNorm.from_config(config)
    assert json.loads(json.dumps(twin.get_config())) == json.loads(
        json.dumps(wrapper.get_config())
    )
    assert twin.layer.dtype_policy.name == "mixed_bfloat16"
    assert not twin.trainable
    with pytest.raises(ValueError, match="dtype"):
        WeightNorm(keras.layers.Dense(3), dtype="bfloat16")


@pytest.fixture
def policy_of():
    """Sets the policy of everything that is made from here on."""
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize(
    ("policy", "kernel", "outputs"),
    [
        ("mixed_bfloat16", "float32", "bfloat16"),
        ("mixed_float16", "float32", "float16"),
        ("bfloat16", "bfloat16", "bfloat16"),
        ("float16", "float16", "float16"),
    ],
)
def test_dtypes_are_those_of_the_layer(policy, kernel, outputs, policy_of):
    # The model's scope reads variables in half precision, where the sum of 4608 squares
    # of 40 is beyond float16.
    policy_of(policy)
    layer = keras.layers.Dense(2, kernel_initializer=keras.initializers.Constant(40.0))
    wrapper = WeightNorm(layer, "ones")
    inner = keras.Input((4608,))
    model = keras.Model(inner, wrapper(inner))
    assert model.dtype_policy.name == policy
    assert model.output.dtype == outputs
    result = model(np.full((3, 4608), 2**-6))
    assert keras.backend.standardize_dtype(result.dtype) == outputs
    result = array(keras.ops.cast(result, "float32"))
    np.testing.assert_allclose(result, 4608**0.5 / 64, rtol=2**-7)
    assert layer.kernel.dtype == kernel
    assert wrapper.weight_norm_gain.dtype == "float32"
    assert keras.backend.standardize_dtype(wrapper.kernel.dtype) == outputs


def test_losses_are_counted_once():
    # One sample: not every version of Keras divides by the size of the batch.
    inputs = np.ones((1, 4), "float32")
    wrapper = WeightNorm(
        keras.layers.Dense(3, activity_regularizer="l2", kernel_regularizer="l2")
    )
    model = keras.Sequential([keras.Input((4,)), wrapper])
    outputs = model(inputs)
    expected = [
        0.01 * np.square(array(outputs)).sum(),
        0.01 * np.square(array(wrapper.layer.kernel)).sum(),
    ]
    np.testing.assert_allclose([array(loss) for loss in model.losses], expected, 1e-5)
    _, _, losses = model.stateless_call(
        model.trainable_variables,
        model.non_trainable_variables,
        inputs,
        return_losses=True,
    )
    np.testing.assert_allclose([array(loss) for loss in losses], expected, 1e-5)


class Noisy(keras.layers.Layer):
    """A layer of somebody else's, with a kernel, a seed and a counter."""

    def build(self, input_shape):
        self.weights_ = self.add_weight(name="w", shape=(3, input_shape[-1]))
        self.count = self.add_weight(name="count", initializer="zeros", trainable=False)
        self.seed = keras.random.SeedGenerator(1)

    def call(self, inputs, training=False):
        self.count.assign_add(1.0)
        outputs = keras.ops.matmul(inputs, keras.ops.transpose(self.weights_))
        if training:
            outputs += keras.random.normal(keras.ops.shape(outputs), seed=self.seed)
        return outputs

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 3)


def test_a_layer_of_somebody_elses():
    wrapper = WeightNorm(Noisy(), gain_initializer=WeightNormGain(1.0))
    inputs = np.ones((2, 4), "float32")
    with pytest.raises(ValueError, match=r"keras_convinit|kernels_of\.register"):
        wrapper(inputs)

    @kernels_of.register
    def _(layer: Noisy):
        geometry = Geometry(1, layer.weights_.shape[1], 3, output_axes=(0,))
        return (Kernel("weights_", layer.weights_, geometry),)

    wrapper = WeightNorm(Noisy(), gain_initializer=WeightNormGain(1.0))
    still = array(wrapper(inputs))
    kernel = array(wrapper.kernel)
    np.testing.assert_allclose(np.square(kernel).sum(1), 4 / 3, rtol=1e-5)
    np.testing.assert_allclose(still, inputs @ kernel.T, rtol=1e-5)
    # The layer's own state is carried on, without scope and in one.
    first, second = (array(wrapper(inputs, training=True)) for _ in range(2))
    assert (first != still).all()
    assert (first != second).all()
    assert array(wrapper.layer.count) == 3
    _, state = wrapper.stateless_call(
        wrapper.trainable_variables, wrapper.non_trainable_variables, inputs
    )
    counts = [
        array(value)
        for variable, value in zip(wrapper.non_trainable_variables, state, strict=True)
        if variable.name == "count"
    ]
    assert counts == [4]
    assert array(wrapper.layer.count) == 3


def test_masks_pass_as_in_the_layer():
    inputs = np.array([[1, 2, 0]])
    embedding = keras.layers.Embedding(3, 4, mask_zero=True)
    masked = embedding(inputs)
    wrapper = WeightNorm(keras.layers.Dense(2))
    outputs = wrapper(masked)
    mask = wrapper.compute_mask(masked, embedding.compute_mask(inputs))
    np.testing.assert_array_equal(array(mask), [[True, True, False]])
    assert outputs.shape == (1, 3, 2)
    with pytest.warns(UserWarning, match="does not support masking"):
        WeightNorm(keras.layers.Conv1D(2, 2))(masked)


def test_a_wrapper_within_a_wrapper():
    layer = keras.layers.TimeDistributed(keras.layers.Dense(3))
    wrapper = WeightNorm(layer, "ones")
    outputs = array(wrapper(np.ones((2, 5, 4), "float32")))
    kernel = array(wrapper.kernel)
    np.testing.assert_allclose(np.square(kernel).sum(0), 1, rtol=1e-5)
    np.testing.assert_allclose(outputs[0, 0], kernel.sum(0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "shape", "kernels"),
    [
        (keras.layers.SeparableConv2D(3, 3), (None, 5, 5, 2), 2),
        (keras.layers.LSTM(3), (None, 5, 2), 2),
        (keras.layers.BatchNormalization(), (None, 5), 0),
    ],
)
def test_there_must_be_one_kernel(layer, shape, kernels):
    with pytest.raises(ValueError, match="exactly one kernel") as caught:
        WeightNorm(layer).build(shape)
    assert f"with {kernels} kernels" in str(caught.value)


def test_the_kernel_must_be_a_variable():
    for layer in (WeightNormDense(3), WeightNorm(keras.layers.Dense(3))):
        with pytest.raises(ValueError, match="must be a variable, and not computed"):
            WeightNorm(layer).build((None, 4))
    lora = keras.layers.Dense(3, lora_rank=1)
    with pytest.raises(ValueError, match="must be a variable, and not computed"):
        WeightNorm(lora).build((None, 4))
    with pytest.raises(ValueError, match=r"Received: layer='Dense'"):
        WeightNorm("Dense")


@pytest.mark.filterwarnings("ignore:Layer (InputLayer|Wrapper)")
def test_quantization_and_lora_are_refused():
    wrapper = WeightNorm(keras.layers.Dense(8))
    model = keras.Sequential([keras.Input((8,)), wrapper])
    for refused in (lambda: wrapper.quantize("int8"), lambda: wrapper.enable_lora(2)):
        with pytest.raises(NotImplementedError, match=r"keras_convinit\.fold"):
            refused()
    # Keras goes past the wrapper and quantizes what is inside.
    model.quantize("int8")
    with pytest.raises(NotImplementedError, match=r"keras_convinit\.fold"):
        wrapper(np.ones((2, 8)))


def test_a_scaled_gain():
    wrapper = WeightNorm(keras.layers.Dense(3), "ones")
    wrapper.scale_gain(0.5)
    wrapper.build((None, 4))
    wrapper.scale_gain(0.5)
    np.testing.assert_array_equal(array(wrapper.weight_norm_gain), 0.25)


def test_a_wrapper_beside_a_drop_in_has_names_of_its_own(tmp_path):
    keras.backend.clear_session()
    inputs = keras.Input((8, 8, 3))
    x = WeightNormConv2D(4, 3)(inputs)
    model = keras.Model(inputs, WeightNorm(keras.layers.Conv2D(4, 3))(x))
    model.compile("adam", "mse")
    model.fit(np.zeros((4, 8, 8, 3)), np.zeros((4, 4, 4, 4)), verbose=0)
    names = [variable.path for variable in model.optimizer.variables]
    assert len(set(names)) == len(names)
    assert model.get_state_tree()
    assert [layer.name for layer in model.layers[1:]] == [
        "weight_norm_conv2d",
        "weight_normalized",
    ]
    assert WeightNorm(keras.layers.Dense(2)).name == "weight_normalized_1"


def test_the_wrapper_takes_the_dtype_of_its_layer():
    layer = keras.layers.Dense(2, dtype="mixed_bfloat16")
    assert WeightNorm(layer, dtype="mixed_bfloat16").layer is layer
    with pytest.raises(ValueError, match="`dtype` must be that of the layer within"):
        WeightNorm(keras.layers.Dense(2), dtype="mixed_bfloat16")


def test_the_wrapper_refuses_what_its_layer_would():
    layer = WeightNorm(keras.layers.Dense(2))
    layer(keras.Input((4,)))
    with pytest.raises(ValueError, match="incompatible with the layer"):
        layer(keras.Input((5,)))


def test_a_layer_that_assigns_its_kernel_is_refused():
    inner = keras.layers.SpectralNormalization(keras.layers.Dense(2))
    with pytest.raises(ValueError, match="`SpectralNormalization` assigns it"):
        WeightNorm(inner)
