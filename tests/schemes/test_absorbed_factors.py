"""A factor that a gain has absorbed is there after every scheme, as without it."""

import keras
import numpy as np
import pytest

import keras_convinit
from keras_convinit.analysis import analyze
from keras_convinit.layers import ScaledResidual, WeightNormDense

BLOCKS = 9
X = np.random.default_rng(0).normal(size=(64, 16)).astype("float32")


def network(absorb, num_blocks=BLOCKS):
    x = inputs = keras.Input((16,))
    for number in range(BLOCKS):
        branch = [
            WeightNormDense(16, activation="relu", name="first"),
            WeightNormDense(16, name="last"),
        ]
        x = ScaledResidual(branch, num_blocks, absorb=absorb, name=f"block_{number}")(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize("num_blocks", [BLOCKS, 100])
@pytest.mark.parametrize(
    "scheme",
    [
        *("auto", "arpit", "hanin", "kernel", "zhang_forward", "zhang_backward"),
        *("orthogonal", "lsuv", "data_dependent"),
    ],
)
def test_the_start_is_that_of_a_model_which_divides(scheme, num_blocks):
    outputs = []
    for absorb in (False, True):
        model = network(absorb, num_blocks)
        keras_convinit.initialize(model, scheme, data=X, seed=0)
        outputs.append(model.predict(X, verbose=0))
    np.testing.assert_allclose(*outputs, rtol=1e-3, atol=1e-4)


def test_the_last_kernel_of_a_branch_is_told_what_its_gain_holds():
    sites = analyze(network(True, 100)).kernels
    assert [site.absorbed for site in sites[:2]] == [1.0, 0.1]
    assert all(site.branch_factor == 1 for site in sites)
    assert all(site.absorbed == 1 for site in analyze(network(False)).kernels)
