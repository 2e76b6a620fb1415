import dataclasses
import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from keras_convinit.lab.curves import style
from keras_convinit.lab.stories.figure import results_figure
from keras_convinit.lab.stories.results import Results

pytestmark = pytest.mark.once


def panels(results):
    return results_figure(results).axes


def test_lines_are_means_over_seeds(results, make_run):
    up, down = np.linspace(0, 1, 30), np.linspace(1, 0, 30)
    runs = (
        make_run(seed=0, accuracies=tuple(up), signal=(1.0, 0.5)),
        make_run(seed=1, accuracies=tuple(down), signal=(3.0, 0.1)),
    )
    learning, signal, error = panels(dataclasses.replace(results, runs=runs))
    steps, accuracy = learning.lines[0].get_data()
    assert steps.tolist() == list(range(20, 31))
    np.testing.assert_allclose(accuracy, 50)
    layers, ratios = signal.lines[0].get_data()
    assert layers.tolist() == [0, 1, 2]
    np.testing.assert_allclose(ratios, [1, 2, 0.3])
    layers, ratios = error.lines[0].get_data()
    assert layers.tolist() == [1, 2]
    np.testing.assert_allclose(ratios, [4, 1])
    assert signal.get_yscale() == error.get_yscale() == "log"


def test_bands_reach_from_the_lowest_to_the_highest(results, make_run):
    runs = (make_run(seed=0, signal=(1.0,)), make_run(seed=1, signal=(3.0,)))
    _, signal, _ = panels(dataclasses.replace(results, runs=runs))
    band = signal.collections[0].get_paths()[0].vertices
    at_layer_1 = band[band[:, 0] == 1, 1]
    assert (at_layer_1.min(), at_layer_1.max()) == (1, 3)


def test_run_that_ended_early_counts_as_far_as_it_went(results, make_run):
    runs = (
        make_run(seed=0, accuracies=(0.0,) * 25, signal=(2.0, None), diverged=True),
        make_run(seed=1, accuracies=(1.0,) * 30, signal=(4.0, 8.0)),
    )
    learning, signal, _ = panels(dataclasses.replace(results, runs=runs))
    accuracy = learning.lines[0].get_ydata()
    np.testing.assert_allclose(accuracy, [50] * 6 + [100] * 5)
    np.testing.assert_allclose(signal.lines[0].get_ydata(), [1, 3, 8])
    assert learning.lines[0].get_label() == "he_normal (1 of 2 diverged)"


def test_every_story_has_a_row_and_a_legend(results):
    second = dataclasses.replace(results.stories[0], name="second", title="Second")
    both = dataclasses.replace(results, stories=(results.stories[0], second))
    figure = results_figure(both)
    assert len(figure.axes) == 6
    assert [row.get_suptitle() for row in figure.subfigs] == [
        "Small networks",
        "Second",
    ]
    labels = [
        [text.get_text() for text in row.legends[0].texts] for row in figure.subfigs
    ]
    assert labels == [
        ["he_normal", "zhang_forward"],
        ["he_normal (no run yet)", "zhang_forward (no run yet)"],
    ]


def test_legend_covers_no_data(results):
    figure = results_figure(results)
    figure.savefig(io.BytesIO(), format="png")
    legend = figure.subfigs[0].legends[0].get_window_extent()
    assert not any(legend.overlaps(axes.get_tightbbox()) for axes in figure.axes)


def test_axes_are_labeled(results):
    learning, signal, error = panels(results)
    assert learning.get_xlabel() == "optimization step"
    assert learning.get_ylabel() == "training accuracy, %\n(mean over 20 steps)"
    assert signal.get_xlabel() == error.get_xlabel() == "layer"
    assert error.get_ylabel() == "norm of the error signal,\nrelative to the last"
    assert signal.get_ylabel() == "RMS of activations,\nrelative to the images"


def test_figure_of_nothing_but_names(story):
    picture = io.BytesIO()
    results_figure(Results((story,), {})).savefig(picture, format="png")
    assert picture.getvalue().startswith(b"\x89PNG")


def test_as_many_curves_as_colors_and_dashes_are_told_apart():
    looks = [style(number, "one") for number in range(28)]
    colors = [to_rgb(look["color"]) for look in looks]
    assert len(set(colors)) == len(set(colors[:7])) == 7
    pairs = zip(colors, (look["linestyle"] for look in looks), strict=True)
    assert len(set(pairs)) == 28
