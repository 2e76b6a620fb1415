import itertools

import numpy as np
import pytest
from helpers.counting import ZEROS, residual_network, trainable_parameters
from helpers.values import array

from keras_convinit import signal_report
from keras_convinit.analysis import analyze
from keras_convinit.lab.models import wide_resnet
from keras_convinit.layers import ScaledResidual, ScaledResidualStack

pytestmark = pytest.mark.once


def test_parameters_of_the_first_paper():
    model = wide_resnet(28, 10, **ZEROS)
    assert trainable_parameters(model) == 36_489_290
    assert analyze(model).stages == (4, 4, 4)


def test_parameters_without_biases():
    # A stem, two convolutions for each of three blocks, and three projections.
    channels = 16 + 2 * (32 + 64 + 128) + (32 + 64 + 128)
    counts = [
        trainable_parameters(wide_resnet(10, 2, use_bias=use_bias, **ZEROS))
        for use_bias in (True, False)
    ]
    assert counts[0] - counts[1] == channels


def test_parameters_of_the_second_paper():
    widths = (160, 320, 640)
    # A bias and a gain for each channel.
    expected = residual_network(widths, (6, 6, 6), 10, stem=16, per_output=2)
    model = wide_resnet(40, 10, normalization="weight", stacks=True, **ZEROS)
    assert trainable_parameters(model) == expected
    assert round(expected / 1e6, 2) == 55.84
    assert analyze(model).stages == (6, 6, 6)


@pytest.mark.parametrize("normalization", ["batch", "weight", None])
def test_a_narrow_network_has_no_projection_in_its_first_stage(normalization):
    model = wide_resnet(10, 1, normalization=normalization, **ZEROS)
    projections = [v for v in model.variables if "projection" in v.path]
    of_each = {"batch": 2, "weight": 3, None: 2}[normalization]
    assert len(projections) == 2 * of_each


def test_batch_normalization_and_relu_stand_in_front():
    model = wide_resnet(10, 1, **ZEROS)
    names = [layer.name for layer in model.layers]
    block = "stage_2_block_1"
    parts = [name.removeprefix(f"{block}_") for name in names if block in name]
    assert parts[:6] == [
        "normalization_1",
        "activation_1",
        "convolution_1",
        "normalization_2",
        "activation_2",
        "convolution_2_padding",
    ]
    # The projection sees what the first normalization sees.
    before = model.get_layer("stage_1_block_1_sum").output
    for part in ("normalization_1", "projection"):
        assert model.get_layer(f"{block}_{part}").input is before
    assert model.get_layer(f"{block}_convolution_1").strides == (1, 1)
    assert model.get_layer(f"{block}_convolution_2").strides == (2, 2)
    assert names[-4:] == ["normalization", "activation", "pool", "classifier"]
    assert model.get_layer("normalization").momentum == pytest.approx(0.1)


@pytest.mark.parametrize("normalization", ["batch", "weight"])
def test_the_stride_of_the_stem_halves_all_maps(normalization):
    model = wide_resnet(10, 1, normalization=normalization, stem_stride=2, **ZEROS)
    assert model.get_layer("pool").input.shape == (None, 4, 4, 64)


@pytest.mark.everywhere
def test_a_stack_computes_what_its_blocks_do():
    arguments = {"normalization": "weight", "input_shape": (8, 8, 3), "num_classes": 3}
    stacked = wide_resnet(22, 1, stacks=True, **arguments, **ZEROS)
    rng = np.random.default_rng(0)
    stacked.set_weights([rng.normal(size=v.shape) for v in stacked.variables])
    written = wide_resnet(22, 1, **arguments, **ZEROS)
    kinds = [type(layer) for layer in stacked.layers]
    assert kinds.count(ScaledResidualStack) == 3
    assert kinds.count(ScaledResidual) == 2
    # The first stage has no projection, and all of its blocks in the stack.
    lengths = [stacked.get_layer(f"stage_{i}_blocks").num_blocks for i in (1, 2, 3)]
    assert lengths == [3, 2, 2]
    values = []
    for layer in stacked.layers:
        parts = [layer]
        if isinstance(layer, ScaledResidualStack):
            parts = layer.unrolled()
            # The gains have the factor.
            assert {part.num_blocks for part in parts} == {1}
        values += [value for part in parts for value in part.get_weights()]
    written.set_weights(values)
    x = rng.normal(size=(2, 8, 8, 3)).astype("float32")
    expected = array(written(x))
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(array(stacked(x)), expected, rtol=1e-4, atol=1e-5)


def test_a_stage_of_one_block_has_nothing_to_stack():
    model = wide_resnet(10, 2, normalization=None, stacks=True, **ZEROS)
    kinds = [type(layer) for layer in model.layers]
    assert kinds.count(ScaledResidual) == 3
    assert ScaledResidualStack not in kinds


@pytest.mark.everywhere
def test_the_signal_grows_by_no_more_than_the_theorem_says():
    model = wide_resnet(16, 1, normalization="weight", input_shape=(16, 16, 3), **ZEROS)
    rng = np.random.default_rng(0)
    for variable in model.variables:
        # The direction has no norm to speak of.
        if variable.name == "weight_norm_direction":
            variable.assign(rng.normal(size=variable.shape))
    images = rng.normal(size=(2, 16, 16, 3)).astype("float32")
    report = signal_report(model, images)
    sums = [row.forward_norm for row in report.rows if row.path.endswith("scaled_sum")]
    stem = next(row.forward_norm for row in report.rows if row.path == "stem")
    ends = [stem, *sums[1::2]]
    assert len(ends) == 4
    for before, after in itertools.pairwise(ends):
        # (1 + 1/2)^(2/2), less by what the zeros around the maps take from the
        # branches. Without the division by sqrt(2) it would be 2.
        assert 1.2 < after / before < 1.6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 20}, "6n .* such as 16 or 22. Received: depth=20"),
        ({"depth": -1}, "`depth` must be an integer of at least 1"),
        ({"k": 0}, "`k` must be an integer of at least 1"),
        ({"k": 1.5}, "`k` must be an integer"),
        ({"stem_stride": 0}, "`stem_stride` must be an integer of at least 1"),
        ({"input_shape": (4, 4, 3), "stem_stride": 2}, "a width of at least 8"),
        ({"normalization": "layer"}, "must be one of None, batch, weight"),
        ({"stacks": True}, "`stacks` must be False unless .* 'weight' or None"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        wide_resnet(**{"depth": 10, "k": 1, **ZEROS, **arguments})
