"""What the Hessian's norm takes, refuses, and leaves alone."""

import gc
import weakref

import keras
import numpy as np
import pytest

from keras_convinit import hessian_norm
from keras_convinit.layers import WeightNormDense


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


X, Y = random(10, 4), np.arange(10) % 3
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def network(**kwargs):
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(5, "tanh", **kwargs),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5, seed=3),
            keras.layers.Dense(3),
        ]
    )


def everything(model):
    variables = [*model.variables, *model.optimizer.variables]
    return {v.path: np.array(keras.ops.convert_to_numpy(v)) for v in variables}


def test_the_model_is_left_as_it_is():
    model = network()
    model.compile("adam", LOSS, metrics=["accuracy"])
    model.train_on_batch(X, Y)
    before, outputs = everything(model), [layer.output for layer in model.layers]
    flags = [layer.trainable for layer in model.layers]
    hessian_norm(model, X, Y)
    after = everything(model)
    assert before.keys() == after.keys()
    for path, value in before.items():
        np.testing.assert_array_equal(value, after[path], err_msg=path)
    assert all(a is b.output for a, b in zip(outputs, model.layers, strict=True))
    assert flags == [layer.trainable for layer in model.layers]


def test_micro_batches_make_no_difference():
    model = network()
    whole = hessian_norm(model, X, Y, LOSS, tolerance=1e-5)
    for size in (1, 4, 10):
        found = hessian_norm(model, X, Y, LOSS, batch_size=size, tolerance=1e-5)
        assert found.value == pytest.approx(whole.value, rel=1e-4)
    total = keras.losses.SparseCategoricalCrossentropy(True, reduction="sum")
    found = hessian_norm(model, X, Y, total, batch_size=4, tolerance=1e-5)
    assert found.value == pytest.approx(10 * whole.value, rel=1e-4)


def test_the_loss_of_the_model_includes_regularizers():
    # Of 0.5 ||w||^2 the Hessian is the identity: it shifts every eigenvalue by 1.
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(1, use_bias=False, kernel_regularizer="l2"),
        ]
    )
    model.layers[0].kernel.regularizer.l2 = np.float32(0.5)
    model.compile("sgd", "mean_squared_error")
    y = random(10, 1)
    own = hessian_norm(model, X, y, tolerance=1e-5, batch_size=3)
    given = hessian_norm(model, X, y, "mean_squared_error", tolerance=1e-5)
    plain = np.linalg.norm(2 * X.T @ X / 10, 2)
    assert given.value == pytest.approx(plain, rel=1e-4)
    assert own.value == pytest.approx(plain + 1, rel=1e-4)


def test_losses_of_several_outputs():
    inputs = {"a": keras.Input((4,), name="a"), "b": keras.Input((4,), name="b")}
    outputs = [
        keras.layers.Dense(1, use_bias=False, name="p")(inputs["a"]),
        keras.layers.Dense(1, use_bias=False, name="q")(inputs["b"]),
    ]
    model = keras.Model(inputs, outputs)
    x = {"a": X, "b": random(10, 4, seed=1)}
    y = [random(10, 1), random(10, 1)]
    sizes = [np.linalg.norm(2 * each.T @ each / 10, 2) for each in x.values()]
    for weights in ([1.0, 20.0], [20.0, 1.0]):
        model.compile("sgd", ["mse", "mse"], loss_weights=weights)
        found = hessian_norm(model, x, y, tolerance=1e-5)
        expected = max(w * size for w, size in zip(weights, sizes, strict=True))
        assert found.value == pytest.approx(expected, rel=1e-4)


def test_weights_are_those_of_the_moment():
    model = network()
    first = hessian_norm(model, X, Y, LOSS)
    model.layers[-1].kernel.assign(3 * model.layers[-1].kernel)
    second = hessian_norm(model, X, Y, LOSS)
    model.layers[0].trainable = False
    third = hessian_norm(model, X, Y, LOSS)
    assert len({first.value, second.value, third.value}) == 3


def test_a_model_that_is_gone_leaves_nothing_behind():
    model = network()
    hessian_norm(model, X, Y, LOSS, max_iterations=2)
    reference = weakref.ref(model)
    del model
    keras.backend.clear_session()
    gc.collect()
    assert reference() is None


def test_lists_tensors_and_names():
    model = network()
    expected = hessian_norm(model, X, Y, LOSS).value
    tensors = keras.ops.convert_to_tensor(X, "float32"), keras.ops.convert_to_tensor(Y)
    lists = X.tolist(), Y.tolist()
    for x, y in (tensors, lists):
        assert hessian_norm(model, x, y, LOSS).value == pytest.approx(expected)
    logits = keras.Sequential([model, keras.layers.Softmax()])
    found = hessian_norm(logits, X, Y, "sparse_categorical_crossentropy")
    assert found.value == pytest.approx(expected, rel=1e-3)


def test_a_policy_of_lower_precision():
    model = network(dtype="mixed_bfloat16")
    assert np.isfinite(hessian_norm(model, X, Y, LOSS, max_iterations=3).value)


class Unbuilt(keras.Model):
    def call(self, inputs):
        return inputs


NETWORK = network()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": Unbuilt()}, "must be a built Keras model"),
        ({"model": keras.layers.Dense(3)}, "must be a built Keras model"),
        (
            {"model": keras.Sequential([keras.Input((4,)), keras.layers.ReLU()])},
            "must have trainable variables",
        ),
        ({"x": np.zeros((0, 4))}, "`x` must have at least one sample.*\\(0, 4\\)"),
        ({"x": np.float32(1.0)}, "`x` must have at least one sample"),
        ({"y": []}, "`y` must have at least one sample"),
        ({"y": Y[:-1]}, "same number of samples.*\\(10, 4\\).*\\(9,\\)"),
        ({"y": Y + 1}, "`y` must be classes from 0 to 2.*from 1 to 3"),
        ({"y": -Y}, "`y` must be classes from 0 to 2.*from -2 to 0"),
        ({"y": random(10, 7), "loss": "mse"}, "`y` must be labels.*\\(10, 7\\)"),
        ({"x": X * np.nan}, "The loss must be finite.*nan"),
        ({"loss": None}, "`loss` must be given for a model that is not compiled"),
        ({"loss": "no_such_loss"}, "`loss` must be None, the name.*no_such_loss"),
        ({"loss": 3}, "`loss` must be None, the name.*loss=3"),
        ({"method": "newton"}, "`method` must be one of lanczos, paper.*newton"),
        ({"batch_size": 0}, "`batch_size` must be a positive integer"),
        ({"max_iterations": 0}, "`max_iterations` must be a positive integer"),
        ({"tolerance": -1.0}, "`tolerance` must be a finite number"),
    ],
)
def test_what_is_refused(change, message):
    arguments = {"model": NETWORK, "x": X, "y": Y, "loss": LOSS, **change}
    with pytest.raises(ValueError, match=f"(?s){message}"):
        hessian_norm(**arguments)


def test_a_second_derivative_that_is_infinite():
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(1, kernel_initializer="zeros")]
    )
    with pytest.raises(ValueError, match="second derivative"):
        hessian_norm(
            model, X, X[:, :1], lambda y, out: keras.ops.power(keras.ops.abs(out), 1.5)
        )


@pytest.mark.parametrize("policy", ["bfloat16", "mixed_bfloat16"])
def test_low_precision_beside_gains_in_single_precision(policy):
    def network():
        return keras.Sequential(
            [keras.Input((4,)), WeightNormDense(5), WeightNormDense(3)]
        )

    wide = network()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        low = network()
    finally:
        keras.config.set_dtype_policy(before)
    low.set_weights(wide.get_weights())
    expected = hessian_norm(wide, X, Y, LOSS, tolerance=1e-2).value
    found = hessian_norm(low, X, Y, LOSS, tolerance=1e-2).value
    # Eight bits of a number, several times.
    assert found == pytest.approx(expected, rel=0.1)
