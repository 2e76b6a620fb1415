import keras
import numpy as np
import pytest
from helpers.stacks import (
    BACKEND,
    Normed,
    chain,
    close,
    convolution,
    dense,
    functional,
    gradients,
    model_of,
    random_branch,
)
from helpers.values import array, gaussian
from keras import layers, ops

from keras_convinit.layers import ScaledResidualStack

# Whether XLA compiles the model, and whether activations are computed again.
WAYS = {
    "tensorflow": [(False, False), (False, True), (True, False), (True, True)],
    "jax": [(True, False), (True, True)],
    "torch": [(False, False), (False, True)],
}


@pytest.mark.parametrize(("jit", "remat"), WAYS[BACKEND])
def test_it_is_trained_and_predicts_without_a_change(rng, jit, remat):
    stack = ScaledResidualStack([*dense(), layers.Dropout(0.1)], 3, remat=remat)
    model = model_of(stack)
    model.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=jit)
    assert model.jit_compile == jit
    x, y = gaussian(rng, 16, 6), gaussian(rng, 16, 1)
    start = [array(v) for v in model.trainable_variables]
    history = model.fit(x, y, batch_size=16, epochs=4, verbose=0).history["loss"]
    assert history[-1] < history[0]
    for before, variable in zip(start, model.trainable_variables, strict=True):
        changed = array(variable) != before
        assert changed.reshape(len(changed), -1).any(1).all(), variable.path
    before = [array(v) for v in model.variables]
    model.predict(x, verbose=0)
    for value, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(value, array(variable))


def test_it_works_without_state(rng):
    model = model_of(ScaledResidualStack(random_branch(), 3))
    x = gaussian(rng, 4, 6)
    trainable = [v.value for v in model.trainable_variables]
    others = [v.value for v in model.non_trainable_variables]
    before = [array(v) for v in model.variables]
    first, others = model.stateless_call(trainable, others, x, training=True)
    second, _ = model.stateless_call(trainable, others, x, training=True)
    assert not np.array_equal(array(first), array(second))
    for value, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(value, array(variable))
    zeros = [ops.zeros_like(value) for value in trainable]
    outputs, _ = model.stateless_call(zeros, others, x)
    np.testing.assert_array_equal(array(outputs), 0)


@pytest.mark.parametrize(
    ("policy", "remat"), [("mixed_float16", False), ("mixed_bfloat16", True)]
)
def test_mixed_precision(rng, policy, remat):
    branch = [
        layers.Dense(6, dtype=policy),
        # Asks for more than the stack computes in, and gets it.
        Normed(6, dtype="float32"),
        layers.Dropout(0.0, dtype=policy),
    ]
    stack = ScaledResidualStack(branch, 3, remat=remat, dtype=policy)
    x = gaussian(rng, 4, 6)
    y = stack(x)
    assert keras.backend.standardize_dtype(y.dtype) == stack.compute_dtype
    assert {v.dtype for v in stack.variables} == {"float32"}
    # As compilers may round less often, to a few units in the last place.
    eps = 2.0**-8 if policy == "mixed_bfloat16" else 2.0**-11
    z = chain(stack.unrolled())(x)
    close(array(ops.cast(y, "float32")), array(ops.cast(z, "float32")), 4 * eps)
    _, slopes = gradients(stack, stack.trainable_variables, x)
    assert all(np.all(np.isfinite(slope)) for slope in slopes)
    assert {slope.dtype.name for slope in slopes} == {"float32"}


def test_a_model_may_build_it_late_and_in_mixed_precision(rng):
    class Late(keras.Model):
        def __init__(self):
            super().__init__(dtype="mixed_bfloat16")
            self.stack = ScaledResidualStack(
                [functional(), layers.Dropout(0.1)], 3, dtype="mixed_bfloat16"
            )
            self.head = layers.Dense(1, dtype="mixed_bfloat16")

        def call(self, inputs):
            return self.head(self.stack(inputs))

    model = Late()
    model.compile("sgd", "mse")
    model.fit(gaussian(rng, 4, 6), gaussian(rng, 4, 1), epochs=1, verbose=0)
    kernel = array(model.stack.weights[0])
    assert len({block.tobytes() for block in kernel}) == 3
    rounded = array(ops.cast(ops.cast(kernel, "bfloat16"), "float32"))
    assert not np.array_equal(kernel, rounded)


def test_dimensions_may_be_unknown(rng):
    stack = ScaledResidualStack(convolution(), 3)
    inputs = keras.Input((None, None, 6))
    outputs = stack(inputs)
    assert outputs.shape == (None, None, None, 6)
    model = keras.Model(inputs, outputs)
    for size in (4, 5):
        x = gaussian(rng, 2, size, size, 6)
        y = model.predict(x, verbose=0)
        close(y, array(chain(stack.unrolled())(x)))


def test_a_mask_reaches_every_block_and_what_follows():
    @keras.saving.register_keras_serializable("tests")
    class Masked(layers.Layer):
        def call(self, inputs, mask=None):
            if mask is None:
                return inputs
            return inputs * ops.expand_dims(ops.cast(mask, inputs.dtype), -1)

    class Mask(layers.Layer):
        def call(self, inputs, mask=None):
            return mask

    stack = ScaledResidualStack(Masked(), 4)
    x = layers.Embedding(4, 6, mask_zero=True)(np.array([[1, 0, 2]]))
    y = stack(x)
    close(array(y), array(x) * np.array([1.5**4, 1, 1.5**4])[:, None])
    assert array(Mask()(y)).tolist() == [[True, False, True]]


def test_a_branch_is_built_by_a_call_in_the_precision_of_the_stack():
    dtypes = []

    class Seen(layers.Layer):
        """Has no `build`, and so is built by being called."""

        def __init__(self, **kwargs):
            super().__init__(**{**kwargs, "autocast": False})

        def call(self, x):
            dtypes.append(keras.backend.standardize_dtype(x.dtype))
            return x

    ScaledResidualStack(Seen(), 2, dtype="bfloat16").build((None, 4))
    assert dtypes and set(dtypes) == {"bfloat16"}
