import io

import numpy as np
import pytest
from matplotlib.colors import to_hex

from keras_convinit.lab.comparison.figure import comparison_figure
from keras_convinit.lab.comparison.ranking import ranked
from keras_convinit.lab.curves import COLORS

pytestmark = pytest.mark.once


def drawn(plan, runs):
    return comparison_figure(plan, ranked(plan, runs), runs)


def two_rates(make_plan, make_run):
    plan = make_plan(learning_rates=(0.1, 0.01), seeds=2)
    rising = tuple(np.linspace(0, 1, 30))
    return plan, [
        make_run("auto", 0.1, 0, accuracy=0.5, accuracies=rising, signal=(2.0,)),
        make_run("auto", 0.1, 1, accuracy=0.7, accuracies=rising, signal=(4.0,)),
        # The learning rates of a seed begin with the same weights.
        make_run("auto", 0.01, 0, accuracy=0.2, accuracies=(0.0,) * 30, signal=(2.0,)),
    ]


def test_panels(make_plan, make_run):
    learning, rates, signal, error = drawn(*two_rates(make_plan, make_run)).axes
    # Of auto, which is first in rank and second in the plan.
    assert to_hex(learning.lines[0].get_color()) == COLORS[1].lower()
    steps, accuracy = learning.lines[0].get_data()
    assert steps.tolist() == list(range(20, 31))
    np.testing.assert_allclose(accuracy[[0, -1]], [100 * 9.5 / 29, 100 * 19.5 / 29])
    at, validation = rates.lines[0].get_data()
    np.testing.assert_allclose(np.array(at, float), [0.01, 0.1], rtol=0.1)
    np.testing.assert_allclose(validation, [20, 60])
    layers, sizes = signal.lines[0].get_data()
    assert layers.tolist() == [0, 1]
    np.testing.assert_allclose(sizes, [1, 3])
    np.testing.assert_allclose(error.lines[0].get_ydata(), [4, 1])


def test_axes_are_labeled(make_plan, make_run):
    figure = drawn(*two_rates(make_plan, make_run))
    learning, rates, signal, error = figure.axes
    assert learning.get_xlabel() == "optimization step"
    assert learning.get_ylabel() == "training accuracy, %\n(mean over 20 steps)"
    assert (rates.get_xlabel(), rates.get_xscale()) == ("learning rate", "log")
    assert rates.get_ylabel() == "validation accuracy, %\n(diverged: 0)"
    assert signal.get_xlabel() == error.get_xlabel() == "layer with weights"
    assert signal.get_yscale() == error.get_yscale() == "log"


def test_legend_says_what_became_of_schemes(make_plan, make_run):
    plan = make_plan(schemes=("fixup", "auto", "lsuv"), seeds=2)
    runs = [
        make_run("auto", accuracy=0.5),
        make_run("auto", seed=1, diverged=True),
        *(make_run("fixup", seed=seed, refusal="no") for seed in (0, 1)),
    ]
    figure = drawn(plan, runs)
    assert [text.get_text() for text in figure.legends[0].texts] == [
        "auto (rate 0.1, 1 of 2 diverged)",
        "fixup (refused)",
        "lsuv (no run yet)",
    ]
    # Two steps are too few for a mean over twenty.
    assert [text.get_text() for text in figure.axes[0].texts] == ["no run has 20 steps"]
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    assert picture.getvalue().startswith(b"\x89PNG")


def test_legend_covers_no_data(make_plan, make_run):
    schemes = tuple(f"orthogonal:gain={number}" for number in range(1, 10))
    figure = drawn(make_plan(schemes=schemes), [make_run(one) for one in schemes])
    figure.savefig(io.BytesIO(), format="png")
    legend = figure.legends[0].get_window_extent()
    assert not any(legend.overlaps(axes.get_tightbbox()) for axes in figure.axes)
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[2].lines}
    # And a line at 1.
    assert len(looks) == len(schemes) + 1
