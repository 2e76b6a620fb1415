"""Properties that hold for any graph."""

import hypothesis
import keras
import numpy as np
from hypothesis import strategies as st
from keras import ops

from keras_convinit import kernels_of
from keras_convinit.graph import read, trace
from keras_convinit.layers import ScaledResidual

WIDTH = 3
L = keras.layers


def dense(name, **arguments):
    return L.Dense(WIDTH, name=name, kernel_initializer="lecun_normal", **arguments)


def inner_model(name):
    inputs = keras.Input((WIDTH,))
    x = dense("inside", activation="tanh")(inputs)
    return keras.Model(inputs, [x + inputs, ops.relu(x)], name=name)


# What may be done with the two tensors that were drawn.
STEPS = {
    "dense": lambda name, a, b: dense(name)(a),
    "fused": lambda name, a, b: dense(name, activation="relu")(a),
    "activation": lambda name, a, b: L.Activation("tanh", name=name)(a),
    "norm": lambda name, a, b: L.LayerNormalization(name=name)(a),
    "add": lambda name, a, b: L.Add(name=name)([a, b]),
    "plus": lambda name, a, b: a + b,
    "multiply": lambda name, a, b: a * b,
    "join": lambda name, a, b: dense(name)(L.Concatenate()([a, b])),
    "model": lambda name, a, b: sum(inner_model(name)(a)) + b,
    "row": lambda name, a, b: keras.Sequential([dense("one"), dense("two")], name=name)(
        a
    ),
    "residual": lambda name, a, b: ScaledResidual(dense("in"), 2, name=name)(a),
}


# A graph as plain data: the steps, with the tensors that they take counted modulo the
# number there is, and the outputs likewise.
RECIPES = st.fixed_dictionaries(
    {
        "inputs": st.integers(1, 2),
        "steps": st.lists(
            st.tuples(
                st.sampled_from([*STEPS, "shared dense", "shared model"]),
                st.integers(0, 9),
                st.integers(0, 9),
            ),
            min_size=1,
            max_size=7,
        ),
        "outputs": st.lists(st.integers(0, 9), min_size=1, max_size=3),
        "structure": st.sampled_from(["list", "dict", "nested"]),
    }
)


def build(recipe):
    tensors = [keras.Input((WIDTH,)) for _ in range(recipe["inputs"])]
    inputs = list(tensors)
    shared_layer, shared_model = dense("shared"), inner_model("shared_model")
    for index, (step, *operands) in enumerate(recipe["steps"]):
        a, b = (tensors[i % len(tensors)] for i in operands)
        if step == "shared dense":
            tensors.append(shared_layer(a))
        elif step == "shared model":
            tensors += shared_model(a)
        else:
            tensors.append(STEPS[step](f"step_{index}", a, b))
    outputs = [tensors[-1 - i % len(tensors)] for i in recipe["outputs"]]
    # All inputs must be used.
    outputs = [outputs[0] + 0 * sum(inputs), *outputs[1:]]
    if recipe["structure"] == "dict":
        outputs = {f"o{i}": x for i, x in enumerate(outputs)}
    elif recipe["structure"] == "nested":
        outputs = [outputs, outputs[0]]
    return keras.Model(inputs, outputs)


SETTINGS = hypothesis.settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
    derandomize=True,
)


def values(model):
    generator = np.random.default_rng(0)
    x = [generator.standard_normal((2, WIDTH)).astype("float32") for _ in model.inputs]
    return x if len(x) > 1 else x[0]


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
    graph = read(model)
    found = [id(site.kernel.variable) for site in graph.sites]
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
    graph = read(model)
    assert sum(graph.stages) <= len(trace(model, open_composites=True).calls)
    for site in graph.sites:
        in_block = site.branch is not None or site.projection
        assert in_block == (site.stage is not None)
        assert not site.last_in_branch or site.branch is not None
        assert not (site.projection and site.branch is not None)
        if in_block:
            assert site.blocks == graph.stages[site.stage] > site.block >= 0
        assert not (site.classifier and site.normalized)
    branches = {s.branch for s in graph.sites if s.branch is not None}
    assert len(branches) >= bool(graph.stages)


@SETTINGS
@hypothesis.given(RECIPES)
def test_the_model_is_as_before(recipe):
    model = build(recipe)
    config = model.get_config()
    weights = [ops.convert_to_numpy(variable) for variable in model.variables]
    outputs = {id(layer): layer.output for layer in model.layers}
    read(model)
    trace(model, open_composites=True)
    assert model.get_config() == config
    assert all(layer.output is outputs[id(layer)] for layer in model.layers)
    for old, new in zip(weights, model.variables, strict=True):
        np.testing.assert_array_equal(old, ops.convert_to_numpy(new))
