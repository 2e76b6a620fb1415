"""Every variable has a path of its own: on PyTorch Keras keeps parameters by path."""

import copy
import pickle

import keras
import numpy as np
import pytest
from keras import layers

from keras_convinit import layers as ours
from keras_convinit.lab.models import densenet, resnet_cifar, wide_resnet
from keras_convinit.layers.folding import fold

BACKEND = keras.backend.backend()


def in_a_list():
    return [
        ours.WeightNormDense(6, activation="relu", name="first"),
        ours.WeightNorm(layers.Dense(6, name="inner"), name="last"),
        ours.WeightNorm(layers.Dense(6, name="inner"), name="very_last"),
    ]


BRANCHES = {
    "list": in_a_list,
    "layer": lambda: ours.WeightNormDense(6, name="first"),
    "sequential": lambda: keras.Sequential(in_a_list()),
    "nested": lambda: [ours.ScaledResidual(in_a_list(), 2, name="nested")],
    "wrapper": lambda: [
        layers.Reshape((2, 3)),
        layers.TimeDistributed(layers.Dense(3, name="inner"), name="each"),
        layers.TimeDistributed(ours.WeightNormDense(3, name="inner"), name="again"),
        layers.Flatten(),
    ],
}


def blocks(branch):
    inputs = outputs = keras.Input((6,))
    for _ in range(2):
        outputs = ours.ScaledResidual(branch(), 2, branch())(outputs)
    outputs = ours.ScaledResidualStack(branch(), 2)(outputs)
    return keras.Model(inputs, outputs)


def loaded(model, tmp_path):
    path = str(tmp_path / "model.keras")
    model.save(path)
    return keras.models.load_model(path)


COPIES = {
    "built": lambda model, _: model,
    "loaded": loaded,
    "cloned": lambda model, _: keras.models.clone_model(model),
    "from_config": lambda model, _: type(model).from_config(model.get_config()),
    "pickled": lambda model, _: pickle.loads(pickle.dumps(model)),
    "deepcopied": lambda model, _: copy.deepcopy(model),
    "folded": lambda model, _: fold(model, verbose=False),
    "folded and loaded": lambda model, tmp_path: loaded(
        fold(model, verbose=False), tmp_path
    ),
}


def assert_every_variable_is_known(model):
    paths = [variable.path for variable in model.variables]
    assert len(set(paths)) == len(paths), sorted(paths)
    if BACKEND == "torch":
        parameters = {id(parameter) for parameter in model.parameters()}
        values = {id(variable.value) for variable in model.trainable_variables}
        assert values <= parameters


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("branch", BRANCHES)
def test_no_two_variables_have_the_same_path(branch, how, tmp_path):
    if (branch, how) == ("wrapper", "folded and loaded"):
        pytest.skip("Keras builds what a wrapper holds under its own name alone")
    model = COPIES[how](blocks(BRANCHES[branch]), tmp_path)
    assert_every_variable_is_known(model)


@pytest.mark.parametrize("how", ["built", "loaded", "folded"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: resnet_cifar(14, normalization="weight", width=4),
        lambda: wide_resnet(10, 1, normalization="weight"),
        lambda: densenet(10, 4),
    ],
    ids=["resnet_cifar", "wide_resnet", "densenet"],
)
def test_networks_of_the_lab(make, how, tmp_path):
    assert_every_variable_is_known(COPIES[how](make(), tmp_path))


def test_a_loaded_model_is_trained_as_the_built_one(tmp_path):
    inputs = outputs = keras.Input((6,))
    for _ in range(2):
        outputs = ours.ScaledResidual(in_a_list(), 2)(outputs)
    model = keras.Model(inputs, outputs)
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((2, 16, 6)).astype("float32")
    other = loaded(model, tmp_path)
    losses = []
    for each in (model, other):
        each.compile(keras.optimizers.SGD(0.05), "mse")
        losses.append([float(each.train_on_batch(x, y)) for _ in range(3)])
    assert losses[0][2] < losses[0][0]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


@pytest.mark.skipif(BACKEND != "torch", reason="a state_dict is PyTorch's")
def test_a_state_dict_holds_all_of_a_folded_model():
    folded = fold(blocks(in_a_list), verbose=False)
    before = folded.get_weights()
    state = {name: value.clone() for name, value in folded.state_dict().items()}
    folded.set_weights([np.zeros_like(weight) for weight in before])
    folded.load_state_dict(state)
    for now, then in zip(folded.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
