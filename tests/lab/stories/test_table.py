import dataclasses

import pytest
from rich.console import Console

from keras_convinit.lab.stories.table import results_table

pytestmark = pytest.mark.once


def text(results):
    console = Console(width=80)
    with console.capture() as capture:
        console.print(results_table(results))
    return capture.get()


def row(results, label):
    return next(line.split() for line in text(results).splitlines() if label in line)


def test_rows_say_mean_and_range(results, make_run):
    late = (0.0,) * 30 + (1.0,) * 20
    runs = (
        make_run(seed=0, held_out_accuracy=0.9, accuracies=late),
        make_run(seed=1, held_out_accuracy=0.85, accuracies=late),
        make_run("zhang_forward", held_out_accuracy=0.0, diverged=True),
    )
    results = dataclasses.replace(results, runs=runs)
    reached = "he_normal 2 87.5 (85.0 to 90.0) 40 (40 to 40) 0"
    assert row(results, "he_normal") == reached.split()
    missed = "zhang_forward 1 0.0 (0.0 to 0.0) not reached 1"
    assert row(results, "zhang_forward") == missed.split()
    assert "Small networks, noise" in text(results)


def test_contender_without_runs(results):
    results = dataclasses.replace(results, runs=())
    assert row(results, "he_normal") == ["he_normal", "0", "-", "-", "-"]


def test_milestone_that_some_runs_missed(results, make_run):
    late = (0.0,) * 30 + (1.0,) * 20
    runs = (make_run(seed=0, accuracies=late), make_run(seed=1))
    shown = text(dataclasses.replace(results, runs=runs))
    assert "40 (40 to 40)" in shown
    assert "in 1 runs" in shown


def test_table_fits_a_terminal(results):
    assert max(map(len, text(results).splitlines())) <= 80
