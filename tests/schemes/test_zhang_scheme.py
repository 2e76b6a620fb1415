"""The variances of Zhang et al., with what really stands around a kernel, by hand."""

import math

import keras
import pytest

from keras_convinit import backward_scale, forward_scale, initialize
from keras_convinit.schemes import PRESETS

layers = keras.layers


def network():
    """Every layer has fans that differ, and an activation of its own before it."""
    inputs = keras.Input((16, 16, 24))
    x = layers.Conv2D(32, 3, padding="same", name="first")(inputs)
    x = layers.Activation("tanh")(x)
    x = layers.Conv2D(48, 3, strides=2, padding="same", name="strided")(x)
    x = layers.BatchNormalization()(x)
    x = layers.LeakyReLU(0.25)(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(96, 3, groups=4, activation="gelu", name="grouped")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=8, padding="same", name="deep")(x)
    x = layers.ReLU()(x)
    x = layers.Conv2DTranspose(40, 3, activation="relu", name="transposed")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(200, name="classifier")(x))


LEAKY = 2 / (1 + 0.25**2)
# Fans of the true geometry: k^2 times the inputs and outputs of a group.
FORWARD = {
    "first": 1 / (9 * 24),
    "strided": forward_scale("tanh") / (9 * 32),
    "grouped": LEAKY / (9 * 12),
    "deep": forward_scale("gelu") / 9,
    "transposed": 2 / (9 * 768),
    "classifier": 1 / 40,
}
BACKWARD = {
    "first": backward_scale("tanh") / (9 * 32),
    "strided": LEAKY / (9 * 48),
    "grouped": backward_scale("gelu") / (9 * 24),
    "deep": 2 / (9 * 8),
    "transposed": 2 / (9 * 40),
    "classifier": 1 / 40,
}
# What is wrong with each is one thing only.
WRONG = {
    "fan_out for fan_in": ("zhang_forward", "strided", forward_scale("tanh") / 432),
    "the activation behind": ("zhang_forward", "strided", LEAKY / 288),
    "fans of all groups": ("zhang_forward", "grouped", LEAKY / (9 * 48)),
    "fans of Keras": ("zhang_forward", "deep", forward_scale("gelu") / (9 * 96)),
    "channels exchanged": ("zhang_forward", "transposed", 2 / (9 * 40)),
    "ReLU at the end": ("zhang_forward", "classifier", 2 / 40),
    "fan_in for fan_out": ("zhang_backward", "strided", LEAKY / 288),
    "the activation before": ("zhang_backward", "strided", 2.1533 / 432),
    "the forward scale": ("zhang_backward", "first", forward_scale("tanh") / 288),
    "a slope, not a square": ("zhang_backward", "strided", 2 / 1.25 / 432),
}


@pytest.mark.parametrize(
    ("scheme", "expected"), [("zhang_forward", FORWARD), ("zhang_backward", BACKWARD)]
)
def test_variances(scheme, expected, deviations, close_to):
    model = network()
    report = initialize(model, scheme, seed=1)
    found = deviations(model)
    rows = {row.path: row for row in report.rows}
    for name, variance in expected.items():
        path = model.get_layer(name).kernel.path
        assert close_to(found[path], math.sqrt(variance)), name
        assert rows[path].target_std == pytest.approx(math.sqrt(variance))
        assert close_to((rows[path].measured_std, found[path][1]), math.sqrt(variance))
    assert not report.skipped
    assert not report.notes


@pytest.mark.parametrize("name", WRONG)
def test_wrong_variances_are_told_apart(name, deviations, close_to):
    scheme, layer, variance = WRONG[name]
    model = network()
    initialize(model, scheme, seed=1)
    found = deviations(model)[model.get_layer(layer).kernel.path]
    assert not close_to(found, math.sqrt(variance))


def test_gamma_divides_the_variance_of_all_but_the_classifier(deviations, close_to):
    model = network()
    initialize(model, "zhang_backward", gamma=0.4, seed=1)
    found = deviations(model)
    for name, variance in BACKWARD.items():
        path = model.get_layer(name).kernel.path
        factor = 1 if name == "classifier" else 1 / 0.4
        assert close_to(found[path], math.sqrt(factor * variance)), name
        if name != "classifier":
            # Not gamma squared.
            assert not close_to(found[path], math.sqrt(variance) / 0.4)


def test_strides_count_when_asked(deviations, close_to):
    model = network()
    initialize(model, "zhang_backward", stride_aware=True, seed=1)
    path = model.get_layer("strided").kernel.path
    assert close_to(deviations(model)[path], math.sqrt(4 * BACKWARD["strided"]))


@pytest.mark.parametrize(
    ("scheme", "arguments", "name", "variance"),
    [
        ("zhang_forward", {"classifier": "same"}, "classifier", 2 / 40),
        ("zhang_forward", {"classifier": "zeros"}, "classifier", 0.0),
        ("zhang_forward", {"first": "he_normal"}, "first", 2 / 216),
        ("zhang_forward", {"scale": 3.0}, "grouped", 3 * LEAKY / 108),
        ("zhang_forward", {"activation": "relu"}, "strided", 2 / 288),
        (
            "zhang_forward",
            {"variance": 0.25},
            "strided",
            forward_scale("tanh", 0.25) / 288,
        ),
        ("zhang_backward", {"activation": "relu"}, "first", 2 / 288),
        ("zhang_backward", {"classifier": "same"}, "classifier", 1 / 200),
    ],
)
def test_it_can_be_told_otherwise(
    scheme, arguments, name, variance, deviations, close_to
):
    model = network()
    initialize(model, scheme, seed=1, **arguments)
    found = deviations(model)[model.get_layer(name).kernel.path]
    if variance:
        # Truncated at two deviations, He's normal law varies a little less.
        assert close_to(found, math.sqrt(variance))
    else:
        assert found[0] == 0


# The numerators 2 / gamma that the paper states.
NUMERATORS = {
    "zhang2022/cifar10/vgg19": (5, 1 / 40),
    "zhang2022/cifar10/resnet110": (5, 1 / 40),
    "zhang2022/cifar10/densenet100": (5, 1 / 40),
    "zhang2022/cifar10/wrn28_10": (3, 0.25 / 40),
    "zhang2022/cifar100/vgg19": (1.5, 0.01**2),
    "zhang2022/cifar100/resnet110": (1.5, 0.01**2),
    "zhang2022/cifar100/densenet100": (1.2, 0.25 / 40),
    "zhang2022/cifar100/wrn28_10": (2.5, 1 / 40),
}


def test_there_is_a_preset_for_every_row_of_the_paper():
    assert PRESETS.keys() == NUMERATORS.keys()
    assert all(name.split("/")[1] == p.dataset for name, p in PRESETS.items())


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name, deviations, close_to):
    model = network()
    initialize(model, "zhang_backward", gamma=name, seed=1)
    found = deviations(model)
    numerator, classifier = NUMERATORS[name]
    # "deep" is followed by ReLU: 2 / (gamma fan_out).
    deep = model.get_layer("deep").kernel.path
    assert close_to(found[deep], math.sqrt(numerator / 72))
    last = model.get_layer("classifier").kernel.path
    assert close_to(found[last], math.sqrt(classifier))


def test_an_unknown_preset_names_its_neighbors():
    with pytest.raises(ValueError, match=r"zhang2022/cifar10/vgg19.*Received: gamma="):
        initialize(network(), "zhang_backward", gamma="zhang2022/cifar10/vgg16")
