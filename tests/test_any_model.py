"""Initializing and looking work on any graph, and lose nothing."""

import math

import hypothesis
import numpy as np
from helpers.random_graphs import RECIPES, SETTINGS, build, values

from keras_convinit import initialize, kernels_of, signal_report
from keras_convinit.analysis import trace

# Each example compiles a program.
FEW = hypothesis.settings(SETTINGS, max_examples=8)


@SETTINGS
@hypothesis.given(RECIPES)
def test_every_variable_gets_a_rule(recipe):
    model = build(recipe)
    hypothesis.assume(kernels_of(model))
    report = initialize(model, "auto", seed=1)
    assert not report.skipped
    paths = [row.path for row in report.rows]
    assert sorted(paths) == sorted(variable.path for variable in model.weights)
    kernels = {kernel.variable.path for kernel in kernels_of(model)}
    assert {row.path for row in report.rows if row.fan_in} == kernels
    assert all(row.target_std > 0 for row in report.rows if row.path in kernels)
    assert max(map(len, str(report).splitlines())) <= 100


@FEW
@hypothesis.given(RECIPES)
def test_a_report_has_a_row_for_every_call_and_changes_nothing(recipe):
    model = build(recipe)
    before = [np.array(value) for value in model.get_weights()]
    report = signal_report(model, values(model))
    calls = trace(model, open_composites=True).calls
    assert [row.path for row in report.rows] == [call.path for call in calls]
    assert all(math.isfinite(row.forward_norm) for row in report.rows)
    assert report.verdict
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
