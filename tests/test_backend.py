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
    assert (backend.accelerator() is None) == (not has_one)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="has such a device")
def test_what_computes_is_named():
    with keras.device("meta"):
        assert backend.accelerator() == "meta"
