"""Which rule fits what."""

import math

import keras
import pytest

from keras_convinit import initialize
from keras_convinit.layers import ScaledResidual, WeightNormDense

layers = keras.layers


def residual(normalization, blocks=4, scaled=False):
    """Blocks of 64 inputs and 256 hidden units, with tanh between."""
    inputs = keras.Input((64,))
    x = layers.Dense(64, name="stem")(inputs)
    for index in range(blocks):
        hidden = layers.Dense(256, name=f"{index}_1")
        last = layers.Dense(64, name=f"{index}_2")
        between = [layers.BatchNormalization()] if normalization else []
        between.append(layers.Activation("tanh"))
        if scaled:
            x = ScaledResidual([hidden, *between, last], blocks)(x)
        else:
            y = x
            for layer in (hidden, *between, last):
                y = layer(y)
            x = layers.Add()([x, y])
    return keras.Model(inputs, layers.Dense(50, name="classifier")(x))


TANH_FORWARD, TANH_BACKWARD = 2.5362, 2.1533


@pytest.mark.parametrize(
    ("arguments", "first", "last"),
    [
        ((False,), 1 / 64, TANH_FORWARD / 256 / 4),
        # The model divides.
        ((False, 4, True), 1 / 64, TANH_FORWARD / 256),
        # Alone in its stage there is nothing to divide by.
        ((False, 1), 1 / 64, TANH_FORWARD / 256),
        # Normalized: eq. 41 in front, and eq. 22 behind the activation.
        ((True,), TANH_BACKWARD / 256, TANH_FORWARD / 256),
    ],
)
def test_residual_networks(arguments, first, last, deviations, close_to):
    model = residual(*arguments)
    initialize(model, "auto", seed=1)
    found = {
        path.split("/")[-2]: value
        for path, value in deviations(model).items()
        if path.endswith("kernel")
    }
    assert close_to(found["0_1"], math.sqrt(first))
    assert close_to(found["0_2"], math.sqrt(last))
    assert close_to(found["stem"], math.sqrt(1 / 64))
    assert close_to(found["classifier"], math.sqrt(1 / 64))
    if not arguments[0] and len(arguments) == 1:
        assert not close_to(found["0_2"], math.sqrt(last * 4))
        assert not close_to(found["0_2"], math.sqrt(last / 4))


def test_what_is_ours_is_labeled_so():
    report = initialize(residual(False), "auto", seed=1)
    rules = {
        row.path.split("/")[-2]: row.rule
        for row in report.rows
        if row.path.endswith("kernel")
    }
    assert rules["0_2"] == "ours: eq. 22 (tanh before) / sqrt(4)"
    assert sum(rule.startswith("ours") for rule in rules.values()) == 4


def test_gamma_is_for_what_is_normalized(deviations, close_to):
    model = residual(True)
    initialize(model, "auto", gamma=0.4, seed=1)
    found = deviations(model)
    assert close_to(found["0_1/kernel"], math.sqrt(TANH_BACKWARD / 256 / 0.4))
    assert close_to(found["0_2/kernel"], math.sqrt(TANH_FORWARD / 256))


def test_a_preset_brings_its_classifier(deviations, close_to):
    model = residual(True)
    initialize(model, "auto", gamma="zhang2022/cifar10/wrn28_10", seed=1)
    found = deviations(model)
    assert close_to(found["0_1/kernel"], math.sqrt(1.5 * TANH_BACKWARD / 256))
    assert close_to(found["classifier/kernel"], math.sqrt(0.25 / 64))


def test_weight_normalized_layers_get_gains():
    inputs = keras.Input((4,))
    x = WeightNormDense(9, activation="relu", name="normed")(inputs)
    model = keras.Model(inputs, layers.Dense(3)(x))
    initialize(model, "auto", seed=1)
    gain = keras.ops.convert_to_numpy(model.get_layer("normed").weight_norm_gain)
    assert gain == pytest.approx(math.sqrt(2 * 4 / 9))
