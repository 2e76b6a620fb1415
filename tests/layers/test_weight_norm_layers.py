"""The drop-ins, against PyTorch and against the ordinary layers."""

import inspect
import json

import keras
import numpy as np
import pytest

from keras_convinit import kernels_of
from keras_convinit.initializers import WeightNormGain
from keras_convinit.layers import WeightNormConv2D, WeightNormDense


def of_pytorch(layer, direction, gain, bias, inputs, slopes):
    """Outputs and gradients of v, g and the bias by PyTorch's weight_norm."""
    import torch
    from torch.nn.utils.parametrizations import weight_norm

    *positions, _, outputs = direction.shape
    rank = len(positions)
    options, dim = {"bias": bias is not None}, 0
    to_torch = (rank + 1, rank, *range(rank))
    if rank:
        padding = 0
        if layer.padding == "same":
            padding = [
                d * (size - 1) // 2
                for d, size in zip(layer.dilation_rate, positions, strict=True)
            ]
        options |= {"stride": layer.strides, "dilation": layer.dilation_rate}
        options |= {"kernel_size": tuple(positions), "padding": padding}
    name = type(layer).__name__
    if name == "WeightNormDense":
        module = torch.nn.Linear(*direction.shape, **options)
    elif name == "WeightNormDepthwiseConv2D":
        channels = direction.shape[-2]
        module = torch.nn.Conv2d(
            channels, channels * outputs, groups=channels, **options
        )
        to_torch = (rank, rank + 1, *range(rank))
    elif name == "WeightNormConv2DTranspose":
        outputs, dim = direction.shape[-2], 1
        module = torch.nn.ConvTranspose2d(inputs.shape[-1], outputs, **options)
    else:
        convolution = getattr(torch.nn, f"Conv{rank}d")
        module = convolution(inputs.shape[-1], outputs, groups=layer.groups, **options)

    module = weight_norm(module.double(), dim=dim)
    g = module.parametrizations.weight.original0
    v = module.parametrizations.weight.original1
    with torch.no_grad():
        v.copy_(torch.tensor(direction.transpose(to_torch)).reshape(v.shape))
        g.copy_(torch.tensor(gain).reshape(g.shape))
        if bias is not None:
            module.bias.copy_(torch.tensor(bias))
    y = module(torch.tensor(inputs).double().movedim(-1, 1)).movedim(1, -1)
    y = getattr(torch, layer.activation.__name__, lambda x: x)(y)
    (y * torch.tensor(slopes)).sum().backward()
    of_v = v.grad.reshape([direction.shape[axis] for axis in to_torch]).numpy()
    found = [of_v.transpose(np.argsort(to_torch)), g.grad.numpy().reshape(gain.shape)]
    if bias is not None:
        found.append(module.bias.grad.numpy())
    return y.detach().numpy(), found


def check_close(actual, expected):
    """To 1e-5 of the largest."""
    actual = np.asarray(actual)
    np.testing.assert_allclose(
        actual, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max()
    )


def test_outputs_and_gradients_are_those_of_pytorch(case, differentiate, snapshot):
    layer = case.built_layer()
    inputs = case.inputs()
    shape = layer.compute_output_shape(inputs.shape)
    slopes = np.random.default_rng(1).standard_normal(shape)
    variables = [layer.weight_norm_direction, layer.weight_norm_gain]
    variables += [layer.bias] if layer.use_bias else []
    before = snapshot(layer)
    outputs, found = differentiate(lambda: layer(inputs), variables, slopes)
    for old, new in zip(before, snapshot(layer), strict=True):
        np.testing.assert_array_equal(old, new)

    values = [keras.ops.convert_to_numpy(v).astype(float) for v in variables]
    direction, gain, bias = [*values, None][:3]
    expected_outputs, expected = of_pytorch(
        layer, direction, gain, bias, inputs, slopes
    )
    check_close(outputs, expected_outputs)
    for actual, gradient in zip(found, expected, strict=True):
        check_close(actual, gradient)

    # The length of a filter has no effect, so no gradient changes it.
    (kernel,) = kernels_of(layer)
    axes = {axis % direction.ndim for axis in kernel.geometry.output_axes}
    inputs_of_filter = tuple(set(range(direction.ndim)) - axes)
    along = (found[0] * direction).sum(inputs_of_filter)
    lengths = np.square(found[0]).sum(inputs_of_filter) ** 0.5
    lengths *= np.square(direction).sum(inputs_of_filter) ** 0.5
    assert np.abs(along / lengths).max() < 1e-5


def test_names_and_geometry(case):
    argument = case.weight_norm_class.kernel_initializer_argument
    layer, ordinary = case.built_layer(), case.ordinary_layer(**{argument: "zeros"})
    ordinary.build((None, *case.shape))
    names = ["weight_norm_direction", "bias", "weight_norm_gain"]
    if not layer.use_bias:
        names.remove("bias")
    assert [variable.name for variable in layer.variables] == names
    assert layer.trainable_variables == layer.variables
    (kernel,), (expected,) = kernels_of(layer), kernels_of(ordinary)
    assert kernel.geometry == expected.geometry
    assert kernel.name == "weight_norm_direction"
    assert kernel.variable is layer.weight_norm_direction
    assert tuple(layer.kernel.shape) == tuple(ordinary.kernel.shape)
    # One gain for each channel of the output.
    channels = layer.compute_output_shape((None, *case.shape))[-1]
    assert np.prod(layer.weight_norm_gain.shape) == channels


def test_the_signature_is_the_ordinary_one_and_the_gain(class_case):
    signature = inspect.signature(class_case.weight_norm_class).parameters
    ordinary = inspect.signature(class_case.ordinary_class).parameters
    assert set(signature) == {*ordinary, "gain_initializer"}
    argument = class_case.weight_norm_class.kernel_initializer_argument
    for name, parameter in ordinary.items():
        default = "orthogonal" if name == argument else parameter.default
        assert signature[name].default == default
        assert signature[name].kind == parameter.kind


def test_the_config_is_the_ordinary_one_and_the_gain(class_case):
    layer = class_case.layer(name="layer")
    argument = class_case.weight_norm_class.kernel_initializer_argument
    ordinary = class_case.ordinary_layer(name="layer", **{argument: "orthogonal"})
    config = layer.get_config()
    assert config.pop("gain_initializer")["registered_name"] == (
        "keras_convinit>WeightNormGain"
    )
    assert config == ordinary.get_config()
    assert list(layer.get_config())[-1] == "gain_initializer"
    signature = inspect.signature(class_case.weight_norm_class).parameters
    assert set(config) - set(signature) == {"name", "trainable", "dtype"}
    # What is missing is what the ordinary layer leaves out, in this version of Keras.
    left_out = set(inspect.signature(class_case.ordinary_class).parameters)
    left_out -= set(ordinary.get_config())
    assert set(signature) - set(layer.get_config()) == left_out


OPTIONS = {
    "activation": "relu",
    "use_bias": False,
    "bias_initializer": "ones",
    "bias_regularizer": keras.regularizers.L2(0.1),
    "bias_constraint": keras.constraints.NonNeg(),
    "gain_initializer": keras.initializers.Constant(2.0),
    "dtype": "mixed_bfloat16",
    "trainable": False,
    "name": "some_name",
}


def test_every_argument_survives_the_config(class_case):
    cls = class_case.weight_norm_class
    prefix = cls.kernel_initializer_argument.removesuffix("_initializer")
    options = {
        **OPTIONS,
        f"{prefix}_initializer": "zhang_forward",
        f"{prefix}_regularizer": "l2",
        f"{prefix}_constraint": "max_norm",
    }
    layer = class_case.layer(**options)
    config = json.loads(json.dumps(layer.get_config()))
    twin = cls.from_config(config)
    assert json.loads(json.dumps(twin.get_config())) == config
    assert layer.name == "some_name"
    assert layer.dtype_policy.name == "mixed_bfloat16"
    # As does one that Keras finds by its registered name.
    serialized = keras.saving.serialize_keras_object(layer)
    assert serialized["registered_name"] == f"keras_convinit>{cls.__name__}"
    assert type(keras.saving.deserialize_keras_object(serialized)) is cls


def test_arguments_may_be_given_by_position():
    layer = WeightNormConv2D(
        8, 3, 2, "same", None, 1, 2, "relu", False, "he_normal", "ones"
    )
    assert (layer.filters, layer.strides, layer.groups) == (8, (2, 2), 2)
    assert type(layer.kernel_initializer) is keras.initializers.HeNormal
    layer = WeightNormConv2D(8, 3, 2, "same")
    assert type(layer.kernel_initializer).__name__.startswith("Orthogonal")


def test_unknown_arguments_are_rejected(class_case):
    with pytest.raises(ValueError, match="Unrecognized keyword arguments"):
        class_case.layer(kernel_initializers="zeros")
    with pytest.raises(ValueError, match="gain_initializer=None"):
        class_case.layer(gain_initializer=None)


def test_regularizer_and_constraint_are_about_the_direction(class_case):
    prefix = class_case.weight_norm_class.kernel_initializer_argument
    prefix = prefix.removesuffix("_initializer")
    layer = class_case.built_layer(
        **{f"{prefix}_regularizer": keras.regularizers.L2(0.5)},
        **{f"{prefix}_constraint": keras.constraints.NonNeg()},
    )
    direction = keras.ops.convert_to_numpy(layer.weight_norm_direction)
    (loss,) = layer.losses
    loss = keras.ops.convert_to_numpy(loss)
    assert loss == pytest.approx(np.square(direction).sum() / 2, rel=1e-5)
    assert isinstance(layer.weight_norm_direction.constraint, keras.constraints.NonNeg)


def test_orthogonal_directions_keep_their_directions():
    layer = WeightNormDense(4, gain_initializer="ones")
    layer.build((None, 6))
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    np.testing.assert_allclose(kernel.T @ kernel, np.eye(4), atol=1e-5)


@pytest.mark.skipif(
    keras.backend.backend() == "tensorflow",
    reason="TensorFlow has few channels-first operations for CPUs",
)
@pytest.mark.parametrize("name", ["Conv2D", "Conv2DTranspose"])
def test_channels_first(name, cases):
    case = cases[name]
    last = case.built_layer()
    first = case.layer(data_format="channels_first", kernel_initializer="zeros")
    inputs = case.inputs()
    expected = keras.ops.convert_to_numpy(last(inputs))
    first.build((None, case.shape[-1], *case.shape[:-1]))
    first.set_weights(last.get_weights())
    outputs = keras.ops.convert_to_numpy(first(np.moveaxis(inputs, -1, 1)))
    check_close(np.moveaxis(outputs, 1, -1), expected)


def test_the_kernel_is_not_assigned(class_case):
    layer = class_case.layer()
    with pytest.raises(AttributeError):
        _ = layer.kernel
    layer = class_case.built_layer()
    with pytest.raises(AttributeError, match="`weight_norm_direction` and"):
        layer.kernel = layer.weight_norm_gain


def test_quantization_and_lora_are_refused(class_case):
    layer = class_case.built_layer()
    for refused in (
        lambda: layer.quantize("int8"),
        lambda: layer.enable_lora(2),
        lambda: WeightNormDense(3, lora_rank=2),
        lambda: WeightNormDense(3, dtype="int8_from_float32"),
    ):
        with pytest.raises(NotImplementedError, match=r"`.*keras_convinit\.fold"):
            refused()


@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have")
def test_a_model_that_is_quantized_warns_of_it():
    layer = WeightNormDense(3, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((4,)), layer])
    with pytest.warns(UserWarning, match=r"keras_convinit\.fold"):
        model.quantize("int8")


def test_a_scaled_gain():
    plain, before, after = (
        WeightNormDense(3, kernel_initializer="ones") for _ in range(3)
    )
    before.scale_gain(0.5)
    before.scale_gain(0.25)
    for layer in (plain, before, after):
        layer.build((None, 4))
    after.scale_gain(0.125)
    gain = keras.ops.convert_to_numpy(plain.weight_norm_gain)
    for layer in (before, after):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(layer.weight_norm_gain), gain / 8, rtol=1e-6
        )
        assert set(layer.get_config()) == set(plain.get_config())
        twin = WeightNormDense.from_config(layer.get_config())
        twin.build((None, 4))
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(twin.weight_norm_gain), gain
        )
    with pytest.raises(ValueError, match=r"`factor` must be .* Received: factor=0"):
        plain.scale_gain(0)


class Lazy(keras.Model):
    """Builds its layer when it is first called, and scales the gain then."""

    def __init__(self):
        super().__init__()
        self.dense = WeightNormDense(3, gain_initializer="ones")

    def build(self, input_shape):
        self.dense.scale_gain(0.5)
        self.dense.build(input_shape)

    def call(self, inputs):
        return self.dense(inputs)


def test_a_gain_scaled_while_a_model_is_traced():
    model = Lazy()
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(np.ones((2, 4)), np.ones((2, 3)), verbose=0)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(model.dense.weight_norm_gain), 0.5
    )


def test_a_gain_computed_while_a_model_is_traced():
    model = Lazy()
    model.dense.gain_initializer = WeightNormGain(mode="kernel")
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(np.ones((2, 4)), np.ones((2, 3)), verbose=0)
    direction = keras.ops.convert_to_numpy(model.dense.weight_norm_direction)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(model.dense.weight_norm_gain),
        np.sqrt(np.square(direction).sum(0)) / 2,
        rtol=1e-5,
    )
