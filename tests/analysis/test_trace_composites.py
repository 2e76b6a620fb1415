"""Layers that are made of layers."""

import math

import keras
import numpy as np
import pytest

from keras_convinit.analysis import ScaledSum, expand, trace
from keras_convinit.layers import ScaledResidual, ScaledResidualStack, WeightNormDense

X = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")


def model_of(*layers):
    return keras.Sequential([keras.Input((4,)), *layers])


def branch():
    return [
        keras.layers.Dense(4, activation="relu", name="first"),
        WeightNormDense(4, name="second"),
    ]


LAYERS = {
    "identity": lambda: ScaledResidual(branch(), 4, name="block"),
    "projection": lambda: ScaledResidual(
        keras.layers.Dense(3, name="only"),
        4,
        shortcut=keras.layers.Dense(3, name="projection"),
        name="block",
    ),
    "absorbed": lambda: ScaledResidual(branch(), 4, absorb=True, name="block"),
    "mixed": lambda: ScaledResidual(branch(), 4, dtype="mixed_bfloat16", name="block"),
    "stack": lambda: ScaledResidualStack(branch(), 3, name="stack"),
}


@pytest.mark.parametrize("name", list(LAYERS))
@pytest.mark.parametrize("open_composites", [False, True])
def test_running_the_program_is_calling_the_model(name, open_composites, arrays):
    model = model_of(LAYERS[name]())
    program = trace(model, open_composites=open_composites)
    assert (len(program.calls) > 1) == open_composites
    expected, found = (
        arrays(keras.ops.cast(function(X), "float32"))
        for function in (model, program.run)
    )
    # A stack runs as one compiled loop, in which sums may be taken in another order.
    tolerance = 1e-6 if name == "stack" else 0
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_a_residual_block_is_its_parts_and_a_sum():
    program = trace(model_of(LAYERS["identity"]()), open_composites=True)
    assert [call.path for call in program.calls] == [
        "block/branch/first",
        "block/branch/second",
        "block/scaled_sum",
    ]
    last = program.calls[-1]
    assert isinstance(last.layer, ScaledSum)
    assert last.layer.factor == 0.5
    assert last.inputs == (program.inputs.id, program.calls[1].outputs[0])


def test_a_projection_is_seen():
    program = trace(model_of(LAYERS["projection"]()), open_composites=True)
    only, projection, last = program.calls
    assert last.inputs == (*projection.outputs, *only.outputs)
    assert projection.layer.name == "projection"


def test_an_absorbed_factor_is_not_taken_twice():
    program = trace(model_of(LAYERS["absorbed"]()), open_composites=True)
    assert program.calls[-1].layer.factor == 1


def test_a_stack_is_its_blocks():
    program = trace(model_of(LAYERS["stack"]()), open_composites=True)
    paths = [call.path for call in program.calls]
    assert len(paths) == 9
    assert paths[3] == "stack/stack_block_1/branch/first"
    factors = [c.layer.factor for c in program.calls if isinstance(c.layer, ScaledSum)]
    assert factors == [1 / math.sqrt(3)] * 3


def test_a_layer_of_somebody_elses_joins(arrays):
    class Twice(keras.layers.Layer):
        def __init__(self, inner):
            super().__init__(name="twice")
            self.inner = inner

        def call(self, x):
            return self.inner(self.inner(x))

    @expand.register
    def _(layer: Twice, apply, inputs):
        return apply(layer.inner, apply(layer.inner, inputs))

    model = model_of(Twice(keras.layers.Dense(4, name="inner")))
    program = trace(model, open_composites=True)
    assert [call.path for call in program.calls] == ["twice/inner", "twice/inner#2"]
    np.testing.assert_array_equal(arrays(program.run(X)), arrays(model(X)))
