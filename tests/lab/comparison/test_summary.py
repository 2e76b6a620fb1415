import dataclasses

import numpy as np
import pytest

from keras_convinit.lab.comparison.summary import (
    Row,
    Spread,
    milestone_step,
    running_mean,
    summarize,
)


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
def test_milestone_step(make_run, accuracies, step):
    assert milestone_step(make_run(accuracies=tuple(accuracies))) == step


def test_summary_of_runs(results, make_run):
    fast, slow = (0.0,) * 10 + (1.0,) * 40, (0.0,) * 30 + (1.0,) * 20
    runs = (
        make_run(seed=0, held_out_accuracy=0.9, accuracies=fast),
        make_run(seed=1, held_out_accuracy=0.6, accuracies=slow),
        make_run(seed=2, held_out_accuracy=0.0, accuracies=(0.1,), diverged=True),
    )
    ((story, rows),) = summarize(dataclasses.replace(results, runs=runs))
    assert story.name == "small"
    assert rows == [
        Row(
            label="he_normal",
            runs=3,
            accuracy=Spread(pytest.approx(0.5), 0.0, 0.9),
            steps=Spread(30.0, 20, 40),
            reached=2,
            diverged=1,
        ),
        Row("zhang_forward", 0, None, None, 0, 0),
    ]
