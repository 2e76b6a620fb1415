import dataclasses

import pytest

from keras_convinit.lab.stories.experiment import carry_out, pending
from keras_convinit.lab.stories.results import Results

pytestmark = pytest.mark.once


def keys(tasks):
    return [(task.story.name, task.contender.label, task.seed) for task in tasks]


def test_seeds_come_first(results):
    other = dataclasses.replace(results.stories[0], name="other")
    empty = Results((results.stories[0], other), {})
    assert keys(pending(empty, [7, 8])) == [
        (story, contender, seed)
        for seed in (7, 8)
        for story in ("small", "other")
        for contender in ("he_normal", "zhang_forward")
    ]


def test_finished_runs_are_not_pending(results):
    assert keys(pending(results, range(2))) == [("small", "zhang_forward", 1)]
    assert not pending(results, range(1))


def test_results_are_saved_after_every_run(story, dataset, tmp_path):
    path = tmp_path / "results.json"
    one = dataclasses.replace(story, contenders=story.contenders[:1])
    empty = Results((one,), {"keras": "3.12.0"})
    tasks = pending(empty, [0, 1])
    observed = []

    def observe(task):
        observed.append(task)
        return lambda loss, accuracy: None

    counts = []
    for results in carry_out(empty, tasks, {"small": dataset}, path, observe):
        assert Results.load(path) == results
        counts.append(len(results.runs))
    assert counts == [1, 2]
    assert observed == tasks
