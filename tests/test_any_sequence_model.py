"""What holds for models of sequences, masks, own layers and own functions."""

import copy
import pickle
import random

import hypothesis
import keras
import numpy as np
import pytest
from helpers.random_sequences import RANDOM, STEPS, build, data, recipes, settings
from keras import ops

from keras_convinit import SignalMonitor, fold, initialize, signal_report
from keras_convinit.analysis import trace
from keras_convinit.layers import ScaledResidual, ScaledResidualStack


def numpy(nest):
    return keras.tree.map_structure(ops.convert_to_numpy, nest)


def weights(model):
    return [np.array(value) for value in model.get_weights()]


def assert_equal(first, second):
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


@settings(12)
@hypothesis.given(recipes())
def test_running_the_program_is_calling_the_model(recipe):
    model = build(recipe)
    x, _ = data(recipe, model)
    expected = numpy(model(x))
    for opened in (False, True):
        found = numpy(trace(model, open_composites=opened).run(x))
        keras.tree.map_structure(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
            expected,
            found,
        )


@pytest.mark.slow
@settings(8)
@hypothesis.given(recipes())
def test_a_report_has_the_numbers_of_a_step_of_training(recipe):
    model = build(recipe)
    x, y = data(recipe, model)
    before = weights(model)
    report = signal_report(model, x, y)
    assert_equal(before, weights(model))
    rows = {row.path: row for row in report.rows}
    # A step of gradient descent with a rate of 1 shows the gradients.
    old = {v.path: np.array(ops.convert_to_numpy(v)) for v in model.trainable_variables}
    loss = model.train_on_batch(x, y)
    loss = loss[0] if isinstance(loss, list | tuple) else loss
    assert report.loss == pytest.approx(float(loss), rel=1e-4, abs=1e-6)
    checked = 0
    for layer in model.layers:
        row = rows.get(layer.name)
        if row is None or row.gradient_norm is None or not layer.trainable_variables:
            continue
        steps = [
            old[v.path] - ops.convert_to_numpy(v) for v in layer.trainable_variables
        ]
        norm = np.sqrt(sum(np.square(step.astype("float64")).sum() for step in steps))
        assert row.gradient_norm == pytest.approx(norm, rel=2e-3, abs=2e-6), row.path
        checked += 1
    assert checked


@settings(8)
@hypothesis.given(recipes())
def test_norms_are_those_of_a_model_that_gives_them(recipe):
    hypothesis.assume(recipe["source"] == "numbers")
    model = build(recipe)
    x, y = data(recipe, model)
    rows = {row.path: row for row in signal_report(model, x, y).rows}
    layers = [
        layer
        for layer in model.layers
        if layer.name in rows and not isinstance(layer.output, list | tuple)
    ]
    assert layers
    probe = keras.Model(model.input, [layer.output for layer in layers])
    found = keras.tree.flatten(numpy(probe(x, training=True)))
    for layer, value in zip(layers, found, strict=True):
        norm = np.sqrt(np.square(value).sum(axis=-1).mean())
        assert rows[layer.name].forward_norm == pytest.approx(norm, rel=1e-4), layer


@settings(8)
@hypothesis.given(recipes())
def test_one_seed_gives_one_start_and_moves_nothing_else(recipe):
    first, second = build(recipe), build(recipe)
    second.set_weights(weights(first))
    random.seed(3)
    state = random.getstate()
    for model in (first, second):
        report = initialize(model, "auto", seed=5)
        assert random.getstate() == state
    assert_equal(weights(first), weights(second))
    # Twice gives what once gives.
    initialize(first, "auto", seed=5)
    assert_equal(weights(first), weights(second))
    kept = {entry.path for entry in report.skipped}
    assert {row.path for row in report.rows} | kept >= {
        v.path for v in second.trainable_variables
    }


@settings(5)
@hypothesis.given(recipes(), hypothesis.strategies.sampled_from(["auto", "lsuv"]))
def test_an_error_changes_nothing(recipe, scheme):
    class Fails(keras.initializers.Initializer):
        calls = 0

        def __call__(self, shape, dtype=None):
            Fails.calls += 1
            if Fails.calls > 1:
                raise RuntimeError("no more")
            return ops.ones(shape, dtype)

    model = build(recipe)
    x, _ = data(recipe, model)
    before = weights(model)
    with pytest.raises(RuntimeError, match="no more"):
        initialize(model, [scheme, Fails()], data=x, seed=0)
    assert_equal(before, weights(model))


@pytest.mark.slow
@settings(4)
@hypothesis.given(recipes((*STEPS, *RANDOM), most=4))
def test_a_monitor_does_not_change_the_training(recipe):
    losses, ends = [], []
    for watched in (False, True):
        keras.utils.set_random_seed(7)
        model = build(recipe)
        model.optimizer.learning_rate = 0.01
        x, y = data(recipe, model)
        monitor = [SignalMonitor(x, y)] if watched else []
        history = model.fit(x, y, epochs=2, batch_size=3, verbose=0, callbacks=monitor)
        losses.append(history.history["loss"])
        ends.append(weights(model))
    assert losses[0] == losses[1]
    assert_equal(*ends)


@settings(5)
@hypothesis.given(recipes(("residual", "stack", "dense", "join", "prelu")))
def test_no_two_variables_share_a_path(recipe):
    hypothesis.assume(recipe["steps"])
    model = build(recipe)
    x, _ = data(recipe, model)
    expected = numpy(model(x))
    models = [
        model,
        keras.models.clone_model(model),
        type(model).from_config(model.get_config()),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ]
    ours = ScaledResidual, ScaledResidualStack
    folds = any(isinstance(layer, ours) for layer in model.layers)
    if folds:
        models.append(fold(model, verbose=False))
    for made in models:
        paths = [variable.path for variable in made.variables]
        assert len(set(paths)) == len(paths), paths
        if keras.backend.backend() == "torch":
            assert len(list(made.parameters())) == len(made.trainable_variables)
            state = {name: x.clone() for name, x in made.state_dict().items()}
            before = numpy(made(x))
            for variable in made.trainable_variables:
                variable.assign(ops.zeros_like(variable))
            made.load_state_dict(state)
            keras.tree.map_structure(
                np.testing.assert_array_equal, before, numpy(made(x))
            )
    if folds:
        keras.tree.map_structure(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
            expected,
            numpy(models[-1](x)),
        )


@pytest.mark.parametrize("policy", ["float64", "bfloat16", "mixed_bfloat16"])
@settings(2)
@hypothesis.given(recipes(("residual", "dense", "norm", "add", "prelu"), most=3))
def test_other_precisions_are_read_and_initialized(policy, recipe):
    hypothesis.assume(recipe["source"] == "numbers")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = build(recipe)
        x, y = data(recipe, model)
        initialize(model, "auto", seed=0)
        initialize(model, "lsuv", data=x, seed=0)
        report = signal_report(model, x, y)
    finally:
        keras.config.set_dtype_policy(before)
    loss = model.evaluate(x, y, verbose=0)
    loss = loss[0] if isinstance(loss, list | tuple) else loss
    close = 1e-5 if policy == "float64" else 0.05
    assert report.loss == pytest.approx(float(loss), rel=close)
