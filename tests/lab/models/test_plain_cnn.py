import keras
import numpy as np
import pytest

from keras_convinit.lab.models import plain_cnn

pytestmark = pytest.mark.once

# Random numbers of every new shape take JAX a second.
ZEROS = {"kernel_initializer": "zeros", "classifier_initializer": "zeros"}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("normalization", [None, "batch", "weight"])
@pytest.mark.parametrize(("depth", "width"), [(2, 5), (6, 4)])
def test_parameters_are_those_of_the_formula(depth, width, normalization, channels):
    model = plain_cnn(
        depth,
        width,
        input_shape=(8, 8, channels),
        num_classes=7,
        strides=(),
        normalization=normalization,
        **ZEROS,
    )
    first = 9 * channels * width + width
    others = (depth - 2) * (9 * width * width + width)
    # Scale, offset, and two running statistics of each channel; or a gain.
    per_channel = {None: 0, "batch": 4, "weight": 1}[normalization]
    normalizations = per_channel * width * (depth - 1)
    classifier = width * 7 + 7
    assert model.count_params() == first + others + normalizations + classifier


def sides(model):
    return [
        layer.output.shape[1]
        for layer in model.layers
        if layer.name.startswith("activation_")
    ]


def test_strides_are_those_of_the_first_layers():
    assert sides(plain_cnn(5, 2, **ZEROS)) == [16, 8, 8, 8]
    assert sides(plain_cnn(5, 2, strides=(), **ZEROS)) == [32] * 4
    assert sides(plain_cnn(4, 2, strides=[1, 4], **ZEROS)) == [32, 8, 8]
    assert sides(plain_cnn(2, 2, **ZEROS)) == [16]


def test_logits_come_out():
    keras.utils.set_random_seed(0)
    model = plain_cnn(3, 20, input_shape=(8, 8, 1), num_classes=6, strides=())
    images = np.random.default_rng(0).normal(size=(5, 8, 8, 1)).astype("float32")
    logits = keras.ops.convert_to_numpy(model(images))
    assert logits.shape == (5, 6)
    assert (logits < 0).any()  # No softmax, no ReLU.


def test_normalization_stands_between_convolution_and_relu():
    model = plain_cnn(3, 4, normalization="batch", **ZEROS)
    names = [layer.name for layer in model.layers[1:7]]
    assert names == [
        f"{part}_{number}"
        for number in (1, 2)
        for part in ("convolution", "normalization", "activation")
    ]


def convolutions(model):
    return [
        keras.ops.convert_to_numpy(layer.kernel)
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
    ]


@pytest.mark.parametrize(
    "initializer", ["he_normal", keras.initializers.HeNormal(), {"class_name": "Ones"}]
)
def test_initializer_is_used_in_every_convolution(initializer):
    model = plain_cnn(4, 3, kernel_initializer=initializer)
    kernels = convolutions(model)
    ones = isinstance(initializer, dict)
    assert all((kernel == 1).all() == ones for kernel in kernels)
    # One object for all layers would draw the same values in all of them.
    assert np.array_equal(kernels[1], kernels[2]) == ones


def test_initializer_may_be_a_function():
    def twos(shape, dtype=None):
        return 2 * keras.ops.ones(shape, dtype)

    kernels = convolutions(plain_cnn(3, 3, kernel_initializer=twos))
    assert all((kernel == 2).all() for kernel in kernels)


def test_classifier_has_variance_one_over_fan_in_whatever_the_convolutions_have():
    width, classes = 300, 500
    model = plain_cnn(
        2, width, num_classes=classes, strides=(4,), kernel_initializer="zeros"
    )
    kernel = keras.ops.convert_to_numpy(model.get_layer("classifier").kernel)
    # Five standard deviations of a sample variance.
    tolerance = 5 * np.sqrt(2 / kernel.size)
    assert np.mean(np.square(kernel)) * width == pytest.approx(1, rel=tolerance)
    # Glorot's rule, Keras' own for a Dense layer, would be found out.
    assert 2 * width / (width + classes) != pytest.approx(1, rel=tolerance)


def test_classifier_initializer_is_used():
    model = plain_cnn(2, 4, classifier_initializer="ones")
    kernel = keras.ops.convert_to_numpy(model.get_layer("classifier").kernel)
    assert (kernel == 1).all()


def test_classifier_follows_the_seed():
    def kernel(seed):
        keras.utils.set_random_seed(seed)
        classifier = plain_cnn(2, 4).get_layer("classifier")
        return keras.ops.convert_to_numpy(classifier.kernel)

    assert np.array_equal(kernel(0), kernel(0))
    assert not np.array_equal(kernel(0), kernel(1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 1}, r"`depth` must be an integer of at least 2. Received: depth=1"),
        ({"depth": 3.0}, r"`depth` must be an integer .* Received: depth=3.0"),
        ({"width": 0}, r"`width` must be an integer of at least 1. Received: width=0"),
        ({"num_classes": 0}, r"`num_classes` must .* Received: num_classes=0"),
        ({"strides": (0,)}, r"`strides` must .* Received: strides=\(0,\)"),
        ({"strides": 2}, r"`strides` must .* Received: strides=2"),
        (
            {"normalization": "layer"},
            r"`normalization` must be one of None, batch, weight. "
            r"Received: normalization='layer'",
        ),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        plain_cnn(**{"depth": 3, "width": 2, **arguments})


def gain_of(layer):
    return keras.ops.convert_to_numpy(layer.weight_norm_gain)


@pytest.mark.parametrize(
    ("mode", "first", "second"),
    [
        # sqrt(2 inputs / outputs)
        ("forward", np.sqrt(2 * 3 / 4), np.sqrt(2)),
        ("backward", np.sqrt(2), np.sqrt(2)),
        # The norm of 3x3 ones for each input.
        ("kernel", np.sqrt(27), np.sqrt(36)),
    ],
)
def test_gains_make_up_for_relu(mode, first, second):
    model = plain_cnn(
        3, 4, normalization="weight", gain_mode=mode, kernel_initializer="ones"
    )
    for number, expected in enumerate((first, second), start=1):
        gain = gain_of(model.get_layer(f"convolution_{number}"))
        np.testing.assert_allclose(gain, expected, rtol=1e-6)


def test_gain_mode_is_of_weight_normalized_networks():
    with pytest.raises(ValueError, match="`gain_mode` must be 'forward' unless"):
        plain_cnn(3, 4, gain_mode="kernel")


def test_images_are_not_smaller_than_strides_make_them():
    with pytest.raises(ValueError, match="height and a width of at least 4"):
        plain_cnn(3, 4, input_shape=(8, 3, 1))
