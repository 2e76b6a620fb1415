"""Models whose variables lie on several devices."""

import keras
import pytest

BACKEND = keras.backend.backend()

MIRRORED = """
    import keras
    import numpy as np
    import tensorflow as tf
    import keras_convinit

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )

    def make():
        model = keras.Sequential(
            [
                keras.Input((6, 6, 2)),
                keras_convinit.layers.WeightNormConv2D(4, 3, activation="relu"),
                keras.layers.BatchNormalization(),
                keras_convinit.layers.ScaledResidualStack(keras.layers.Dense(4), 3),
                keras.layers.Flatten(),
                keras.layers.Dense(3),
            ]
        )
        model.compile("sgd", "mse")
        return model

    alone = make()
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        together = make()
    x = np.random.default_rng(0).normal(size=(8, 6, 6, 2)).astype("float32")
    search = keras_convinit.schemes.GradInit(2, batch_size=4, verbose=False)
    quotient = keras_convinit.schemes.MetaInit(2, batch_size=4, verbose=False)
    for scheme in ("auto", "lsuv", "data_dependent", search, quotient):
        for model in (alone, together):
            y = np.ones((8, 3), "float32")
            keras_convinit.initialize(model, scheme, data=(x, y), seed=1)
        for a, b in zip(alone.get_weights(), together.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    for variable in together.trainable_variables:
        first, second = (
            part.numpy() for part in strategy.experimental_local_results(variable.value)
        )
        np.testing.assert_array_equal(first, second)
    together.fit(x, np.ones((8, 3), "float32"), verbose=0)
    print("SAME ON BOTH")
"""

LAID_OUT = """
    import os
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    import keras
    import numpy as np
    import keras_convinit

    def make():
        return keras.Sequential(
            [keras.Input((8,)), keras.layers.Dense(6), keras.layers.Dense(4)]
        )

    alone = make()
    mesh = keras.distribution.DeviceMesh((1, 2), ["batch", "model"])
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*kernel"] = (None, "model")
    keras.distribution.set_distribution(
        keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch")
    )
    together = make()
    x = np.random.default_rng(0).normal(size=(8, 8)).astype("float32")
    search = keras_convinit.schemes.GradInit(2, batch_size=4, verbose=False)
    for scheme in ("zhang_forward", "lsuv", search):
        for model in (alone, together):
            y = np.ones((8, 4), "float32")
            keras_convinit.initialize(model, scheme, data=(x, y), loss="mse", seed=1)
        for a, b in zip(alone.get_weights(), together.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)
    kernel = together.layers[0].kernel.value
    print("PARTS", sorted(part.data.shape for part in kernel.addressable_shards))
"""


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="`tf.distribute` is TensorFlow's")
def test_replicas_start_from_the_same(fresh_process):
    assert "SAME ON BOTH" in fresh_process(MIRRORED)


@pytest.mark.skipif(BACKEND != "jax", reason="layouts are JAX's")
def test_kernels_stay_laid_out(fresh_process):
    assert "PARTS [(8, 3), (8, 3)]" in fresh_process(LAID_OUT)
