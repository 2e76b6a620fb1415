"""What holds for every network of the lab."""

import keras
import numpy as np
import pytest
from helpers.counting import ZEROS
from helpers.values import array
from keras.initializers import Zeros

import keras_convinit
from keras_convinit.analysis import analyze
from keras_convinit.lab import models
from keras_convinit.schemes import Arpit

SMALL = {
    "mlp": {"depth": 3, "width": 4},
    "plain_cnn": {"depth": 4, "width": 3},
    "residual_cnn": {"blocks": 2, "width": 3},
    "resnet_cifar": {"depth": 8, "width": 2},
    "resnet34": {},
    "wide_resnet": {"depth": 10, "k": 1},
    "vgg19": {},
    "densenet": {"depth": 10, "growth": 2},
}
WEIGHT_NORMALIZED = [name for name in SMALL if name != "densenet"]
CASES = [
    (name, normalization)
    for name in SMALL
    for normalization in (None, "batch", "weight")
    if normalization != "weight" or name in WEIGHT_NORMALIZED
]
# The large ones have no part that the small ones do not have.
LARGE = ("resnet34", "vgg19")
SAVED = [case for case in CASES if case[0] not in LARGE]
RESIDUAL = ["residual_cnn", "resnet_cifar", "wide_resnet"]

every_case = pytest.mark.parametrize(("name", "normalization"), CASES)


def small(name, normalization=None, **arguments):
    network = getattr(models, name)
    defaults = {"input_shape": (32, 32, 1), "num_classes": 5, **ZEROS}
    return network(
        **{**SMALL[name], **defaults, "normalization": normalization, **arguments}
    )


def filled(model):
    """With values from numpy, as JAX takes long to draw. All are positive."""
    rng = np.random.default_rng(0)
    for variable in model.variables:
        size = 1 / np.sqrt(np.prod(variable.shape[:-1]))
        variable.assign(rng.uniform(0.5, 1.5, variable.shape) * size)
    return model


def test_no_network_is_forgotten():
    assert sorted(SMALL) == sorted(models.NETWORKS)


@pytest.mark.parametrize(("name", "normalization"), SAVED)
def test_it_is_saved_loaded_and_cloned(name, normalization, tmp_path):
    model = filled(small(name, normalization))
    images = np.random.default_rng(1).normal(size=(1, 32, 32, 1)).astype("float32")
    expected = array(model(images))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    cloned = keras.models.clone_model(model)
    cloned.set_weights(model.get_weights())
    assert np.abs(expected).max() > 1e-3
    for copy in (loaded, cloned):
        np.testing.assert_allclose(array(copy(images)), expected, rtol=1e-5, atol=1e-6)


@every_case
def test_logits_are_of_full_precision(name, normalization):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = small(name, normalization)
    finally:
        keras.config.set_dtype_policy(before)
    inner = {layer.compute_dtype for layer in model.layers[1:-1]}
    assert inner == {"bfloat16"}
    assert model.output.dtype == "float32"
    assert model.get_layer("classifier").compute_dtype == "float32"
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}


@every_case
def test_it_is_read_without_a_doubt(name, normalization):
    graph = analyze(small(name, normalization))
    assert graph.unread == ()
    assert [site.path for site in graph.kernels if site.classifier] == ["classifier"]
    weight = [site for site in graph.kernels if site.kernel.gain is not None]
    everything_else = len(graph.kernels) - 1 if normalization == "weight" else 0
    assert len(weight) == everything_else


@every_case
def test_no_two_layers_share_an_initializer(name, normalization):
    # One object would draw the same kernel for both.
    model = small(name, normalization, kernel_initializer=Zeros())
    layers = [site.layer for site in analyze(model).kernels[:-1]]
    initializers = {id(layer.kernel_initializer) for layer in layers}
    assert len(initializers) == len(layers)
    assert {type(layer.kernel_initializer) for layer in layers} == {Zeros}


@pytest.mark.parametrize("name", WEIGHT_NORMALIZED)
def test_networks_have_the_gains_that_the_scheme_would_give(name):
    model = small(name, "weight", **({"scaled": True} if name in RESIDUAL else {}))
    for site in analyze(model).kernels[:-1]:
        gamma, _ = Arpit().gamma(site)
        geometry = site.kernel.geometry
        ratio = geometry.total_in_channels / geometry.total_out_channels
        gain = array(site.kernel.gain)
        np.testing.assert_allclose(gain, np.sqrt(gamma * ratio), rtol=1e-6)


@pytest.mark.parametrize("name", RESIDUAL)
def test_fixup_knows_where_branches_end(name):
    model = small(name, None)
    report = keras_convinit.initialize(model, "fixup", dry_run=True)
    rules = [row.rule for row in report.rows]
    blocks = sum(analyze(model).stages)
    assert blocks == (2 if name == "residual_cnn" else 3)
    assert rules.count("0 (last of branch)") == blocks
    assert rules.count("0 (classifier)") == 1


def test_lsuv_finds_all_kernels():
    model = filled(small("resnet_cifar", None, input_shape=(8, 8, 1), width=4))
    images = np.random.default_rng(1).normal(size=(8, 8, 8, 1)).astype("float32")
    # The kernels as they are: it takes JAX long to draw orthogonal ones.
    report = keras_convinit.initialize(model, "lsuv", data=images, initializer=None)
    kernels = [row for row in report.rows if row.fan_in is not None]
    assert len(kernels) == len(analyze(model).kernels)
    outputs = array(model(images))
    assert np.var(outputs) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(("scaled", "divided"), [(False, 6), (True, 0)])
def test_auto_divides_what_the_network_does_not(scaled, divided):
    model = models.resnet_cifar(14, width=2, normalization=None, scaled=scaled, **ZEROS)
    report = keras_convinit.initialize(model, "auto", seed=0, dry_run=True)
    assert sum("/ sqrt(2)" in row.rule for row in report.rows) == divided
