import numpy as np
import pytest

from keras_convinit.lab.over_seeds import (
    Spread,
    milestone_step,
    running_mean,
    spread_of_curves,
)

pytestmark = pytest.mark.once


def test_running_mean_is_over_twenty_steps():
    values = np.random.default_rng(0).random(50)
    expected = [values[end - 20 : end].mean() for end in range(20, 51)]
    np.testing.assert_allclose(running_mean(values), expected)
    assert running_mean(values[:19]).size == 0


@pytest.mark.parametrize(
    ("accuracies", "step"),
    [
        ([0.0] * 30 + [1.0] * 30, 40),  # Ten of twenty.
        ([0.0] * 30 + [0.5] * 20, 50),  # One half, and not a digit less.
        ([1.0] * 25, 20),  # Not before there are twenty.
        ([0.0] * 20 + [1.0] * 9, None),
        ([1.0] * 19, None),
        ([], None),
    ],
)
def test_milestone_step(accuracies, step):
    assert milestone_step(accuracies, 0.5) == step


def test_milestone_may_be_anywhere():
    rising = [number / 40 for number in range(40)]
    # The mean of steps n - 20 to n - 1 is (n - 10.5) / 40.
    assert milestone_step(rising, 0.25) == 21
    assert milestone_step(rising, 0.9) is None


def test_spread():
    assert Spread.of([]) is None
    spread = Spread.of([0.5, 0.25, 0.75])
    assert (spread.mean, spread.lowest, spread.highest) == (0.5, 0.25, 0.75)
    assert spread.text(100, ".1f") == "50.0 (25.0 to 75.0)"


def test_curves_count_as_far_as_they_go():
    curves = [np.array([1.0, 2.0, np.inf]), np.array([3.0])]
    mean, lowest, highest = spread_of_curves(curves)
    np.testing.assert_array_equal(mean, [2, 2, np.nan])
    np.testing.assert_array_equal(lowest, [1, 2, np.nan])
    np.testing.assert_array_equal(highest, [3, 2, np.nan])
    assert spread_of_curves([])[0].size == 0
