import pytest
from helpers.counting import ZEROS, residual_network, trainable_parameters

from keras_convinit.analysis import analyze
from keras_convinit.lab.models import resnet34

pytestmark = pytest.mark.once

STAGES = (3, 4, 6, 3)


@pytest.mark.parametrize(
    ("normalization", "per_output"), [("batch", 2), ("weight", 2), (None, 1)]
)
def test_parameters_are_those_of_the_formula(normalization, per_output):
    # Scale and offset, or bias and gain, or bias.
    widths = (64, 128, 256, 512)
    expected = residual_network(widths, STAGES, 10, stem=64, per_output=per_output)
    model = resnet34(normalization=normalization, **ZEROS)
    assert trainable_parameters(model) == expected
    assert analyze(model).stages == STAGES
    if normalization == "batch":
        assert round(expected / 1e6, 2) == 21.28


def test_maps_are_halved_three_times():
    model = resnet34(input_shape=(16, 8, 3), **ZEROS)
    assert model.get_layer("pool").input.shape == (None, 2, 1, 512)
    assert model.get_layer("stem").output.shape == (None, 16, 8, 64)


def test_each_stage_has_its_own_scale():
    model = resnet34(normalization=None, scaled=True, stacks=True, **ZEROS)
    stacks = [model.get_layer(f"stage_{i}_blocks") for i in (1, 2, 3, 4)]
    assert [stack.num_blocks for stack in stacks] == [3, 3, 5, 2]
    assert [stack.stage_blocks for stack in stacks] == list(STAGES)
    first = [model.get_layer(f"stage_{i}_block_1").num_blocks for i in (2, 3, 4)]
    assert first == [4, 6, 3]
    assert analyze(model).stages == STAGES


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (7, 8, 3)}, "height and a width of at least 8"),
        ({"normalization": "layer"}, "must be one of None, batch, weight"),
        ({"scaled": True}, "`scaled` must be False unless"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        resnet34(**arguments)
