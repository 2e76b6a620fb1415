"""What is asked of the backends where Keras has no public way."""

import gc
import weakref

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


def test_few_programs_of_a_model_are_kept():
    made = []

    class Program:
        def __init__(self, name):
            made.append(name)

    def get(model, name, kind="kind"):
        return backend.cached_by_model(model, kind, (name,), lambda: Program(name))

    model, other = (keras.Sequential([keras.layers.ReLU()]) for _ in range(2))
    programs = [get(model, number) for number in range(backend.CACHE_SIZE)]
    again = [get(model, number) for number in range(backend.CACHE_SIZE)]
    assert all(one is same for one, same in zip(programs, again, strict=True))
    # Others do not count.
    get(other, 0), get(model, 0, "another kind")
    assert get(model, 0) is programs[0]
    made.clear()
    # The oldest one makes room.
    get(model, backend.CACHE_SIZE)
    assert [get(model, n) for n in range(1, backend.CACHE_SIZE)] == programs[1:]
    assert made == [backend.CACHE_SIZE]
    assert get(model, 0) is not programs[0]
    gone = weakref.ref(get(model, 0))
    del model, programs, again
    gc.collect()
    assert gone() is None


def test_a_program_is_for_one_precision():
    model = keras.Sequential([keras.layers.ReLU()])
    single = backend.cached_by_model(model, "kind", (), object)
    before = keras.config.floatx()
    try:
        keras.config.set_floatx("float64")
        assert backend.cached_by_model(model, "kind", (), object) is not single
    finally:
        keras.config.set_floatx(before)
    assert backend.cached_by_model(model, "kind", (), object) is single
