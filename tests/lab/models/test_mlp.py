import keras
import numpy as np
import pytest

from keras_convinit.lab.models import mlp

pytestmark = pytest.mark.once

# Random numbers of every new shape take JAX a second.
ZEROS = {"kernel_initializer": "zeros", "classifier_initializer": "zeros"}


@pytest.mark.parametrize("normalization", [None, "batch", "weight"])
@pytest.mark.parametrize(("depth", "width"), [(2, 5), (6, 4)])
def test_parameters_are_those_of_the_formula(depth, width, normalization):
    model = mlp(
        depth,
        width,
        input_shape=(4, 3, 2),
        num_classes=7,
        normalization=normalization,
        **ZEROS,
    )
    hidden = (24 + 1) * width + (depth - 2) * (width + 1) * width
    # Scale, offset, and two running statistics of each channel; or a gain.
    per_channel = {None: 0, "batch": 4, "weight": 1}[normalization]
    normalizations = per_channel * width * (depth - 1)
    assert model.count_params() == hidden + normalizations + (width + 1) * 7


def test_parameters_of_the_papers_network():
    assert mlp(depth=10, width=500, **ZEROS).count_params() == 2401510


def test_every_hidden_layer_is_followed_by_relu():
    model = mlp(4, 3, input_shape=(5,), normalization="batch", **ZEROS)
    parts = ("dense", "normalization", "activation")
    hidden = [f"{part}_{number}" for number in (1, 2, 3) for part in parts]
    names = [layer.name for layer in model.layers[1:]]
    assert names == ["flatten", *hidden, "classifier"]


def test_every_layer_draws_its_own_kernel():
    model = mlp(
        4, 6, input_shape=(6,), kernel_initializer=keras.initializers.HeNormal()
    )
    second, third = (
        keras.ops.convert_to_numpy(model.get_layer(name).kernel)
        for name in ("dense_2", "dense_3")
    )
    assert not np.array_equal(second, third)


def test_logits_come_out():
    keras.utils.set_random_seed(0)
    model = mlp(3, 20, input_shape=(5,), num_classes=6)
    logits = keras.ops.convert_to_numpy(model(np.ones((2, 5), "float32")))
    assert logits.shape == (2, 6)
    assert (logits < 0).any()


@pytest.mark.parametrize("name", ["depth", "width", "num_classes"])
def test_wrong_arguments_are_named(name):
    with pytest.raises(ValueError, match=f"`{name}` must .* Received: {name}=0"):
        mlp(**{"depth": 3, "width": 2, name: 0})


@pytest.mark.parametrize(
    ("mode", "first", "second"),
    # sqrt(2 inputs / outputs), or the norm of ones.
    [("forward", np.sqrt(2 * 6 / 4), np.sqrt(2)), ("kernel", np.sqrt(6), 2)],
)
def test_gains_make_up_for_relu(mode, first, second):
    model = mlp(
        3,
        4,
        input_shape=(6,),
        normalization="weight",
        gain_mode=mode,
        kernel_initializer="ones",
    )
    for number, expected in enumerate((first, second), start=1):
        gain = model.get_layer(f"dense_{number}").weight_norm_gain
        gain = keras.ops.convert_to_numpy(gain)
        np.testing.assert_allclose(gain, expected, rtol=1e-6)


def test_normalization_is_known():
    with pytest.raises(ValueError, match="must be one of None, batch, weight"):
        mlp(3, 4, normalization="layer")
