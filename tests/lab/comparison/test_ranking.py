import io

import pytest
from rich.console import Console

from keras_convinit.lab.comparison.ranking import ranked
from keras_convinit.lab.comparison.table import ranking_table
from keras_convinit.lab.over_seeds import Spread

pytestmark = pytest.mark.once

FAST = (0.0,) * 10 + (1.0,) * 40
SLOW = (0.0,) * 30 + (1.0,) * 20


@pytest.fixture
def plan(make_plan):
    return make_plan(
        schemes=("fixup", "lsuv", "he_normal", "auto", "zeros"),
        learning_rates=(0.1, 0.01),
        seeds=2,
    )


@pytest.fixture
def runs(make_run):
    def pair(scheme, rate, first, second, accuracies):
        return [
            make_run(scheme, rate, 0, accuracy=first, accuracies=accuracies),
            make_run(scheme, rate, 1, accuracy=second, accuracies=accuracies),
        ]

    return [
        *pair("he_normal", 0.1, 0.9, 0.8, SLOW),
        *pair("he_normal", 0.01, 0.5, 0.25, SLOW),
        # As good as he_normal, and sooner.
        *pair("auto", 0.01, 0.8, 0.9, FAST),
        # What it was right about with numbers that are not finite does not count.
        make_run("auto", 0.1, 0, diverged=True, accuracy=0.1, accuracies=(0.1,)),
        make_run("auto", 0.1, 1, accuracy=1.0, accuracies=FAST),
        *(
            make_run("fixup", rate, seed, refusal="no [branches]")
            for rate in (0.1, 0.01)
            for seed in (0, 1)
        ),
        *pair("zeros", 0.1, 0.0, 0.0, ()),
        # Not asked for.
        make_run("he_normal", 7.0, 0, accuracy=1.0),
        make_run("he_normal", 0.1, 2, accuracy=1.0),
    ]


def test_order(plan, runs):
    ranking = ranked(plan, runs)
    assert [(row.scheme, row.learning_rate) for row in ranking.best] == [
        ("auto", 0.01),
        ("he_normal", 0.1),
        ("zeros", 0.1),
        ("fixup", 0.1),
        ("lsuv", 0.1),
    ]
    assert [(row.scheme, row.learning_rate) for row in ranking.others] == [
        ("auto", 0.1),
        ("he_normal", 0.01),
        ("zeros", 0.01),
        ("fixup", 0.01),
        ("lsuv", 0.01),
    ]


def test_numbers(plan, runs):
    ranking = ranked(plan, runs)
    best, other = ranking.best[0], ranking.others[0]
    assert best.accuracy == Spread(pytest.approx(0.85), 0.8, 0.9)
    # The mean over twenty is one half after ten of the right ones.
    assert best.steps == Spread(20, 20, 20)
    assert (best.runs, best.reached, best.diverged, best.refused) == (2, 2, 0, 0)
    assert (best.initialization, best.training) == (0.25, 2.0)
    assert other.accuracy == Spread(0.5, 0.0, 1.0)
    assert (other.reached, other.diverged) == (1, 1)
    assert ranking.best[3].refusal == "no [branches]"
    assert ranking.best[4].accuracy is None


def test_threshold_is_as_asked(plan, runs):
    steps = [row.steps.mean for row in ranked(plan, runs, 0.25).best[:2]]
    assert steps == [20, 35]
    steps = [row.steps.mean for row in ranked(plan, runs, 1.0).best[:2]]
    assert steps == [30, 50]


def test_some_seeds_refused_count_as_zero(make_plan, make_run):
    plan = make_plan(schemes=("lsuv",), seeds=2)
    runs = [make_run("lsuv", accuracy=0.5), make_run("lsuv", seed=1, refusal="NaN")]
    (row,) = ranked(plan, runs).best
    assert row.accuracy == Spread(0.25, 0.0, 0.5)
    assert (row.refused, row.refusal) == (1, "NaN")
    assert "0 of 2, 1 refused" in shown(ranked(plan, runs))


def shown(ranking, threshold=0.5, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(ranking_table(ranking, threshold))
    return console.file.getvalue()


def test_table(plan, runs):
    text = shown(ranked(plan, runs))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "1 auto 0.01 85.0 (80.0 to 90.0) 20 0 of 2 0.2 2.0" in lines
    assert "auto 0.1 50.0 (0.0 to 100.0) 20 (1 of 2) 1 of 2 0.2 2.0" in lines
    assert "3 zeros 0.1 0.0 (0.0 to 0.0) never 0 of 2 0.2 2.0" in lines
    assert "fixup refused" in lines
    assert "lsuv 0.1 no run yet" in lines
    assert "fixup refused: no [branches]" in text
    # What was refused at one learning rate was at the other.
    assert text.count("refused") == 2
    assert max(map(len, text.splitlines())) <= 80
    assert "steps to" in text
    assert "25 %" in shown(ranked(plan, runs), 0.25)
