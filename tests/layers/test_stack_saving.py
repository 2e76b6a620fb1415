import copy
import json
import os
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest
from helpers.stacks import BACKEND, BRANCHES, dense, model_of, random_branch, shape_of
from helpers.values import array, gaussian
from keras import layers

from keras_convinit.layers import ScaledResidualStack


@pytest.mark.process
def test_it_is_loaded_in_a_fresh_process(rng, tmp_path):
    inputs = keras.Input((6,))
    outputs = ScaledResidualStack(dense(), 3, remat=True)(inputs)
    outputs = ScaledResidualStack(layers.Dense(6), 20)(outputs)
    model = keras.Model(inputs, outputs)
    x = gaussian(rng, 3, 6)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    np.savez(tmp_path / "data.npz", x=x, y=array(model(x)))
    code = """
import sys, keras, keras_convinit, numpy as np
folder = sys.argv[1]
data = np.load(folder + "/data.npz")
model = keras.models.load_model(folder + "/model.keras")
assert [layer.remat for layer in model.layers[1:]] == [True, False]
other = keras.models.clone_model(model)
assert not np.allclose(keras.ops.convert_to_numpy(other(data["x"])), data["y"])
other.load_weights(folder + "/model.weights.h5")
for loaded in (model, other):
    y = keras.ops.convert_to_numpy(loaded(data["x"]))
    np.testing.assert_allclose(y, data["y"], rtol=1e-5, atol=1e-5)
"""
    environment = {**os.environ, "KERAS_BACKEND": BACKEND}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, env=environment
    )


@pytest.mark.parametrize("branch", BRANCHES.values(), ids=BRANCHES)
def test_its_configuration_makes_it_again(branch):
    stack = ScaledResidualStack(branch(), 3, remat=True, name="stage")
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(stack)))
    again = keras.saving.deserialize_keras_object(config)
    assert (again.num_blocks, again.remat, again.name) == (3, True, "stage")
    stack.build(shape_of(branch))
    again.build(shape_of(branch))
    assert [v.path for v in again.variables] == [v.path for v in stack.variables]
    assert [v.shape for v in again.variables] == [v.shape for v in stack.variables]


def test_a_clone_has_draws_of_its_own_and_a_copy_has_not(rng):
    model = model_of(ScaledResidualStack(random_branch(), 3))
    x = gaussian(rng, 3, 6)
    y = array(model(x))
    assert not np.allclose(array(keras.models.clone_model(model)(x)), y)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_allclose(array(other(x)), y, rtol=1e-6)


def test_the_branch_that_is_given_is_left_alone(rng):
    branch = keras.Sequential([keras.Input((6,)), *dense()])
    before = [array(v) for v in branch.weights]
    stack = ScaledResidualStack(branch, 3)
    model = model_of(stack)
    model.compile("sgd", "mse")
    model.fit(gaussian(rng, 4, 6), gaussian(rng, 4, 1), epochs=1, verbose=0)
    for value, variable in zip(before, branch.weights, strict=True):
        np.testing.assert_array_equal(value, array(variable))
    assert not {id(v) for v in branch.variables} & {id(v) for v in model.variables}
