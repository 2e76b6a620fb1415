import pytest
from helpers.counting import ZEROS, convolution, trainable_parameters

from keras_convinit.analysis import analyze
from keras_convinit.lab.models import densenet

pytestmark = pytest.mark.once


def test_parameters_of_the_paper():
    assert trainable_parameters(densenet(100, 12, **ZEROS)) == 769_162


@pytest.mark.parametrize("normalization", ["batch", None])
@pytest.mark.parametrize(("depth", "growth", "layers"), [(10, 4, 1), (16, 3, 2)])
def test_parameters_are_those_of_the_formula(depth, growth, layers, normalization):
    # A bias without normalization; with it a scale and an offset for each input.
    bias, of_input = (1, 0) if normalization is None else (0, 2)
    channels = 2 * growth
    expected = convolution(3, channels, per_output=bias)
    for block in range(3):
        for _ in range(layers):
            expected += of_input * (channels + 4 * growth)
            expected += convolution(channels, 4 * growth, 1, per_output=bias)
            expected += convolution(4 * growth, growth, per_output=bias)
            channels += growth
        expected += of_input * channels
        if block < 2:
            expected += convolution(channels, channels // 2, 1, per_output=bias)
            channels //= 2
    expected += (channels + 1) * 7
    model = densenet(depth, growth, num_classes=7, normalization=normalization, **ZEROS)
    assert trainable_parameters(model) == expected


def test_every_layer_sees_all_before_it():
    model = densenet(16, 3, **ZEROS)
    stem = model.get_layer("stem").output
    first = model.get_layer("block_1_layer_1_joined")
    second = model.get_layer("block_1_layer_2_joined")
    assert first.input[0] is stem
    assert first.input[1] is model.get_layer("block_1_layer_1_convolution").output
    assert second.input[0] is first.output
    assert model.get_layer("block_1_layer_2_bottleneck_normalization").input is (
        first.output
    )


def test_maps_are_halved_twice():
    model = densenet(10, 2, input_shape=(8, 4, 3), **ZEROS)
    assert model.get_layer("pool").input.shape[1:3] == (2, 1)


@pytest.mark.parametrize("normalization", ["batch", None])
def test_it_is_read_without_a_doubt(normalization):
    graph = analyze(densenet(16, 2, normalization=normalization, **ZEROS))
    assert graph.unread == ()
    assert graph.stages == ()
    (classifier,) = (site.path for site in graph.kernels if site.classifier)
    assert classifier == "classifier"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 99}, "6n .* such as 94 or 100. Received: depth=99"),
        ({"growth": 0}, "`growth` must be an integer of at least 1"),
        ({"normalization": "weight"}, "must be one of None, batch. Received"),
        ({"input_shape": (32, 2, 3)}, "height and a width of at least 4"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        densenet(**{"depth": 10, "growth": 2, **arguments})
