import keras
import numpy as np
import pytest
from helpers.counting import ZEROS, residual_network, trainable_parameters

from keras_convinit.analysis import analyze
from keras_convinit.lab.models import resnet_cifar

pytestmark = pytest.mark.once


def test_parameters_of_the_first_paper():
    assert trainable_parameters(resnet_cifar(110, **ZEROS)) == 1_728_058


@pytest.mark.parametrize(
    ("depth", "classes", "millions"),
    [(56, 10, 0.856), (110, 10, 1.731), (164, 100, 2.612)],
)
def test_parameters_of_the_second_paper(depth, classes, millions):
    blocks = [(depth - 2) // 6] * 3
    # A bias and a gain for each channel.
    expected = residual_network((16, 32, 64), blocks, classes, stem=16, per_output=2)
    model = resnet_cifar(
        depth, num_classes=classes, normalization="weight", stacks=True, **ZEROS
    )
    assert trainable_parameters(model) == expected
    assert round(expected / 1e6, 3) == millions


@pytest.mark.parametrize("normalization", ["batch", "weight", None])
@pytest.mark.parametrize("use_bias", [False, True])
def test_biases_are_as_asked_for(normalization, use_bias):
    model = resnet_cifar(
        8, width=2, normalization=normalization, use_bias=use_bias, **ZEROS
    )
    biases = [v for v in model.trainable_variables if v.path.endswith("bias")]
    # A stem, two for each of three blocks, projections, and the classifier.
    projections = 0 if normalization == "batch" else 2
    assert len(biases) == (7 + projections) * use_bias + 1


@pytest.mark.parametrize("normalization", ["batch", "weight", None])
def test_stages_are_read(normalization):
    graph = analyze(resnet_cifar(20, width=2, normalization=normalization, **ZEROS))
    assert graph.stages == (3, 3, 3)
    assert not graph.conflicts
    assert not graph.unread


@pytest.mark.everywhere
def test_shortcut_takes_every_other_position_and_adds_zeros():
    model = resnet_cifar(8, width=2, input_shape=(8, 6, 3), kernel_initializer="ones")
    name = "stage_2_block_1"
    before = model.get_layer("stage_1_block_1_activation_2").output
    normalized = model.get_layer(f"{name}_subsampling_normalization").output
    through, _ = model.get_layer(f"{name}_sum").input
    parts = keras.Model(model.inputs, [before, normalized, through])
    images = np.random.default_rng(0).normal(size=(2, 8, 6, 3)).astype("float32")
    before, normalized, through = map(keras.ops.convert_to_numpy, parts(images))
    # New averages are 0 and 1.
    expected = before[:, ::2, ::2] / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(normalized, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(through[..., :2], normalized)
    assert through.shape == (2, 4, 3, 4)
    assert not through[..., 2:].any()
    assert normalized.any()


@pytest.mark.everywhere
def test_strided_convolution_is_centered_on_what_the_shortcut_takes():
    model = resnet_cifar(8, width=1, input_shape=(8, 8, 1), **ZEROS)
    names = ("padding", None)
    layers = [
        model.get_layer("_".join(filter(None, ("stage_2_block_1_convolution_1", n))))
        for n in names
    ]
    kernel = np.zeros((3, 3, 1, 2), "float32")
    kernel[1, 1] = 1
    layers[1].kernel.assign(kernel)
    x = np.arange(64, dtype="float32").reshape(1, 8, 8, 1)
    y = keras.ops.convert_to_numpy(layers[1](layers[0](x)))
    np.testing.assert_array_equal(y[..., :1], x[:, ::2, ::2])


def test_blocks_end_with_relu_after_batch_normalization():
    model = resnet_cifar(8, width=2, **ZEROS)
    names = [layer.name for layer in model.layers]
    begin = names.index("stage_1_block_1_convolution_1")
    assert names[begin : begin + 7] == [
        f"stage_1_block_1_{part}"
        for part in (
            "convolution_1",
            "normalization_1",
            "activation_1",
            "convolution_2",
            "normalization_2",
            "sum",
            "activation_2",
        )
    ]
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            assert (layer.momentum, layer.epsilon) == (0.9, 1e-5)


def gain(layer):
    return keras.ops.convert_to_numpy(layer.weight_norm_gain)


def test_gains_and_factors_are_those_of_the_second_paper():
    model = resnet_cifar(14, width=4, normalization="weight", **ZEROS)
    # No ReLU follows the stem: sqrt(1 * 3 / 4).
    np.testing.assert_allclose(gain(model.get_layer("stem")), np.sqrt(3 / 4), rtol=1e-6)
    first = model.get_layer("stage_2_block_1")
    parts = {layer.name: layer for layer in first.branch.layers}
    # gamma 2 for the first one, from 4 channels to 8; 1/2 for the last one.
    np.testing.assert_allclose(gain(parts["convolution_1"]), 1, rtol=1e-6)
    np.testing.assert_allclose(gain(parts["convolution_2"]), np.sqrt(1 / 2), rtol=1e-6)
    (projection,) = first.shortcut.layers
    np.testing.assert_allclose(gain(projection), np.sqrt(1 / 2), rtol=1e-6)
    second = model.get_layer("stage_2_block_2")
    parts = {layer.name: layer for layer in second.branch.layers}
    np.testing.assert_allclose(gain(parts["convolution_1"]), np.sqrt(2), rtol=1e-6)
    np.testing.assert_allclose(gain(parts["convolution_2"]), np.sqrt(1 / 2), rtol=1e-6)
    # So that nothing is left to divide.
    assert first.num_blocks == second.num_blocks == 1


def test_kernel_gains_leave_the_direction_as_it_is_drawn():
    model = resnet_cifar(
        8,
        width=2,
        normalization="weight",
        gain_mode="kernel",
        scaled=False,
        kernel_initializer="ones",
    )
    # The norm of 3x3x3 ones.
    np.testing.assert_allclose(gain(model.get_layer("stem")), np.sqrt(27), rtol=1e-6)
    assert model.get_layer("stage_3_block_1").num_blocks == 1


@pytest.mark.parametrize(
    ("arguments", "factor"),
    [
        # With these the gains have it, if there is one.
        ({"normalization": "weight"}, 1),
        ({"normalization": "weight", "scaled": False}, 1),
        (
            {"normalization": "weight", "gain_mode": "kernel", "scaled": True},
            1 / np.sqrt(2),
        ),
        ({"normalization": None}, 1),
        ({"normalization": None, "scaled": True}, 1 / np.sqrt(2)),
    ],
)
def test_sums_are_scaled_as_asked_for(arguments, factor):
    model = resnet_cifar(14, width=2, stacks=True, **arguments, **ZEROS)
    graph = analyze(model)
    assert graph.stages == (2, 2, 2)
    factors = [site.branch_factor for site in graph.kernels if site.last_in_branch]
    assert len(factors) == 5
    assert factors == pytest.approx([factor] * 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 21}, "6n .* such as 20 or 26. Received: depth=21"),
        ({"depth": 7}, "6n .* such as 8. Received: depth=7"),
        ({"depth": 20.0}, "`depth` must be an integer"),
        ({"width": 0}, "`width` must be an integer of at least 1"),
        ({"num_classes": 0}, "`num_classes` must be an integer of at least 1"),
        ({"normalization": "layer"}, "must be one of None, batch, weight"),
        ({"scaled": True}, "`scaled` must be False unless .* 'weight' or None"),
        ({"stacks": True}, "`stacks` must be False unless .* 'weight' or None"),
        (
            {"gain_mode": "kernel", "normalization": None},
            "`gain_mode` must be 'forward' unless `normalization` is 'weight'",
        ),
        ({"input_shape": (3, 32, 3)}, "height and a width of at least 4"),
        ({"input_shape": (32, 32)}, "`input_shape` must be height, width and channels"),
        ({"input_shape": 32}, "`input_shape` must be height, width and channels"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        resnet_cifar(**{"depth": 8, "width": 2, **ZEROS, **arguments})
