"""The 1 / sqrt(B) of weight-normalized branches: in the gain, as in the paper."""

import keras
import numpy as np
import pytest
from helpers.values import array
from keras import ops

import keras_convinit
from keras_convinit.analysis import analyze
from keras_convinit.lab import models

SHAPE = (8, 8, 3)
# Stages, by their width, and how many blocks each has.
NETWORKS = {
    "resnet_cifar": (
        lambda **how: models.resnet_cifar(20, width=4, **how),
        {4: 3, 8: 3, 16: 3},
    ),
    "wide_resnet": (
        lambda **how: models.wide_resnet(22, 1, **how),
        {16: 3, 32: 3, 64: 3},
    ),
    "residual_cnn": (
        lambda **how: models.residual_cnn(3, 4, scaled=True, **how),
        {4: 3},
    ),
}
CASES = [
    (name, stacks)
    for name in NETWORKS
    for stacks in (False, True)
    if not (stacks and name == "residual_cnn")
]
every_case = pytest.mark.parametrize(("name", "stacks"), CASES)


def network(name, stacks=False, **how):
    make, stages = NETWORKS[name]
    if stacks:
        how["stacks"] = True
    # Not orthogonal ones, which JAX compiles for each shape.
    drawn = keras.initializers.RandomNormal(seed=4)
    how = {"input_shape": SHAPE, "kernel_initializer": drawn, **how}
    how.setdefault("classifier_initializer", "glorot_uniform")
    return make(normalization="weight", **how), stages


def last_gains(model):
    return [site for site in analyze(model).kernels if site.last_in_branch]


@pytest.mark.once
@every_case
def test_the_last_gain_of_each_block_holds_the_factor(name, stacks):
    model, stages = network(name, stacks)
    found = dict.fromkeys(stages, 0)
    for site in last_gains(model):
        gains = array(site.kernel.gain)
        width = gains.shape[-1]
        # From as many channels to as many: sqrt(1 / B) and nothing else.
        np.testing.assert_allclose(gains, stages[width] ** -0.5, rtol=1e-6)
        assert site.branch_factor == 1
        found[width] += site.kernel.copies
    assert found == stages


@pytest.mark.once
def test_stages_of_several_lengths_have_each_its_own():
    model = models.resnet34(
        normalization="weight",
        input_shape=SHAPE,
        stacks=True,
        kernel_initializer="zeros",
        classifier_initializer="zeros",
    )
    expected = {64: 3, 128: 4, 256: 6, 512: 3}
    for site in last_gains(model):
        gains = array(site.kernel.gain)
        blocks = expected[gains.shape[-1]]
        np.testing.assert_allclose(gains, blocks**-0.5, rtol=1e-6)


@every_case
@pytest.mark.parametrize("scheme", ["arpit", "auto"])
def test_a_scheme_gives_the_gains_that_the_network_has(name, stacks, scheme):
    model, _ = network(name, stacks)
    before = {site.path: array(site.kernel.gain) for site in last_gains(model)}
    for site in last_gains(model):
        site.kernel.gain.assign(np.zeros(site.kernel.gain.shape))
    keras_convinit.initialize(model, scheme, seed=0)
    for site in last_gains(model):
        np.testing.assert_allclose(
            array(site.kernel.gain), before[site.path], rtol=1e-6
        )


def direction_alone(layer, x):
    """The convolution by v / ||v||, without gain and bias."""
    v = array(layer.weight_norm_direction)
    unit = v / np.sqrt(np.sum(v**2, axis=(0, 1, 2)))
    return array(ops.conv(x, unit, padding="same", data_format="channels_last"))


def last_block(model):
    """A copy of the last block, and a model that gives what comes into it."""
    inner = [
        layer
        for layer in model.layers
        if isinstance(
            layer,
            keras_convinit.layers.ScaledResidual
            | keras_convinit.layers.ScaledResidualStack,
        )
    ][-1]
    into = keras.Model(model.inputs, inner.input)
    if isinstance(inner, keras_convinit.layers.ScaledResidual):
        return inner, into
    *before, block = inner.unrolled()
    return block, keras.Sequential([into, *before])


def rows(values):
    """Of a stack the last block's, of a layer all."""
    return values[-1] if values.ndim == 2 else values


@every_case
def test_one_step_moves_gain_and_bias_as_in_the_paper(name, stacks):
    # The paper's block is x + g * conv(relu(.), v / ||v||) + b, and no more. So the
    # error at the sum reaches b as it is, and g by what its convolution gives.
    model, stages = network(name, stacks)
    blocks = list(stages.values())[-1]
    rng = np.random.default_rng(6)
    x = rng.normal(size=(4, *SHAPE)).astype("float32")
    y = rng.normal(size=(4, 10)).astype("float32")
    block, into = last_block(model)
    *first, last = block.branch.layers
    h = into(x)
    hidden = h
    for layer in first:
        hidden = layer(hidden)
    unit = direction_alone(last, hidden)
    blended = array(h) + unit * blocks**-0.5
    classifier = model.get_layer("classifier")
    weights = array(classifier.kernel)
    outputs = blended.mean((1, 2)) @ weights
    np.testing.assert_allclose(array(model(x)), outputs, rtol=1e-4, atol=1e-5)
    # Of the mean of squares, back through the classifier and the mean over positions.
    error = 2 * (outputs - y) / y.size @ weights.T
    positions = blended.shape[1] * blended.shape[2]
    of_bias = error.sum(0)
    of_gain = np.sum(error[:, None, None] * unit, (0, 1, 2)) / positions
    rate = 0.5
    model.compile(keras.optimizers.SGD(rate), "mse")
    model.fit(x, y, batch_size=4, verbose=0)
    site = last_gains(model)[-1]
    *_, bias = (v for v in site.layer.trainable_variables if v.name.endswith("bias"))
    moved = rows(array(site.kernel.gain)) - blocks**-0.5
    size = np.abs(of_gain).max()
    assert size > 1e-4
    np.testing.assert_allclose(moved, -rate * of_gain, rtol=1e-3, atol=1e-3 * size)
    np.testing.assert_allclose(
        rows(array(bias)), -rate * of_bias, rtol=1e-3, atol=1e-3 * np.abs(of_bias).max()
    )


@pytest.mark.once
def test_gains_that_are_norms_leave_it_to_the_sum():
    model, stages = network("resnet_cifar", gain_mode="kernel", scaled=True)
    for site in last_gains(model):
        v = array(site.kernel.variable)
        norms = np.sqrt(np.sum(v**2, axis=(0, 1, 2)))
        np.testing.assert_allclose(array(site.kernel.gain), norms, rtol=1e-5)
        assert site.branch_factor == pytest.approx(stages[v.shape[-1]] ** -0.5)
