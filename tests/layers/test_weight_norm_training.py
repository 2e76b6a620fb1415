"""Weight-normalized layers while they are trained, by Keras and by hand."""

import keras
import numpy as np
import pytest

from keras_convinit import layers

BACKEND = keras.backend.backend()


def make_model(policy=None):
    options = {"activation": "relu", "dtype": policy}
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.WeightNormConv2D(4, 3, **options),
            layers.WeightNorm(keras.layers.Conv2D(4, 3, **options)),
            keras.layers.Flatten(dtype=policy),
            layers.WeightNormDense(3, dtype=policy),
        ]
    )


@pytest.fixture
def data():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((8, 6, 6, 2)).astype("float32")
    return x, generator.standard_normal((8, 3)).astype("float32")


def fit(model, data, **arguments):
    model.compile(keras.optimizers.SGD(0.05), "mse", **arguments)
    history = model.fit(*data, batch_size=8, epochs=4, shuffle=False, verbose=0)
    return history.history["loss"]


def test_predict_writes_nothing(data, snapshot):
    model = make_model()
    before = snapshot(model)
    model.predict(data[0], verbose=0)
    model(data[0], training=True)
    for old, new in zip(before, snapshot(model), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.skipif(BACKEND == "torch", reason="XLA is not for PyTorch here")
def test_xla_makes_no_difference(data, snapshot):
    results = []
    for jit_compile in (True, False):
        keras.utils.set_random_seed(1)
        model = make_model()
        losses = fit(model, data, jit_compile=jit_compile)
        assert losses[-1] < losses[0]
        results.append([losses, snapshot(model)])
    keras.tree.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *results
    )


@pytest.mark.parametrize(
    "policy", ["mixed_bfloat16", "mixed_float16", "bfloat16", "float16"]
)
def test_half_precision(policy, data):
    model = make_model(policy)
    for layer in (model.layers[0], model.layers[3]):
        direction, gain = layer.weight_norm_direction, layer.weight_norm_gain
        assert direction.dtype == layer.variable_dtype
        assert gain.dtype == "float32"
        kernel = keras.backend.standardize_dtype(layer.kernel.dtype)
        assert kernel == layer.compute_dtype == policy.removeprefix("mixed_")
        # The largest float16 is 65504.
        direction.assign(1e4 * keras.ops.sign(direction))
    losses = fit(model, data)
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    for variable in model.variables:
        value = keras.ops.convert_to_numpy(keras.ops.cast(variable, "float32"))
        assert np.isfinite(value).all()


def test_a_gain_near_one_moves_in_bfloat16():
    layer = layers.WeightNormDense(2, gain_initializer="ones", dtype="bfloat16")
    layer.build((None, 3))
    layer.scale_gain(1 - 1e-3)
    gain = keras.ops.convert_to_numpy(layer.weight_norm_gain)
    np.testing.assert_allclose(gain, 0.999, rtol=1e-6)
    assert float(keras.ops.cast(keras.ops.cast(0.999, "bfloat16"), "float32")) == 1


def test_filters_of_zeros_train(data):
    model = make_model()
    layer = model.layers[0]
    direction = keras.ops.convert_to_numpy(layer.weight_norm_direction).copy()
    direction[..., 1] = 0
    layer.weight_norm_direction.assign(direction)
    # Without, nothing would go back through the ReLU.
    layer.bias.assign(np.ones(4))
    losses = fit(model, data)
    assert losses[-1] < losses[0]
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    assert np.square(kernel[..., 1]).sum() > 0.1


def test_a_loop_of_ones_own_is_fit(data, snapshot):
    expected = make_model()
    model = keras.models.clone_model(expected)
    model.set_weights(expected.get_weights())
    fit(expected, data)
    before = snapshot(model)
    trained = [keras.ops.copy(variable) for variable in model.trainable_variables]
    gradients_of = stateless_gradients(model, *data)
    for _ in range(4):
        steps = zip(trained, gradients_of(trained), strict=True)
        trained = [value - 0.05 * gradient for value, gradient in steps]
    # Nothing has been written until now.
    for old, new in zip(before, snapshot(model), strict=True):
        np.testing.assert_array_equal(old, new)
    for variable, value in zip(model.trainable_variables, trained, strict=True):
        variable.assign(value)
    for old, new in zip(snapshot(expected), snapshot(model), strict=True):
        np.testing.assert_allclose(old, new, rtol=1e-4, atol=1e-6)


def stateless_gradients(model, x, y):
    y = keras.ops.convert_to_tensor(y)

    def loss(values):
        outputs, _ = model.stateless_call(values, [], x)
        return keras.ops.mean(keras.ops.square(outputs - y))

    def by_tensorflow(values):
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(values)
            value = loss(values)
        return tape.gradient(value, values)

    def by_torch(values):
        import torch

        leaves = [value.detach().requires_grad_() for value in values]
        return torch.autograd.grad(loss(leaves), leaves)

    if BACKEND == "jax":
        import jax

        return jax.jit(jax.grad(loss))
    return by_torch if BACKEND == "torch" else by_tensorflow


MIRRORED = """
    import keras
    import numpy as np
    import tensorflow as tf
    from keras_convinit import layers, optimizers

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )

    def train():
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [
                keras.Input((6, 6, 2)),
                layers.WeightNormConv2D(4, 3, activation="relu"),
                layers.WeightNorm(keras.layers.Conv2D(4, 3, activation="relu")),
                layers.ScaledResidual(layers.WeightNormDense(4), 2),
                layers.ScaledResidualStack(layers.WeightNormDense(4), 3),
                keras.layers.Flatten(),
                layers.WeightNormDense(3, gain_initializer="ones"),
            ]
        )
        optimizer = optimizers.CoupledSGD(
            0.05, momentum=0.9, weight_decay=0.1, undecayed=["weight_norm_gain"]
        )
        model.compile(optimizer, "mse")
        generator = np.random.default_rng(0)
        x = generator.standard_normal((16, 6, 6, 2)).astype("float32")
        y = generator.standard_normal((16, 3)).astype("float32")
        model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
        return model.get_weights()

    alone = train()
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert strategy.num_replicas_in_sync == 2
    with strategy.scope():
        together = train()
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    print("SAME", len(alone))
"""


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="`tf.distribute` is TensorFlow's")
def test_two_devices_train_as_one(fresh_process):
    assert "SAME 15" in fresh_process(MIRRORED)
