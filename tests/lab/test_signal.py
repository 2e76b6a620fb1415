import keras
import numpy as np
import pytest

from keras_convinit.lab.models import mlp
from keras_convinit.lab.signal import relative_signal

IMAGES = np.random.default_rng(0).normal(size=(64, 400)).astype("float32")


def scaling(*factors):
    """A network whose layers multiply, of which the even ones are watched."""
    inputs = x = keras.Input((400,))
    for number, factor in enumerate(factors):
        name = f"{'other' if number % 2 else 'watched'}_{number}"
        x = keras.layers.Rescaling(factor, name=name)(x)
    return keras.Model(inputs, x)


def test_ratio_to_the_images_of_watched_layers():
    signal = relative_signal(scaling(2.0, 3.0, -0.5), IMAGES, "watched")
    assert signal == pytest.approx((2.0, 3.0), rel=1e-5)


def test_one_watched_layer_is_enough():
    assert relative_signal(scaling(2.0), IMAGES, "watched") == pytest.approx((2.0,))


def test_what_is_not_finite_is_none():
    signal = relative_signal(scaling(1e30, 1.0, 1e30), IMAGES, "watched")
    assert signal[0] == pytest.approx(1e30)
    assert signal[1] is None


def test_nothing_to_watch_is_an_error():
    with pytest.raises(
        ValueError, match=r"`watched` must .* Received: watched='block'"
    ):
        relative_signal(scaling(1.0), IMAGES, "block")


@pytest.mark.parametrize(
    ("initializer", "factor"), [("zhang_forward", 1.0), ("glorot_normal", 0.5)]
)
def test_rules_do_what_they_promise(initializer, factor):
    """After a first layer that has no ReLU before it, E[phi^2] stays, or is halved."""
    keras.utils.set_random_seed(0)
    model = mlp(6, 400, input_shape=(400,), kernel_initializer=initializer)
    signal = np.array(relative_signal(model, IMAGES, "activation"))
    steps = np.square(signal[1:] / signal[:-1])
    # Var(phi^2) = 5 E[phi^2]^2 for a half Gaussian; 400 units, one weight matrix for
    # all images, and the error of the layer before.
    tolerance = 5 * np.sqrt(2 * 5 / 400)
    assert tolerance < 0.8
    np.testing.assert_allclose(steps.prod() ** (1 / 4), factor, rtol=tolerance / 4)
