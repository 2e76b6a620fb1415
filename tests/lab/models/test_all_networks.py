"""What holds for every network of the lab."""

import keras
import numpy as np
import pytest
from counting import ZEROS

import keras_convinit
from keras_convinit.graph import read
from keras_convinit.lab import models

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
SAVED = [case for case in CASES if case[0] not in LARGE or case[1] == "batch"]
RESIDUAL = ["residual_cnn", "resnet_cifar", "wide_resnet"]

every_case = pytest.mark.parametrize(("name", "normalization"), CASES)


def small(name, normalization=None, **arguments):
    network = getattr(models, name)
    defaults = {"input_shape": (32, 32, 1), "num_classes": 5, **ZEROS}
    return network(
        **SMALL[name], **{**defaults, "normalization": normalization, **arguments}
    )


def filled(model):
    """With values from numpy, as JAX takes long to draw. All are positive."""
    rng = np.random.default_rng(0)
    for variable in model.variables:
        size = 1 / np.sqrt(np.prod(variable.shape[:-1]))
        variable.assign(rng.uniform(0.5, 1.5, variable.shape) * size)
    return model


def array(tensor):
    return np.array(keras.ops.convert_to_numpy(tensor))


def test_no_network_is_forgotten():
    assert sorted(SMALL) == sorted(set(models.__all__) - {"from_spec"})


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
    graph = read(small(name, normalization))
    assert graph.unread == ()
    assert [site.path for site in graph.sites if site.classifier] == ["classifier"]
    weight = [site for site in graph.sites if site.kernel.gain is not None]
    everything_else = len(graph.sites) - 1 if normalization == "weight" else 0
    assert len(weight) == everything_else


@pytest.mark.parametrize("name", [name for name in SMALL if name != "resnet34"])
@pytest.mark.parametrize("normalization", [None, "batch"])
def test_every_convolution_draws_its_own_kernel(name, normalization):
    model = small(
        name,
        normalization,
        kernel_initializer=keras.initializers.RandomUniform(seed=None),
    )
    kernels = [array(site.kernel.variable) for site in read(model).sites[:-1]]
    for number, kernel in enumerate(kernels):
        for other in kernels[:number]:
            same = kernel.shape == other.shape and np.array_equal(kernel, other)
            assert not same


@pytest.mark.parametrize("name", WEIGHT_NORMALIZED)
def test_the_networks_have_the_gains_that_the_scheme_gives(name):
    model = small(name, "weight", **({"scaled": True} if name in RESIDUAL else {}))
    gains = [array(site.kernel.gain) for site in read(model).sites[:-1]]
    report = keras_convinit.initialize(model, "arpit", seed=0)
    assert report.rows
    for gain, site in zip(gains, read(model).sites[:-1], strict=True):
        np.testing.assert_allclose(array(site.kernel.gain), gain, rtol=1e-6)


@pytest.mark.parametrize("name", ["resnet_cifar", "wide_resnet"])
def test_fixup_begins_with_the_shortcuts(name):
    model = small(name, None)
    keras_convinit.initialize(model, "fixup", seed=0)
    last = [site for site in read(model).sites if site.last_in_branch]
    assert len(last) == 3
    for site in read(model).sites:
        is_zero = not array(site.kernel.variable).any()
        assert is_zero == (site.last_in_branch or site.classifier)


@pytest.mark.parametrize("name", ["resnet_cifar", "densenet"])
def test_lsuv_finds_all_kernels(name):
    model = small(name, None, input_shape=(8, 8, 1))
    images = np.random.default_rng(1).normal(size=(8, 8, 8, 1)).astype("float32")
    report = keras_convinit.initialize(model, "lsuv", data=images, seed=0)
    kernels = [row for row in report.rows if row.fan_in is not None]
    assert len(kernels) == len(read(model).sites)


@pytest.mark.parametrize(("scaled", "divided"), [(False, 6), (True, 0)])
def test_auto_divides_what_the_network_does_not(scaled, divided):
    model = models.resnet_cifar(14, width=2, normalization=None, scaled=scaled, **ZEROS)
    report = keras_convinit.initialize(model, "auto", seed=0, dry_run=True)
    assert sum("/ sqrt(2)" in row.rule for row in report.rows) == divided
