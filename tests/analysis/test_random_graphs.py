"""Properties that hold for any graph."""

import hypothesis
import keras
import numpy as np
from helpers.random_graphs import RECIPES, SETTINGS, build, values
from keras import ops

from keras_convinit import kernels_of
from keras_convinit.analysis import analyze, trace


@SETTINGS
@hypothesis.given(RECIPES)
def test_running_the_program_is_calling_the_model(recipe):
    model = build(recipe)
    x = values(model)
    expected = keras.tree.map_structure(ops.convert_to_numpy, model(x))
    for opened in (False, True):
        program = trace(model, open_composites=opened)
        found = keras.tree.map_structure(ops.convert_to_numpy, program.run(x))
        keras.tree.map_structure(np.testing.assert_array_equal, expected, found)


@SETTINGS
@hypothesis.given(RECIPES)
def test_every_kernel_is_read_once_and_in_order(recipe):
    model = build(recipe)
    graph = analyze(model)
    found = [id(site.kernel.variable) for site in graph.kernels]
    wanted = {id(kernel.variable) for kernel in kernels_of(model)}
    assert len(found) == len(set(found))
    assert set(found) == wanted
    assert not graph.unread
    called = {}
    for call in trace(model, open_composites=True).calls:
        for kernel in kernels_of(call.layer) if hasattr(call.layer, "built") else ():
            called.setdefault(id(kernel.variable))
    assert list(called) == found


@SETTINGS
@hypothesis.given(RECIPES)
def test_places_make_sense(recipe):
    model = build(recipe)
    graph = analyze(model)
    assert sum(graph.stages) <= len(trace(model, open_composites=True).calls)
    for site in graph.kernels:
        in_block = site.branch is not None or site.projection
        assert in_block == (site.stage is not None)
        assert not site.last_in_branch or site.branch is not None
        assert not (site.projection and site.branch is not None)
        if in_block:
            assert site.blocks == graph.stages[site.stage] > site.block >= 0
        assert not (site.classifier and site.normalized)
    branches = {s.branch for s in graph.kernels if s.branch is not None}
    assert len(branches) >= bool(graph.stages)


@SETTINGS
@hypothesis.given(RECIPES)
def test_the_model_is_as_before(recipe):
    model = build(recipe)
    config = model.get_config()
    weights = [ops.convert_to_numpy(variable) for variable in model.variables]
    outputs = {id(layer): layer.output for layer in model.layers}
    analyze(model)
    trace(model, open_composites=True)
    assert model.get_config() == config
    assert all(layer.output is outputs[id(layer)] for layer in model.layers)
    for old, new in zip(weights, model.variables, strict=True):
        np.testing.assert_array_equal(old, ops.convert_to_numpy(new))
