import math

import keras
import numpy as np
import pytest

from keras_convinit.lab import recipes
from keras_convinit.lab.recipes import Schedule, WarmUp
from keras_convinit.lab.training import WarmUpSchedule
from keras_convinit.lab.training.schedules import learning_rate


def rates(schedule, steps):
    if not callable(schedule):
        return np.full(steps, schedule)
    found = [float(keras.ops.convert_to_numpy(schedule(step))) for step in range(steps)]
    return np.array(found)


def test_cosine_by_hand():
    found = rates(
        learning_rate(Schedule("cosine"), 0.1, epochs=3, steps_per_epoch=4), 13
    )
    expected = [0.05 * (1 + math.cos(math.pi * step / 12)) for step in range(13)]
    np.testing.assert_allclose(found, expected, atol=1e-8)
    assert found[-1] == pytest.approx(0, abs=1e-8)


def test_steps_fall_with_the_first_step_of_their_epoch():
    schedule = recipes.get("arpit2019/table1/resnet56/proposed").schedule
    assert schedule.kind == "steps"
    found = rates(learning_rate(schedule, 0.1, epochs=182, steps_per_epoch=3), 546)
    epoch = np.arange(546) // 3
    expected = np.where(epoch < 91, 0.1, np.where(epoch < 136, 0.01, 0.001))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_steps_keep_their_share_of_a_shorter_run():
    schedule = Schedule("steps", ((0.5, 0.1), (0.75, 0.5)))
    found = rates(learning_rate(schedule, 1.0, epochs=4, steps_per_epoch=5), 20)
    expected = [1.0] * 10 + [0.1] * 5 + [0.05] * 5
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(("shape", "power"), [("linear", 1), ("quadratic", 2)])
@pytest.mark.parametrize("epochs", [0.5, 1.0, 1.5])
def test_warm_up_by_hand(shape, power, epochs):
    schedule = Schedule("constant", warm_up=WarmUp(epochs, shape))
    found = rates(learning_rate(schedule, 0.2, epochs=3, steps_per_epoch=4), 12)
    steps = 4 * epochs
    expected = [0.2 * min(1.0, (s + 1) / steps) ** power for s in range(12)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    # Unlike that of the paper's code, for half an epoch, too.
    assert found.max() == pytest.approx(0.2)


def test_warm_up_from_a_start_joins_what_goes_on_below_it():
    schedule = Schedule("cosine", warm_up=WarmUp(1.0, "quadratic", start=0.1))
    found = rates(learning_rate(schedule, 0.2, epochs=2, steps_per_epoch=5), 10)
    cosine = [0.1 * (1 + math.cos(math.pi * step / 10)) for step in range(10)]
    share = [min(1.0, (step + 1) / 5) ** 2 for step in range(10)]
    expected = [0.02 + (c - 0.02) * s for c, s in zip(cosine, share, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "after", [0.1, keras.optimizers.schedules.CosineDecay(0.1, 20)]
)
def test_schedules_survive_a_file(after):
    schedule = WarmUpSchedule(after, steps=7.5, power=2, start=0.01)
    optimizer = keras.optimizers.SGD(schedule)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    config = again.get_config()["learning_rate"]
    assert config["registered_name"] == "keras_convinit>WarmUpSchedule"
    copy = keras.saving.deserialize_keras_object(config)
    np.testing.assert_allclose(rates(copy, 20), rates(schedule, 20))


@pytest.mark.parametrize("change", [{"steps": 0}, {"power": -1}])
def test_wrong_arguments_are_refused(change):
    with pytest.raises(ValueError, match="Received"):
        WarmUpSchedule(**{"after": 0.1, "steps": 2, **change})
