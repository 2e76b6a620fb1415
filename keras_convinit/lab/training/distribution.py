"""Trainings that are spread over several devices or processes."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator

import keras

from keras_convinit.lab.errors import LabError

STRATEGIES = ("mirrored", "data_parallel")
BACKENDS = {"mirrored": "tensorflow", "data_parallel": "jax"}
# What `keras.distribution.initialize` reads.
VARIABLES = (
    "KERAS_DISTRIBUTION_JOB_ADDRESSES",
    "KERAS_DISTRIBUTION_NUM_PROCESSES",
    "KERAS_DISTRIBUTION_PROCESS_ID",
)


@dataclasses.dataclass(frozen=True)
class Workers:
    """Who trains together.

    Args:
        process: Number of this process, 0 for the one that writes files.
        processes: How many there are.
        devices: Devices of all of them, among which a batch is divided.
    """

    process: int = 0
    processes: int = 1
    devices: int = 1

    @property
    def writes(self) -> bool:
        """Whether this process writes files."""
        return self.process == 0

    @property
    def shard(self) -> tuple[int, int]:
        """Which share of the data is this process's, and of how many."""
        return self.process, self.processes

    def check_batch(self, batch_size: int) -> None:
        """Checks that each device gets an equal part of a batch.

        Raises:
            LabError: It does not.
        """
        if batch_size % self.devices:
            raise LabError(
                f"`batch_size` must be a multiple of the {self.devices} devices. "
                f"Received: batch_size={batch_size}"
            )


@contextlib.contextmanager
def workers(strategy: str | None) -> Iterator[Workers]:
    """Models that are made and compiled within are trained by all workers.

    Args:
        strategy: `"mirrored"`: the devices of this host, on TensorFlow. Each normalizes
            batches by its own share of them. `"data_parallel"`: the devices of this
            host, or, where `KERAS_DISTRIBUTION_JOB_ADDRESSES` and so on are set, those
            of several processes, on JAX. None for one device.

    Yields:
        Who they are.

    Raises:
        LabError: The backend has no such strategy.
    """
    if strategy is None:
        yield Workers()
        return
    _check_backend(strategy)
    with _mirrored() if strategy == "mirrored" else _data_parallel() as found:
        yield found


def _check_backend(strategy: str) -> None:
    backend = keras.backend.backend()
    if BACKENDS[strategy] != backend:
        raise LabError(
            f"`distribute` {strategy} needs KERAS_BACKEND={BACKENDS[strategy]}. "
            f"Received: distribute={strategy!r}, with the backend {backend}"
        )


@contextlib.contextmanager
def _mirrored() -> Iterator[Workers]:
    import tensorflow as tf

    if "TF_CONFIG" in os.environ:
        raise LabError(
            "`distribute` mirrored is for one host: Keras 3 cannot `fit` with "
            "MultiWorkerMirroredStrategy. For several: --distribute data_parallel with "
            "KERAS_BACKEND=jax. Received: TF_CONFIG is set"
        )
    devices = tf.config.list_logical_devices("GPU")
    devices = devices or tf.config.list_logical_devices("CPU")
    strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
    with strategy.scope():
        yield Workers(devices=strategy.num_replicas_in_sync)


@contextlib.contextmanager
def _data_parallel() -> Iterator[Workers]:
    import jax

    if any(name in os.environ for name in VARIABLES):
        missing = [name for name in VARIABLES if name not in os.environ]
        if missing:
            raise LabError(
                f"Several processes need {', '.join(VARIABLES)}. "
                f"Received: no {', '.join(missing)}"
            )
        if not jax.distributed.is_initialized():
            keras.distribution.initialize()
    before = keras.distribution.distribution()
    # Each process reads its own share, so that no image is read twice.
    parallel = keras.distribution.DataParallel(auto_shard_dataset=False)
    keras.distribution.set_distribution(parallel)
    try:
        yield Workers(
            process=jax.process_index(),
            processes=jax.process_count(),
            devices=jax.device_count(),
        )
    finally:
        keras.distribution.set_distribution(before)
