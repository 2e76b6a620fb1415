"""Kernels that are spread over devices as they are drawn."""

import keras
import pytest

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="`keras.distribution` runs on JAX"
)

CODE = """
    import keras
    import keras_convinit

    distribution = keras.distribution
    devices = distribution.list_devices()
    assert len(devices) == 4
    mesh = distribution.DeviceMesh((4,), ["model"], devices)
    layout = distribution.LayoutMap(mesh)
    layout[".*kernel"] = distribution.TensorLayout([None, "model"])
    distribution.set_distribution(distribution.ModelParallel(layout_map=layout))
    # Keras draws the larger one in a compiled program, already spread.
    for units in (8, 4096):
        for name in {names}:
            initializer = keras.initializers.get(
                {{"class_name": name, "config": {{"seed": 1}}}}
            )
            layer = keras.layers.Dense(units, kernel_initializer=initializer)
            layer.build((None, units))
            kernel = layer.kernel.value
            shards = {{shard.data.shape for shard in kernel.addressable_shards}}
            assert shards == {{(units, units // 4)}}, shards
            deviation = float(keras.ops.std(kernel)) * units**0.5
            print("DRAWN", name, units, deviation)
"""


def test_layouts_are_honoured(fresh_process):
    names = ["zhang_forward", "zhang_backward"]
    printed = fresh_process(
        CODE.format(names=names),
        XLA_FLAGS="--xla_force_host_platform_device_count=4",
    )
    drawn = [line.split() for line in printed.splitlines() if line.startswith("DRAWN")]
    assert len(drawn) == 4
    for _, _, units, deviation in drawn:
        # sqrt(2 / fan) up to five standard errors of a deviation.
        tolerance = 5 / (2 * int(units) ** 2) ** 0.5
        assert float(deviation) / 2**0.5 == pytest.approx(1, abs=tolerance)
