"""Random small models: branches, joins, shared layers, several inputs and outputs."""

import hypothesis
import keras
import numpy as np
from hypothesis import strategies as st
from keras import ops

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
