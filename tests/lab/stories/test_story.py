import dataclasses
import json

import pytest

from keras_convinit.lab.plain_data import from_plain
from keras_convinit.lab.stories.story import Story, Training

pytestmark = pytest.mark.once


def test_story_survives_json(story):
    values = json.loads(json.dumps(dataclasses.asdict(story)))
    assert from_plain(Story, values) == story


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 8, 0.1), "`epochs` must be an integer of at least 1. Received: epochs=0"),
        ((1, 8.5, 0.1), "`batch_size` must .* Received: batch_size=8.5"),
        ((1, 8, 0.0), "`learning_rate` must .* Received: learning_rate=0.0"),
    ],
)
def test_impossible_trainings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Training(*arguments)
