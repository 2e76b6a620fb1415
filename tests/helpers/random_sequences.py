"""Random models of sequences, of what people put into models besides plain layers."""

import os

import hypothesis
import keras
import numpy as np
from hypothesis import strategies as st
from keras import ops

from helpers.functions import snake, tanh
from keras_convinit.layers import ScaledResidual, ScaledResidualStack, WeightNormDense

LENGTH, WIDTH, SAMPLES = 4, 3, 6
L = keras.layers


OWN = {"named like one of Keras'": tanh, "unknown": snake, "lambda": lambda x: 0.7 * x}


class Block(L.Layer):
    """A layer that makes its own layers, and does not say so in its configuration."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.supports_masking = True
        self.first = dense("first", activation="relu")
        self.second = dense("second")

    def build(self, shape):
        self.first.build(shape)
        self.second.build(shape)

    def call(self, x):
        return x + self.second(self.first(x))


class Mixer(L.Layer):
    """A layer with a kernel that nobody else knows."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.supports_masking = True

    def build(self, shape):
        self.matrix = self.add_weight(
            shape=(shape[-1], WIDTH), initializer="glorot_uniform", name="matrix"
        )

    def call(self, x):
        return ops.matmul(x, self.matrix)


class Penalized(L.Layer):
    """A layer that adds a loss."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.supports_masking = True

    def call(self, x):
        self.add_loss(0.3 * ops.mean(ops.square(x)))
        return x


def dense(name, **arguments):
    return L.Dense(WIDTH, name=name, kernel_initializer="lecun_normal", **arguments)


def einsum(equation, shape, name):
    return L.EinsumDense(equation, shape, name=name)


def branch(function="relu"):
    return [WeightNormDense(WIDTH, activation=function, name="in"), dense("out")]


# What may be done with two tensors that were drawn.
STEPS = {
    "dense": lambda name, a, b: dense(name, activation="relu")(a),
    "own function": lambda name, a, b: dense(name, activation=tanh)(a),
    "unknown function": lambda name, a, b: L.Activation(snake, name=name)(a),
    "lambda": lambda name, a, b: dense(name, activation=OWN["lambda"])(a),
    "operation": lambda name, a, b: ops.sin(a),
    "prelu": lambda name, a, b: L.PReLU(
        alpha_initializer="random_normal", shared_axes=[1], name=name
    )(a),
    "separable": lambda name, a, b: L.SeparableConv1D(
        WIDTH, 3, padding="same", name=name
    )(a),
    "einsum": lambda name, a, b: einsum("abc,cd->abd", (None, WIDTH), name)(a),
    "einsum for each position": lambda name, a, b: einsum(
        "abc,bcd->abd", (LENGTH, WIDTH), name
    )(a),
    "norm": lambda name, a, b: L.LayerNormalization(name=name)(a),
    "add": lambda name, a, b: L.Add(name=name)([a, b]),
    "join": lambda name, a, b: dense(name)(L.Concatenate()([a, b])),
    "recurrent": lambda name, a, b: L.GRU(WIDTH, return_sequences=True, name=name)(a),
    "attention": lambda name, a, b: L.MultiHeadAttention(1, WIDTH, name=name)(a, b),
    "block": lambda name, a, b: Block(name=name)(a),
    "mixer": lambda name, a, b: Mixer(name=name)(a),
    "penalty": lambda name, a, b: Penalized(name=name)(a),
    "activity": lambda name, a, b: dense(
        name, activity_regularizer=keras.regularizers.L2(0.1)
    )(a),
    "residual": lambda name, a, b: ScaledResidual(branch(), 2, name=name)(a),
    "stack": lambda name, a, b: ScaledResidualStack(branch(), 2, name=name)(a),
    "stack of own function": lambda name, a, b: ScaledResidualStack(
        branch(tanh), 2, name=name
    )(a),
    "over time": lambda name, a, b: L.TimeDistributed(dense("inside"), name=name)(a),
}
RANDOM = {
    "dropout": lambda name, a, b: L.Dropout(0.5, name=name)(a),
    "noise": lambda name, a, b: L.GaussianNoise(0.3, name=name)(a),
}


def recipes(steps=tuple(STEPS), most=5):
    """Models as plain data: the steps, and which of the tensors so far they take."""
    return st.fixed_dictionaries(
        {
            # Not in alphabetical order; TensorFlow has rules for the first letter.
            "inputs": st.sampled_from([("b",), ("b", "a"), ("_b", "a")]),
            "source": st.sampled_from(["numbers", "masking", "tokens"]),
            "steps": st.lists(
                st.tuples(
                    st.sampled_from(sorted(steps)), st.integers(0, 9), st.integers(0, 9)
                ),
                min_size=1,
                max_size=most,
            ),
            "underscores": st.booleans(),
            "pools": st.booleans(),
            "structure": st.sampled_from(["one", "list", "dict"]),
            "takes": st.sampled_from(["list", "dict"]),
        }
    )


def build(recipe):
    """The model of a recipe, compiled."""
    prefix = "_" if recipe["underscores"] else ""
    inputs, tensors = {}, []
    for name in recipe["inputs"]:
        tokens = recipe["source"] == "tokens"
        shape = (LENGTH,) if tokens else (LENGTH, WIDTH)
        x = keras.Input(shape, dtype="int32" if tokens else None, name=name)
        inputs[name] = x
        if tokens:
            x = L.Embedding(9, WIDTH, mask_zero=True, embeddings_initializer="normal")(
                x
            )
        elif recipe["source"] == "masking":
            x = L.Masking()(x)
        tensors.append(x)
    every = {**STEPS, **RANDOM}
    for index, (step, *operands) in enumerate(recipe["steps"]):
        a, b = (tensors[i % len(tensors)] for i in operands)
        tensors.append(every[step](f"{prefix}step_{index}", a, b))
    last = tensors[-1]
    if len(inputs) > 1:
        # In a way in which it is seen when two are taken for each other.
        last = L.Concatenate()([last, tensors[0], ops.sin(tensors[1])])
    if recipe["pools"]:
        last = L.GlobalAveragePooling1D()(last)
    outputs = {"y": dense("y")(last)}
    if recipe["structure"] != "one":
        outputs = {"y": outputs["y"], "c": dense("c")(last)}
    outputs = {
        "one": outputs["y"],
        "list": list(outputs.values()),
        "dict": outputs,
    }[recipe["structure"]]
    if recipe["takes"] == "list":
        inputs = list(inputs.values())
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(1.0), "mse")
    return model


def data(recipe, model):
    """Inputs and labels that the model takes."""
    generator = np.random.default_rng(0)
    inputs = {}
    for name in recipe["inputs"]:
        if recipe["source"] == "tokens":
            x = generator.integers(1, 9, (SAMPLES, LENGTH)).astype("int32")
        else:
            x = generator.standard_normal((SAMPLES, LENGTH, WIDTH)).astype("float32")
        if recipe["source"] != "numbers":
            # What is padded, in all inputs at the same positions.
            for row, length in enumerate((4, 2, 3, 1, 4, 2)):
                x[row, length:] = 0
        inputs[name] = x
    if recipe["takes"] == "list":
        inputs = list(inputs.values())
    labels = keras.tree.map_structure(
        lambda y: generator.standard_normal(tuple(y.shape)).astype("float32"),
        model(inputs),
    )
    return inputs, labels


def settings(examples):
    """Few examples, always the same; more, and others, with RANDOM_MODELS=200."""
    return hypothesis.settings(
        max_examples=int(os.environ.get("RANDOM_MODELS", examples)),
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        derandomize="RANDOM_MODELS" not in os.environ,
        database=None,
        # The recipes are short; to shrink one takes longer than to read it.
        phases=[hypothesis.Phase.generate],
        print_blob=False,
    )
