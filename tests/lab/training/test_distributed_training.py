"""Two workers are one: on virtual devices, and in processes on this machine."""

import dataclasses
import json
import os
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_convinit.lab.errors import LabError
from keras_convinit.lab.recipes import Initialization, Optimizer, Recipe, Schedule
from keras_convinit.lab.training import train
from keras_convinit.lab.training.distribution import Workers

BACKEND = keras.backend.backend()

# What workers train, and one alone.
RECIPE = Recipe(
    name="test/distributed/mlp",
    source="nowhere",
    network="mlp",
    arguments={"depth": 3, "width": 16, "normalization": "weight"},
    dataset="digits",
    augmentations=(("Mixup", {"per": "batch"}),),
    optimizer=Optimizer(0.1, nesterov=True, weight_decay=1e-3),
    schedule=Schedule("cosine"),
    epochs=2,
    batch_size=64,
    initialization=Initialization("arpit"),
)

TRAIN = """
import dataclasses, json, pathlib, sys
import tensorflow as tf
from keras_convinit.lab.recipes import *
from keras_convinit.lab.training import train

strategy, folder = sys.argv[1:]
if strategy == "mirrored":
    cpu = tf.config.list_physical_devices("CPU")[0]
    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, halves)
result = train({recipe}, distribute=strategy, output=pathlib.Path(folder))
print("RESULT", json.dumps(dataclasses.asdict(result)))
"""


def started(strategy, folder, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN.format(recipe=RECIPE), strategy, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "KERAS_BACKEND": BACKEND, **environment},
    )


def alone(folder):
    return dataclasses.asdict(train(RECIPE, output=folder))


def ended(process):
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    (line,) = [line for line in output.splitlines() if line.startswith("RESULT")]
    return json.loads(line.removeprefix("RESULT"))


def weights(folder):
    with np.load(folder / "checkpoint.npz") as file:
        return [file[str(n)] for n in range(len(file.files) - 1)]


def assert_alike(one, other, folders):
    assert one["test_accuracy"] == pytest.approx(other["test_accuracy"], abs=1e-6)
    for mine, theirs in zip(
        one["record"]["epochs"], other["record"]["epochs"], strict=True
    ):
        for name in ("loss", "accuracy", "validation_loss", "validation_accuracy"):
            assert mine[name] == pytest.approx(theirs[name], rel=1e-4), name
    first, second = map(weights, folders)
    for a, b in zip(first, second, strict=True):
        # Sums in another order, over forty steps.
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="a strategy of TensorFlow")
def test_two_mirrored_devices_are_one(root, tmp_path, monkeypatch):
    monkeypatch.chdir(root)
    folders = [tmp_path / name for name in ("alone", "mirrored")]
    together = ended(started("mirrored", folders[1]))
    assert together["budget"]["devices"] == 2
    assert_alike(alone(folders[0]), together, folders)


@pytest.mark.skipif(BACKEND != "jax", reason="`keras.distribution` runs on JAX")
def test_two_processes_are_one(root, tmp_path, monkeypatch):
    monkeypatch.chdir(root)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    folders = [tmp_path / name for name in ("alone", "data_parallel")]
    processes = [
        started(
            "data_parallel",
            folders[1],
            JAX_CPU_COLLECTIVES_IMPLEMENTATION="gloo",
            KERAS_DISTRIBUTION_JOB_ADDRESSES=address,
            KERAS_DISTRIBUTION_NUM_PROCESSES="2",
            KERAS_DISTRIBUTION_PROCESS_ID=str(number),
        )
        for number in range(2)
    ]
    first, second = map(ended, processes)
    assert first["budget"]["devices"] == second["budget"]["devices"] == 2
    assert_alike(first, second, folders[1:] * 2)
    assert_alike(alone(folders[0]), first, folders)
    # One of them wrote, once.
    events = list((folders[1] / "events").iterdir())
    assert len(events) == 1


@pytest.mark.parametrize("strategy", ["mirrored", "data_parallel"])
def test_a_strategy_of_another_backend_is_told(recipe, strategy):
    needed = {"mirrored": "tensorflow", "data_parallel": "jax"}[strategy]
    if needed == BACKEND:
        pytest.skip("this is the one")
    with pytest.raises(LabError, match=f"needs KERAS_BACKEND={needed}.*{BACKEND}"):
        train(recipe, distribute=strategy)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="a strategy of TensorFlow")
def test_many_hosts_are_pointed_to_another_strategy(recipe, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{}")
    with pytest.raises(LabError, match=r"MultiWorkerMirroredStrategy.*data_parallel"):
        train(recipe, distribute="mirrored")


def test_clipping_is_not_mirrored(recipe):
    clipped = dataclasses.replace(recipe, optimizer=Optimizer(0.1, clip_norm=1.0))
    with pytest.raises(LabError, match="clips to 1"):
        train(clipped, distribute="mirrored")


@pytest.mark.skipif(BACKEND != "jax", reason="`keras.distribution` runs on JAX")
def test_processes_that_are_not_all_told_are_told(recipe, monkeypatch):
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "2")
    with pytest.raises(LabError, match="no KERAS_DISTRIBUTION_JOB_ADDRESSES"):
        train(recipe, distribute="data_parallel")


def test_devices_get_equal_parts():
    Workers(devices=4).check_batch(128)
    with pytest.raises(LabError, match=r"multiple of the 3 devices.*batch_size=128"):
        Workers(devices=3).check_batch(128)
