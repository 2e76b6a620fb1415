import dataclasses

import pytest

from keras_convinit.lab.over_seeds import Spread
from keras_convinit.lab.stories.summary import Row, summarize

pytestmark = pytest.mark.once


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
