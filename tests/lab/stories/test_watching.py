import keras
import numpy as np
import pytest

from keras_convinit.lab.models import mlp, residual_cnn
from keras_convinit.lab.stories.watching import initial_signals

IMAGES = np.random.default_rng(0).normal(size=(64, 400)).astype("float32")
LABELS = np.arange(64) % 10
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def scaling(*factors):
    """A network whose layers multiply, of which the even ones are watched."""
    inputs = x = keras.Input((400,))
    for number, factor in enumerate(factors):
        name = f"{'other' if number % 2 else 'watched'}_{number}"
        x = keras.layers.Rescaling(factor, name=name)(x)
    return keras.Model(inputs, x)


def product(labels, outputs):
    return outputs


def test_ratios_at_watched_layers():
    model = scaling(2.0, 3.0, -0.5)
    signal, error = initial_signals(model, IMAGES, LABELS, product, "watched")
    assert signal == pytest.approx((2.0, 3.0), rel=1e-5)
    assert error == pytest.approx((1.5, 1.0), rel=1e-5)


def test_what_is_not_finite_is_none():
    model = scaling(1e30, 1.0, 1e30)
    signal, _ = initial_signals(model, IMAGES, LABELS, product, "watched")
    assert signal[0] == pytest.approx(1e30)
    assert signal[1] is None


def test_nothing_to_watch_is_an_error():
    with pytest.raises(
        ValueError, match=r"`watched` must .* Received: watched='block'"
    ):
        initial_signals(scaling(1.0), IMAGES, LABELS, product, "block")


def test_of_a_block_the_last_layer_counts():
    model = residual_cnn(3, 4, input_shape=(6, 6, 1), num_classes=10)
    images = IMAGES[:, :36].reshape(64, 6, 6, 1)
    signal, error = initial_signals(model, images, LABELS, LOSS, "block")
    outputs = [layer.output for layer in model.layers if layer.name.startswith("block")]
    found = keras.Model(model.inputs, outputs).predict(images, verbose=0)
    sizes = [np.sqrt(np.mean(np.square(values))) for values in found]
    expected = np.array(sizes) / np.sqrt(np.mean(np.square(images)))
    np.testing.assert_allclose(signal, expected, rtol=1e-4)
    assert len(error) == 3
    assert error[-1] == 1


@pytest.mark.parametrize(
    ("initializer", "factor"), [("zhang_forward", 1.0), ("glorot_normal", 0.5)]
)
def test_rules_do_what_they_promise(initializer, factor):
    """After a first layer that has no ReLU before it, E[phi^2] stays, or is halved."""
    keras.utils.set_random_seed(0)
    model = mlp(6, 400, input_shape=(400,), kernel_initializer=initializer)
    signal, _ = initial_signals(model, IMAGES, LABELS, LOSS, "activation")
    steps = np.square(np.divide(signal[1:], signal[:-1]))
    # Var(phi^2) = 5 E[phi^2]^2 for a half Gaussian; 400 units, one weight matrix for
    # all images, and the error of the layer before.
    tolerance = 5 * np.sqrt(2 * 5 / 400)
    assert tolerance < 0.8
    np.testing.assert_allclose(steps.prod() ** (1 / 4), factor, rtol=tolerance / 4)
