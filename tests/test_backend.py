"""What is asked of the backends where Keras has no public way."""

import keras
import pytest

from keras_convinit import backend


def test_a_processor_is_no_accelerator():
    if keras.backend.backend() == "torch":
        import torch

        has_one = torch.accelerator.is_available()
    else:
        has_one = any("cpu" not in name for name in keras.distribution.list_devices())
    assert (backend.get_accelerator() is None) == (not has_one)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="has such a device")
def test_what_computes_is_named():
    with keras.device("meta"):
        assert backend.get_accelerator() == "meta"


def test_a_gpu_is_called_by_its_name(monkeypatch):
    """With what the frameworks say where there is one, as here there may be none."""

    def on(**known):
        one = type("Tensor", (), known)
        monkeypatch.setattr(keras.ops, "ones", lambda shape: one)

    if keras.backend.backend() == "jax":
        gpu = type("Device", (), {"platform": "gpu", "device_kind": "Abacus 9"})
        on(devices=staticmethod(lambda: {gpu}))
    elif keras.backend.backend() == "torch":
        import torch

        on(device=torch.device("cuda:1"))
        names = ["Abacus 8", "Abacus 9"]
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda d: names[d.index])
    else:
        import tensorflow as tf

        on(device="/job:localhost/replica:0/task:0/device:GPU:1")
        gpus = ["Abacus 8", "Abacus 9"]
        monkeypatch.setattr(tf.config, "list_physical_devices", {"GPU": gpus}.get)
        monkeypatch.setattr(
            tf.config.experimental,
            "get_device_details",
            lambda device: {"device_name": device},
        )
    assert backend.get_accelerator() == "Abacus 9"
