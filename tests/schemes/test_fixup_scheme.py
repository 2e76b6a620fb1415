"""Fixup by tables that are computed by hand."""

import keras
import numpy as np
import pytest

from keras_convinit import initialize
from keras_convinit.layers import (
    ScalarBias,
    ScalarMultiplier,
    ScaledResidual,
    ScaledResidualStack,
    WeightNormConv2D,
)

layers = keras.layers


def residual(blocks, sizes, width=16, plain=True):
    """Blocks of kernels of these sizes; the second one has a projection."""
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(width, 3, padding="same", name="stem")(inputs)
    for block in range(blocks):
        y = x
        if block == 1:
            x = layers.Conv2D(width, 1, name="projection")(x)
        for place, size in enumerate(sizes):
            if not plain:
                y = ScalarBias()(y)
            y = layers.Conv2D(
                width,
                size,
                padding="same",
                activation="relu" if place < len(sizes) - 1 else None,
                bias_initializer="ones",
                name=f"b{block}c{place}",
            )(y)
        if not plain:
            y = ScalarMultiplier()(y)
        x = layers.Add()([x, y])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(5, name="classifier")(x))


# Blocks and kernel sizes, with the standard deviations of the kernels but the last:
# sqrt(2 / (16 k^2)) L^(-1 / (2m - 2)), with its numbers written out.
TABLES = {
    "basic": (4, (3, 3), [0.11785 * 0.5]),
    "basic of nine": (9, (3, 3), [0.11785 / 3]),
    "bottleneck": (16, (1, 3, 1), [0.35355 * 0.5, 0.11785 * 0.5]),
}


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("name", TABLES)
def test_exponents(name, plain, values):
    blocks, sizes, expected = TABLES[name]
    model = residual(blocks, sizes, plain=plain)
    report = initialize(model, "fixup", seed=0)
    found = values(model)
    targets = {row.path: row.target_std for row in report.rows}
    for place, deviation in enumerate(expected):
        paths = [f"b{block}c{place}/kernel" for block in range(blocks)]
        weights = np.concatenate([found[path].ravel() for path in paths])
        # Any other exponent or depth is off by 15 percent or more.
        band = 5 / np.sqrt(2 * weights.size)
        assert band < 0.15
        assert weights.std() == pytest.approx(deviation, rel=band)
        for path in paths:
            assert targets[path] == pytest.approx(deviation, rel=1e-4)
    for block in range(blocks):
        assert not found[f"b{block}c{len(sizes) - 1}/kernel"].any()
    assert not found["classifier/kernel"].any()
    for path, value in found.items():
        if path.endswith("bias"):
            assert not value.any(), path
    assert not report.notes


def test_stem_and_projection_are_as_he_says():
    report = initialize(residual(4, (3, 3)), "fixup", seed=0)
    targets = {row.path: row.target_std for row in report.rows}
    assert targets["stem/kernel"] == pytest.approx((2 / (9 * 16)) ** 0.5)
    assert targets["projection/kernel"] == pytest.approx((2 / 16) ** 0.5)


def test_the_network_begins_as_its_shortcut():
    model = residual(3, (3, 3), plain=False)
    x = np.random.default_rng(0).standard_normal((2, 6, 6, 3)).astype("float32")
    initialize(model, "fixup", seed=0)
    kernel = model.get_layer("projection").kernel
    stem = model.get_layer("stem")(x)
    through = keras.ops.einsum("nhwc,cd->nhwd", stem, kernel[0, 0])
    body = keras.Model(model.input, model.layers[-2].input)
    found, expected = map(keras.ops.convert_to_numpy, (body(x), through))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_scalars_start_anew(values):
    model = residual(2, (3, 3), plain=False)
    fresh = {path: v for path, v in values(model).items() if "parameter" in path}
    assert len(fresh) == 6
    for variable in model.weights:
        variable.assign(variable + 7.0)
    initialize(model, "fixup", seed=0)
    found = values(model)
    for path, value in fresh.items():
        np.testing.assert_array_equal(found[path], value)


def test_stacks_count_their_blocks(values):
    branch = [layers.Conv2D(8, 3, padding="same", activation="relu")]
    branch.append(WeightNormConv2D(8, 3, padding="same"))
    block = ScaledResidual([layers.Conv2D(8, 1), layers.Conv2D(8, 1)], 1)
    model = keras.Sequential(
        [keras.Input((4, 4, 8)), ScaledResidualStack(branch, 15), block]
    )
    report = initialize(model, "fixup", seed=0)
    first = report.rows[0]
    # L = 16, m = 2.
    assert first.target_std == pytest.approx((2 / (9 * 8)) ** 0.5 / 4)
    found = values(model)
    (gain,) = [value for path, value in found.items() if path.endswith("gain")]
    (direction,) = [v for path, v in found.items() if path.endswith("direction")]
    # With a direction of zeros nothing would ever learn.
    assert not gain.any()
    assert np.abs(direction).min(axis=0).any()


def test_not_for_other_models():
    plain = keras.Sequential([keras.Input((4,)), layers.Dense(4)])
    with pytest.raises(ValueError, match=r"residual blocks.*Received: a model with no"):
        initialize(plain, "fixup")
    inputs = keras.Input((4,))
    x = layers.BatchNormalization()(layers.Dense(4, name="dense")(inputs))
    model = keras.Model(inputs, layers.Add()([inputs, x]))
    with pytest.raises(ValueError, match=r"no normalization.*behind dense"):
        initialize(model, "fixup")


def test_nothing_but_kernels_if_asked_for(values):
    model = residual(2, (3, 3))
    before = values(model)
    initialize(model, "fixup", seed=0, dry_run=True)
    for path, value in values(model).items():
        np.testing.assert_array_equal(value, before[path])
    initialize(model, "fixup", seed=0, others="keep")
    assert (values(model)["b0c0/bias"] == 1).all()
    initialize(model, "fixup", seed=0, classifier="same")
    assert values(model)["classifier/kernel"].any()


def test_biases_are_zero_where_layers_of_several_blocks_share_their_names():
    def branch():
        return [
            layers.Dense(8, activation="relu", bias_initializer="ones", name=name)
            for name in ("first", "second")
        ]

    model = keras.Sequential(
        [
            keras.Input((8,)),
            *(ScaledResidual(branch(), 3) for _ in range(3)),
            layers.Dense(3, bias_initializer="ones"),
        ]
    )
    initialize(model, "fixup", seed=0)
    biases = [v for v in model.variables if v.name == "bias"]
    assert len(biases) == 7
    for bias in biases:
        assert (keras.ops.convert_to_numpy(bias) == 0).all(), bias.path


def test_a_layer_that_is_called_twice_in_its_branch_counts_as_two(values):
    x = inputs = keras.Input((64,))
    for block in range(9):
        inner = layers.Dense(64, activation="relu", name=f"inner{block}")
        x = layers.Add()([x, inner(inner(x))])
    model = keras.Model(inputs, layers.Dense(5)(x))
    report = initialize(model, "fixup", seed=0)
    rows = {row.path: row for row in report.rows}
    found = values(model)
    for block in range(9):
        path = f"inner{block}/kernel"
        # 9^(-1/2), as of two layers in a branch.
        assert rows[path].target_std == pytest.approx((2 / 64) ** 0.5 / 3)
        assert found[path].std() == pytest.approx((2 / 64) ** 0.5 / 3, rel=0.06)
