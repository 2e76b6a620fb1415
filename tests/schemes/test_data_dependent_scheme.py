"""Mean 0 and standard deviation 1 of every channel, measured from outside."""

import math

import keras
import numpy as np
import pytest

from keras_convinit import initialize, kernels_of
from keras_convinit.layers import (
    ScaledResidualStack,
    WeightNorm,
    WeightNormConv1D,
    WeightNormConv2D,
    WeightNormConv2DTranspose,
    WeightNormConv3D,
    WeightNormDense,
    WeightNormDepthwiseConv2D,
)
from keras_convinit.schemes import DataDependent

layers = keras.layers


def samples(*shape):
    """With means and deviations of all sizes."""
    generator = np.random.default_rng(0)
    scale, shift = generator.uniform(0.2, 5, (2, shape[-1]))
    return (generator.standard_normal(shape) * scale + shift).astype("float32")


def by_channel(x):
    """Mean and population deviation over samples and positions."""
    x = keras.ops.convert_to_numpy(x).astype(np.float64)
    x = x.reshape(-1, x.shape[-1])
    return x.mean(0), x.std(0)


def close(x, deviation=1.0):
    mean, found = by_channel(x)
    np.testing.assert_allclose(mean, 0, atol=1e-4 * deviation)
    np.testing.assert_allclose(found, deviation, rtol=1e-4)


LAYERS = {
    "dense": (lambda: WeightNormDense(6), (64, 5)),
    "conv1d": (lambda: WeightNormConv1D(6, 3, dilation_rate=2), (16, 9, 4)),
    "conv2d": (lambda: WeightNormConv2D(6, 3, strides=2, groups=2), (16, 7, 7, 4)),
    "conv3d": (lambda: WeightNormConv3D(6, 2), (12, 4, 4, 4, 3)),
    "transposed": (
        lambda: WeightNormConv2DTranspose(6, 4, strides=2, padding="same"),
        (16, 5, 5, 4),
    ),
    "depthwise": (
        lambda: WeightNormDepthwiseConv2D(3, depth_multiplier=3),
        (16, 6, 6, 4),
    ),
    "wrapped": (
        lambda: WeightNorm(layers.EinsumDense("abc,cde->aed", (4, 3), bias_axes="ed")),
        (64, 1, 5),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_gives_mean_0_and_deviation_1(name):
    make, shape = LAYERS[name]
    layer = make()
    model = keras.Sequential([keras.Input(shape[1:]), layer])
    data = samples(*shape)
    random = keras.initializers.RandomNormal(0.7)
    initialize(model, "data_dependent", data=data, direction=random, seed=0)
    outputs = keras.ops.convert_to_numpy(model(data))
    if name == "wrapped":
        outputs = outputs.reshape(len(data), -1)
    close(outputs)
    # What a public wrapper does, gains of 1/||v||, is far from it.
    direction = keras.ops.convert_to_numpy(layer.weight_norm_direction)
    axes = kernels_of(layer)[0].geometry.output_axes
    inputs = [i for i in range(direction.ndim) if i - direction.ndim not in axes]
    lengths = np.sqrt(np.square(direction).sum(tuple(inputs)))
    layer.weight_norm_gain.assign(1 / lengths)
    assert np.abs(by_channel(model(data))[1] - 1).max() > 0.2


def test_gains_and_biases_are_those_of_the_formula():
    layer = WeightNormDense(6)
    model = keras.Sequential([keras.Input((5,)), layer])
    data = samples(64, 5)
    report = initialize(model, "data_dependent", data=data, seed=0)
    v = keras.ops.convert_to_numpy(layer.weight_norm_direction).astype(np.float64)
    t = data @ (v / np.sqrt((v**2).sum(0)))
    gain, bias = map(keras.ops.convert_to_numpy, (layer.weight_norm_gain, layer.bias))
    np.testing.assert_allclose(gain, 1 / t.std(0), rtol=1e-4)
    np.testing.assert_allclose(bias, -t.mean(0) / t.std(0), rtol=1e-4, atol=1e-5)
    # Of the sample, and not estimated for the population.
    assert np.abs(gain * t.std(0, ddof=1) - 1).min() > 5e-3
    rules = {row.path.rpartition("/")[2]: row.rule for row in report.rows}
    assert rules["weight_norm_gain"] == "1/sigma"
    assert rules["bias"] == "-mu/sigma"
    assert len(report.rows) == 3


def test_layers_in_a_row_with_their_activations():
    def make(fused):
        inputs = x = keras.Input((8, 8, 3))
        measured = []
        for width in (5, 6, 4):
            name = "relu" if fused else None
            x = WeightNormConv2D(width, 3, activation=name)(x)
            measured.append(x)
            x = x if fused else layers.ReLU()(x)
        x = layers.Dense(3, name="classifier")(layers.Flatten()(x))
        return keras.Model(inputs, x), measured

    model, _ = make(True)
    data = samples(24, 8, 8, 3)
    before = keras.ops.convert_to_numpy(model.get_layer("classifier").kernel)
    report = initialize(model, DataDependent(), data=data, seed=0)
    twin, measured = make(False)
    twin.set_weights(model.get_weights())
    for outputs in keras.Model(twin.input, measured)(data):
        close(outputs)
    after = keras.ops.convert_to_numpy(model.get_layer("classifier").kernel)
    assert not np.allclose(before, after)
    limit = math.sqrt(6 / sum(after.shape))
    assert np.abs(after).max() <= limit
    rules = {row.path: row.rule for row in report.rows}
    assert rules["classifier/kernel"] == "as its layer starts"


def residual():
    inputs = keras.Input((6, 6, 3))
    x = WeightNormConv2D(8, 1)(inputs)
    parts = []
    for block in range(4):
        y = WeightNormConv2D(8, 3, padding="same", activation="relu")(x)
        y = WeightNormConv2D(8, 3, padding="same")(y)
        through = WeightNormConv2D(8, 1)(x) if block == 0 else x
        parts.append((through, y))
        x = layers.Add()([through, y])
    parts.append((x, x))
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(3)(x))
    return model, keras.Model(inputs, parts)


@pytest.mark.parametrize("scaled", [False, True, None])
def test_residual_blocks(scaled):
    model, probe = residual()
    data = samples(24, 6, 6, 3)
    # If nothing is said they are not.
    said = {} if scaled is None else {"scaled": scaled}
    initialize(model, "data_dependent", data=data, seed=0, **said)
    *parts, (end, _) = probe(data)
    for _, branch in parts:
        close(branch, 0.5 if scaled else 1.0)
    # The projection is normalized, and nothing behind the sum.
    close(parts[0][0])
    growth = (by_channel(end)[1] ** 2).mean()
    assert growth == pytest.approx(2 if scaled else 5, rel=0.35)


def test_a_stack_divides_its_branches_itself():
    stack = ScaledResidualStack(
        [WeightNormDense(6, activation="relu"), WeightNormDense(6)], 3
    )
    model = keras.Sequential([keras.Input((6,)), stack])
    data = samples(64, 6)
    initialize(model, "data_dependent", data=data, scaled=True, seed=0)
    x = keras.ops.convert_to_tensor(data)
    for block in stack.unrolled():
        y = block.branch(x)
        close(y)
        x = x + y / 3**0.5


def test_dead_channels_keep_their_gains():
    layer = WeightNormDense(3, bias_initializer="ones", name="dense")
    model = keras.Sequential([keras.Input((4,)), layer])
    layer.weight_norm_gain.assign([5.0, 6.0, 7.0])
    data = samples(32, 4)
    data[:, 2:] = 250.25
    # The last unit sees what is constant, and whose rounding is not.
    v = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0.3], [0, 0, 0.7]], "float32")

    class Given(keras.initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return keras.ops.convert_to_tensor(v, dtype=dtype)

    scheme = DataDependent(direction=Given())
    report = initialize(model, scheme, data=data, seed=0)
    gain, bias = map(keras.ops.convert_to_numpy, (layer.weight_norm_gain, layer.bias))
    assert gain[2] == 7
    assert bias[2] == 1
    np.testing.assert_allclose(gain[:2], 1 / data.std(0)[:2], rtol=1e-4)
    assert "dense: constant channels keep their gains: 2" in report.notes
    assert np.isfinite(keras.ops.convert_to_numpy(model(data))).all()


def test_without_a_bias_the_mean_stays():
    layer = WeightNormDense(3, use_bias=False, name="dense")
    model = keras.Sequential([keras.Input((4,)), layer])
    data = samples(32, 4)
    report = initialize(model, "data_dependent", data=data, seed=0)
    mean, deviation = by_channel(model(data))
    np.testing.assert_allclose(deviation, 1, rtol=1e-4)
    assert np.abs(mean).max() > 0.1
    assert any("without a bias" in note for note in report.notes)


def test_a_bias_that_units_share_stays():
    einsum = layers.EinsumDense("ab,bcd->acd", (4, 3), bias_axes="d")
    model = keras.Sequential([keras.Input((5,)), WeightNorm(einsum)])
    einsum.bias.assign([1.0, 2.0, 3.0])
    data = samples(64, 5)
    report = initialize(model, "data_dependent", data=data, others="keep", seed=0)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(einsum.bias), [1, 2, 3])
    outputs = keras.ops.convert_to_numpy(model(data))
    np.testing.assert_allclose(outputs.std(0), 1, rtol=1e-4)
    assert report.rows[-1].output_std_after == pytest.approx(outputs.std(), rel=1e-4)


def test_the_classifier_is_the_callers_to_choose():
    classifier = layers.Dense(3)
    model = keras.Sequential([keras.Input((4,)), WeightNormDense(6), classifier])
    data = samples(64, 4)
    initialize(model, "data_dependent", data=data, classifier="zeros", seed=0)
    assert not keras.ops.convert_to_numpy(classifier.kernel).any()
    initialize(model, "data_dependent", data=data, classifier="same", seed=0)
    close(model(data))


def test_for_weight_normalized_layers():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    with pytest.raises(
        ValueError, match=r'weight-normalized.*"auto".*Received: a model'
    ):
        initialize(model, "data_dependent", data=samples(8, 4))


SEPARABLE = {
    "one dimension": (WeightNormConv1D, layers.SeparableConv1D, (8, 3)),
    "two dimensions": (WeightNormConv2D, layers.SeparableConv2D, (8, 8, 3)),
}


@pytest.mark.parametrize("others", ["reset", "keep"])
@pytest.mark.parametrize("filters", [2, 4])
@pytest.mark.parametrize("name", SEPARABLE)
def test_a_separable_classifier_starts_as_its_layer_says(name, filters, others):
    conv, separable, shape = SEPARABLE[name]
    head = separable(
        filters,
        3,
        depthwise_initializer="ones",
        pointwise_initializer=keras.initializers.Constant(0.5),
    )
    pooled = getattr(layers, f"GlobalAveragePooling{len(shape) - 1}D")()
    model = keras.Sequential(
        [keras.Input(shape), conv(4, 3, activation="relu"), head, pooled]
    )
    report = initialize(
        model, "data_dependent", samples(16, *shape), seed=0, others=others
    )
    assert (keras.ops.convert_to_numpy(head.depthwise_kernel) == 1).all()
    assert (keras.ops.convert_to_numpy(head.pointwise_kernel) == 0.5).all()
    measured = [row.path for row in report.rows if row.output_std_after is not None]
    assert measured == [model.layers[0].weight_norm_gain.path]


@pytest.mark.parametrize("which", ["depthwise_kernel", "pointwise_kernel"])
def test_a_separable_layer_of_which_one_kernel_is_kept(which):
    separable = layers.SeparableConv2D(4, 3, name="separable")
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            WeightNormConv2D(4, 3, activation="relu"),
            separable,
            WeightNormConv2D(4, 3),
        ]
    )
    kernel = getattr(separable, which)
    before = np.array(keras.ops.convert_to_numpy(kernel))
    kernel.trainable = False
    data = samples(16, 8, 8, 3)
    report = initialize(model, "data_dependent", data, seed=0)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(kernel), before)
    assert [one.path for one in report.skipped] == [kernel.path]
    close(model(data))
    x = separable(model.layers[0](data))
    if which == "depthwise_kernel":
        close(x)
    else:
        # What does not give the outputs cannot normalize them.
        assert not any(
            "separable" in r.path and r.output_std_after for r in report.rows
        )
