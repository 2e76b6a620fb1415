"""A model as a program."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_convinit.analysis import TensorRef, as_input, trace


def rewind(program):
    """Has random layers draw the same again."""
    for call in program.calls:
        if isinstance(call.layer, keras.layers.Dropout):
            call.layer.seed_generator.state.assign([1, 0])


def test_running_the_program_is_calling_the_model(model, batch, arrays):
    x, program = batch(model), trace(model)
    rewind(program)
    expected = arrays(model(x))
    rewind(program)
    found = arrays(program.run(x))
    keras.tree.assert_same_structure(expected, found)
    keras.tree.map_structure(np.testing.assert_array_equal, expected, found)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["sequential_in_functional", "frozen", "told_twice"])
def test_the_program_is_told_of_training(name, training, models, batch, arrays):
    model = models[name]()
    x = batch(model)
    program = trace(model)
    results = []
    for run, told in (
        (model, training),
        (program.run, training),
        (model, not training),
    ):
        rewind(program)
        results.append(arrays(run(x, training=told)))
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.allclose(results[0], results[2])


def test_every_call_has_a_name_of_its_own(model):
    calls = trace(model).calls
    assert len({call.path for call in calls}) == len(calls)
    assert [call.index for call in calls] == list(range(len(calls)))


def test_names_tell_the_way_through_the_models(models):
    paths = {
        name: [call.path for call in trace(models[name]()).calls]
        for name in ("shared_layer", "shared_model", "sequential_in_functional")
    }
    assert paths["shared_layer"] == ["shared", "shared#2"]
    assert sorted(path for path in paths["shared_model"] if "inner" in path) == [
        "inner/dense",
        "inner/dense#2",
        "inner/tanh",
        "inner/tanh#2",
    ]
    inside = ["conv", "norm", "drop", "flat", "dense"]
    assert paths["sequential_in_functional"] == [
        *(f"sequential/{name}" for name in inside),
        "last",
    ]


def test_calls_hold_the_layers_of_the_model(models):
    model = models["sequential_in_functional"]()
    inner = model.get_layer("sequential")
    assert [call.layer for call in trace(model).calls] == [
        *inner.layers,
        model.get_layer("last"),
    ]


def test_calls_know_what_goes_in_and_out(models, batch):
    model = models["several_ends"]()
    program = trace(model)
    joined, a, b = sorted(program.calls, key=lambda call: "joined" not in call.path)
    left, right = (program.inputs[name].id for name in ("left", "right"))
    assert joined.arguments == ([TensorRef(left), TensorRef(right)],)
    assert joined.inputs == (left, right)
    a, b = sorted((a, b), key=lambda call: call.path)
    assert a.inputs == joined.outputs
    assert program.outputs == {
        "a": TensorRef(a.outputs[0]),
        "b": [TensorRef(b.outputs[0]), TensorRef(left)],
    }
    assert program.shapes[joined.outputs[0]] == (None, 7)
    assert program.shapes[b.outputs[0]] == (None, 3)


def test_shapes_and_dtypes_are_those_of_the_values(model, batch):
    program = trace(model)

    def check(call, *args, **kwargs):
        outputs = call.layer(*args, **kwargs)
        for number, x in zip(call.outputs, keras.tree.flatten(outputs), strict=True):
            known = program.shapes[number]
            assert len(known) == len(x.shape)
            assert all(a in (None, b) for a, b in zip(known, x.shape, strict=True))
            assert keras.backend.standardize_dtype(x.dtype) == program.dtypes[number]
        return outputs

    program.run(batch(model), check)


def test_whoever_runs_the_program_decides_what_a_call_is(models):
    program = trace(models["shared_model"]())
    seen = []

    def note(call, *args, **kwargs):
        seen.append((call.path, args))
        outputs = tuple(f"value {number}" for number in call.outputs)
        return outputs if len(outputs) > 1 else outputs[0]

    outputs = program.run("input", note)
    assert [path for path, _ in seen] == [call.path for call in program.calls]
    assert seen[0][1] == ("input",)
    assert [f"value {value.id}" for value in program.outputs] == outputs


def test_a_call_can_be_changed(models, batch, arrays):
    model = models["sequential"]()
    x = batch(model)

    def without_bias(call, *args, **kwargs):
        outputs = call.layer(*args, **kwargs)
        return outputs + 1.0 if call.path == "dense" else outputs

    changed = trace(model).run(x, without_bias)
    np.testing.assert_allclose(arrays(changed), arrays(model(x)) + 1, rtol=1e-6)


def test_the_number_of_inputs_is_checked(models):
    with pytest.raises(ValueError, match=r"must be 2 tensors.*which are 1"):
        trace(models["several_ends"]()).run(np.ones((1, 4)))


def test_mixed_precision(models, batch, arrays):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = models["sequential_in_functional"]()
    finally:
        keras.config.set_dtype_policy("float32")
    x = batch(model)
    expected, found = (ops.cast(f(x), "float32") for f in (model, trace(model).run))
    np.testing.assert_array_equal(arrays(found), arrays(expected))


@pytest.mark.parametrize(
    ("given", "wanted", "expected"),
    [
        ((3, 1), (None,), (3,)),
        ((3, 2), (None,), (3, 2)),
        ((3,), (None, 1), (3, 1)),
        ((3,), (None, 2), (3,)),
        ((3, 1), (None, 1), (3, 1)),
    ],
)
def test_an_axis_of_one_comes_and_goes_as_the_model_has_it(given, wanted, expected):
    assert tuple(as_input(np.ones(given), wanted, "float32").shape) == expected
