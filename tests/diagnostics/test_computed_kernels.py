"""Reports of layers that compute their kernels from several variables."""

import keras
import numpy as np
import pytest

from keras_convinit import signal_report

X = np.random.default_rng(0).standard_normal((16, 16)).astype("float32")
Y = np.zeros((16, 3), "float32")


def network():
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Dense(8, "relu"),
        keras.layers.EinsumDense("ab,bc->ac", 8),
        keras.layers.Dense(3),
    ]
    model = keras.Sequential([keras.Input((16,)), *layers])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("mode", ["int8", "int4"])
@pytest.mark.filterwarnings("ignore:.*does not have a `quantize` method")
def test_of_codes_no_norm_is_told_and_nothing_predicted(mode):
    plain = signal_report(network(), X, Y)
    model = network()
    model.quantize(mode)
    for given in ((X, Y), (X,)):
        report = signal_report(model, *given)
        for row, before in zip(report.rows, plain.rows, strict=True):
            assert row.weight_norm is row.predicted_alpha is row.predicted_beta is None
            # Rounding changes the signal little.
            assert row.forward_norm == pytest.approx(before.forward_norm, rel=0.2)
        assert str(report).startswith(report.verdict)
    expected = model.evaluate(X, Y, verbose=0)
    assert signal_report(model, X, Y).loss == pytest.approx(expected, rel=1e-5)


def test_the_norm_of_a_kernel_with_adapters_is_that_of_the_sum():
    model = network()
    for layer in model.layers:
        layer.enable_lora(2)
        layer.lora_kernel_b.assign(keras.random.normal(layer.lora_kernel_b.shape))
    for layer, row in zip(model.layers, signal_report(model, X).rows, strict=True):
        kernel = np.linalg.norm(keras.ops.convert_to_numpy(layer.kernel))
        base = np.linalg.norm(keras.ops.convert_to_numpy(layer.weights[0]))
        assert row.weight_norm == pytest.approx(kernel, rel=1e-5)
        assert abs(kernel / base - 1) > 0.1
        assert row.predicted_alpha is not None
