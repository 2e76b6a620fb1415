"""What is frozen, adapted or quantized keeps its values, whatever the scheme."""

import keras
import numpy as np
import pytest

from keras_convinit import fold, initialize, kernels_of, schemes
from keras_convinit.layers import (
    ScaledResidualStack,
    WeightNorm,
    WeightNormConv2D,
    WeightNormDense,
)

layers = keras.layers
X = np.random.default_rng(0).standard_normal((16, 8)).astype("float32")
Y = np.zeros((16, 3), "float32")
LOSS = {"data": (X, Y), "loss": "mean_squared_error"}
SCHEMES = {
    "auto": ("auto", {}),
    "he_normal": ("he_normal", {}),
    "lsuv": ("lsuv", {"data": X}),
    "data_dependent": ("data_dependent", {"data": X}),
    "gradinit": (schemes.GradInit(2, batch_size=8, verbose=False), LOSS),
    "metainit": (schemes.MetaInit(2, batch_size=8, verbose=False), LOSS),
    "metainit alone": (
        schemes.MetaInit(2, batch_size=8, verbose=False, start=None),
        LOSS,
    ),
}
every_scheme = pytest.mark.parametrize("name", SCHEMES)


def network(*body):
    """With a weight-normalized layer, so that every scheme takes it."""
    first = WeightNormDense(8, activation="relu", name="first")
    return keras.Sequential(
        [keras.Input((8,)), first, *body, layers.Dense(3, name="head")]
    )


def apply(model, name, **more):
    scheme, arguments = SCHEMES[name]
    return initialize(model, scheme, seed=0, **arguments, **more)


def left(report):
    return {one.path.split("/", 1)[1]: one.reason for one in report.skipped}


def unlike_a_start(*variables):
    """Values that nothing draws, where a variable holds numbers and not codes."""
    for variable in variables:
        if keras.backend.is_float_dtype(variable.dtype):
            variable.assign(np.full(variable.shape, 0.625))


def numbers(variables):
    return {v.path: np.array(keras.ops.convert_to_numpy(v)) for v in variables}


def same(variables, before):
    return all(
        np.array_equal(v, before[path]) for path, v in numbers(variables).items()
    )


@every_scheme
@pytest.mark.parametrize("which", ["kernel", "bias"])
def test_a_variable_that_is_not_trained(name, which):
    model = network(layers.Dense(8, name="body"))
    body = model.get_layer("body")
    unlike_a_start(*body.variables)
    getattr(body, which).trainable = False
    report = apply(model, name)
    assert (keras.ops.convert_to_numpy(getattr(body, which)) == 0.625).all()
    if name != "metainit alone" or which == "kernel":
        whose = "its kernel" if which == "kernel" else "it"
        assert left(report)[f"body/{which}"] == f"{whose} is not trained"
    assert not any(row.path.endswith(f"body/{which}") for row in report.rows)
    head = keras.ops.convert_to_numpy(model.get_layer("head").kernel)
    assert any(row.path.endswith("head/kernel") for row in report.rows)
    assert np.isfinite(head).all()


@every_scheme
@pytest.mark.parametrize("which", ["weight_norm_gain", "weight_norm_direction", "bias"])
def test_of_a_weight_normalized_layer(name, which):
    model = network(WeightNormDense(8, name="body"))
    body = model.get_layer("body")
    variable = getattr(body, which)
    unlike_a_start(*body.variables)
    variable.trainable = False
    before = numbers(body.variables)
    report = apply(model, name)
    assert same([variable], before)
    if which != "bias":
        # Gain and direction are one kernel.
        assert same([body.weight_norm_gain, body.weight_norm_direction], before)
        what = "gain" if which == "weight_norm_gain" else "kernel"
        assert [one.reason for one in report.skipped] == (
            [f"its {what} is not trained"] * 2
        )


def test_data_dependent_leaves_a_bias_and_hands_on_what_really_comes_out():
    model = network(WeightNormDense(8, name="body"), WeightNormDense(8, name="next"))
    body = model.get_layer("body")
    unlike_a_start(body.bias)
    body.bias.trainable = False
    report = apply(model, "data_dependent")
    assert any("body" in note and "the means stay" in note for note in report.notes)
    x = X
    for each in model.layers[:3]:
        x = each(x)
    x = keras.ops.convert_to_numpy(x)
    # Only if the layer before was seen with its bias.
    np.testing.assert_allclose(x.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(x.std(0), 1, rtol=1e-3)


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_a_bias_that_is_kept_is_one_for_each_channel(data_format):
    if keras.backend.backend() == "tensorflow" and data_format == "channels_first":
        pytest.skip("TensorFlow has no such convolution on a processor")
    shape = (3, 6, 6) if data_format == "channels_first" else (6, 6, 3)
    conv, behind = (
        WeightNormConv2D(4, 3, data_format=data_format, name=name)
        for name in ("conv", "behind")
    )
    model = keras.Sequential([keras.Input(shape), conv, behind])
    conv.bias.assign([1.0, 2.0, 3.0, 4.0])
    conv.bias.trainable = False
    x = np.random.default_rng(0).standard_normal((8, *shape)).astype("float32")
    initialize(model, "data_dependent", x, seed=0)
    outputs = np.array(keras.ops.convert_to_numpy(model(x)))
    channels = 1 if data_format == "channels_first" else 3
    others = tuple(axis for axis in range(4) if axis != channels)
    np.testing.assert_allclose(outputs.mean(others), 0, atol=1e-4)
    np.testing.assert_allclose(outputs.std(others), 1, rtol=1e-3)


@pytest.mark.parametrize("name", ["auto", "lsuv"])
def test_of_a_stack(name):
    stack = ScaledResidualStack(layers.Dense(8, use_bias=True), 3, name="stack")
    model = network(stack)
    kernel, bias = stack.weights
    unlike_a_start(kernel, bias)
    bias.trainable = False
    report = apply(model, name)
    assert (keras.ops.convert_to_numpy(bias) == 0.625).all()
    assert not (keras.ops.convert_to_numpy(kernel) == 0.625).any()
    assert list(left(report).values()) == ["it is not trained"]


def test_of_one_part_of_a_composite_layer():
    layer = layers.MultiHeadAttention(2, 4, name="attention")
    inputs = keras.Input((5, 8))
    model = keras.Model(inputs, layers.Dense(3)(layer(inputs, inputs)))
    layer.query_dense.trainable = False
    before = numbers(layer.query_dense.variables)
    report = initialize(model, "auto", seed=0)
    assert same(layer.query_dense.variables, before)
    assert {one.path for one in report.skipped} == set(before)
    assert len(report.rows) == len(model.variables) - len(before)


class Buffered(layers.Layer):
    """One variable that is a state by nature, and one that is trained."""

    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=(8,), initializer="ones")
        self.count = self.add_weight(
            name="count", shape=(8,), initializer="zeros", trainable=False
        )

    def call(self, x):
        return x * self.scale


def test_states_start_again():
    model = network(
        Buffered(name="buffered"),
        layers.BatchNormalization(name="norm"),
        layers.SpectralNormalization(layers.Dense(8), name="spectral"),
    )
    states = [
        variable
        for name in ("buffered", "norm", "spectral")
        for variable in model.get_layer(name).non_trainable_variables
    ]
    unlike_a_start(*states)
    report = apply(model, "auto")
    assert len(states) == 4
    for variable in states:
        assert not (keras.ops.convert_to_numpy(variable) == 0.625).any(), variable.path
    assert not report.skipped


def test_what_was_frozen_of_a_layer_with_states_stays():
    model = network(Buffered(name="buffered"), layers.BatchNormalization(name="norm"))
    frozen = [model.get_layer("buffered").scale, model.get_layer("norm").gamma]
    unlike_a_start(*model.get_layer("buffered").variables, *frozen)
    for variable in frozen:
        variable.trainable = False
    report = apply(model, "auto")
    assert left(report) == dict.fromkeys(
        ("buffered/scale", "norm/gamma"), "it is not trained"
    )
    assert (keras.ops.convert_to_numpy(model.get_layer("buffered").count) == 0).all()


ADAPTED = {
    "Dense": (lambda: layers.Dense(8, name="body"), (8,)),
    "EinsumDense": (
        lambda: layers.EinsumDense("abc,cd->abd", (4, 8), bias_axes="d", name="body"),
        (4, 8),
    ),
    "Conv2D": (lambda: layers.Conv2D(8, 3, padding="same", name="body"), (6, 6, 8)),
}


@pytest.mark.parametrize("scheme", ["auto", "orthogonal", "lsuv", "metainit"])
@pytest.mark.parametrize("kind", ADAPTED)
def test_a_layer_that_is_adapted_by_lora(kind, scheme):
    make, shape = ADAPTED[kind]
    body, head = make(), layers.Dense(3, name="head")
    model = keras.Sequential([keras.Input(shape), body, head])
    body.enable_lora(2)
    unlike_a_start(*body.variables)
    before, first = numbers(body.variables), numbers(head.variables)
    x = np.random.default_rng(0).standard_normal((8, *shape)).astype("float32")
    arguments = {"data": x}
    if scheme == "metainit":
        outputs = np.zeros((8, *model.output_shape[1:]), "float32")
        arguments = {"data": (x, outputs), "loss": "mean_squared_error"}
        scheme = schemes.MetaInit(2, batch_size=4, verbose=False)
    report = initialize(model, scheme, seed=0, **arguments)
    assert same(body.variables, before)
    assert not same([head.kernel], first)
    assert {one.path for one in report.skipped} == set(before)
    assert {one.reason for one in report.skipped} == {"its layer is adapted by LoRA"}
    (kernel,) = kernels_of(body)
    assert kernel.computed
    assert kernel.variable.path == f"{body.path}/kernel"
    assert kernel.geometry.in_channels == 8


def test_a_new_head_on_a_body_that_is_frozen_and_adapted():
    model = network(layers.Dense(8, name="body"))
    body = model.get_layer("body")
    body.enable_lora(2)
    body.trainable = False
    before = numbers(body.variables)
    report = apply(model, "auto")
    assert same(body.variables, before)
    assert "its layer is frozen" in left(report).values()


def test_weight_norm_takes_no_kernel_that_is_computed():
    dense = layers.Dense(8)
    dense.build((None, 8))
    dense.enable_lora(2)
    with pytest.raises(ValueError, match="must be a variable, and not computed"):
        WeightNorm(dense).build((None, 8))


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")
@pytest.mark.parametrize("mode", ["int8", "int4"])
@pytest.mark.parametrize("scheme", ["auto", "lsuv"])
def test_a_layer_that_is_quantized(mode, scheme):
    model = fold(network(layers.Dense(8, name="body")))
    body = model.get_layer("body")
    body.quantize(mode)
    unlike_a_start(body.bias)
    before = numbers(body.variables)
    report = apply(model, scheme)
    assert same(body.variables, before)
    assert {one.path for one in report.skipped} == set(before)
    reasons = {one.reason for one in report.skipped}
    assert reasons == {f"its layer is quantized to {mode}"}
    assert any(row.path.endswith("head/kernel") for row in report.rows)
    (kernel,) = kernels_of(body)
    assert kernel.computed
    assert (kernel.geometry.in_channels, kernel.geometry.out_channels) == (8, 8)


class Unknown(layers.Layer):
    """A matrix of its own."""

    def build(self, shape):
        self.matrix = self.add_weight(shape=(shape[-1], 8), name="matrix")

    def call(self, x):
        return keras.ops.matmul(x, self.matrix)

    def compute_output_shape(self, shape):
        return (*shape[:-1], 8)


@pytest.mark.parametrize("name", ["auto", "he_normal", "lsuv", "data_dependent"])
def test_kernels_of_unknown_layers_are_named(name):
    layer = Unknown(name="unknown")
    model = network(layer)
    unlike_a_start(layer.matrix)
    before = numbers([layer.matrix])
    report = apply(model, name, others="keep")
    reasons = {one.path: one.reason for one in report.skipped}
    assert "not known" in reasons[layer.matrix.path]
    np.testing.assert_equal(numbers([layer.matrix]), before)
    report = apply(model, name)
    (row,) = (row for row in report.rows if row.path == layer.matrix.path)
    assert row.rule == "as its unknown layer starts"
    assert "unknown/matrix" in str(report)
    assert not report.skipped
    assert (numbers([layer.matrix])[layer.matrix.path] != 0.625).all()
