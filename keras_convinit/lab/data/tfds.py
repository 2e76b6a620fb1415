"""MNIST and CIFAR by tensorflow-datasets, which is imported when first asked for."""

import contextlib
import logging
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from keras_convinit.lab.data.images import ImageDataset
from keras_convinit.lab.errors import LabError

TFDS_NAMES = ("mnist", "cifar10", "cifar100")

# Seconds that a server may take to say that it is there.
PATIENCE = 10


def from_tfds(
    name: str, limit: int | None = None, folder: str | None = None
) -> ImageDataset:
    """Reads images that tensorflow-datasets has prepared, or prepares them.

    Args:
        name: One of `TFDS_NAMES`.
        limit: How many training images, and how many held-out images, to read at
            most; None for all.
        folder: Where prepared data sets lie. None is tfds' own choice: the environment
            variable `TFDS_DATA_DIR`, or `~/tensorflow_datasets`.

    Returns:
        The first images of either split, in tfds' own order, which is a shuffled one.

    Raises:
        LabError: tensorflow-datasets is not installed, or the data set is not there
            and cannot be downloaded.
    """
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise _unavailable(
            name,
            f"tensorflow-datasets cannot be imported ({error})",
            'pip install ".[lab]" in a clone of the repository',
        ) from error

    with _quiet():
        builder = tensorflow_datasets.builder(name, data_dir=folder)
        if not builder.is_prepared():
            _prepare(builder, tensorflow_datasets.download.DownloadConfig)

    def split(part: str) -> tuple[np.ndarray, np.ndarray]:
        first = part
        # tfds refuses to read more images than there are.
        if limit is not None and limit < builder.info.splits[part].num_examples:
            first = f"{part}[:{limit}]"
        everything = builder.as_dataset(
            split=first, batch_size=-1, as_supervised=True, shuffle_files=False
        )
        images, labels = tensorflow_datasets.as_numpy(everything)
        return images, labels.astype(np.int32)

    return ImageDataset(
        name,
        *split("train"),
        *split("test"),
        num_classes=builder.info.features["label"].num_classes,
    )


def _prepare(builder: Any, configuration: Any) -> None:
    """Downloads a data set, unless it is plain that this cannot succeed."""
    # Without a network tfds itself retries for minutes before it gives up.
    server = _unreachable(builder.url_infos)
    if server is not None:
        raise _unprepared(builder, f"{server} cannot be reached")
    try:
        builder.download_and_prepare(
            download_config=configuration(try_download_gcs=False)
        )
    except Exception as error:
        # tfds lets through whatever its transports and parsers raise.
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise _unprepared(builder, f"tensorflow-datasets says: {reason}") from error


def _unreachable(urls: Iterable[str]) -> str | None:
    """The first server among the addresses that does not answer at all."""
    servers = dict.fromkeys("/".join(url.split("/")[:3]) for url in urls)
    for server in servers:
        request = urllib.request.Request(server, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=PATIENCE).close()
        except urllib.error.HTTPError:
            continue  # It answered, if only to say no.
        except OSError as error:
            # Trust is for tfds to judge, which brings its own certificates.
            if not isinstance(getattr(error, "reason", None), ssl.SSLError):
                return server
    return None


def _unprepared(builder: Any, reason: str) -> LabError:
    return _unavailable(
        builder.name,
        f"it is not in {builder.data_dir}, and {reason}",
        "connect to the network so that it can be downloaded, or set TFDS_DATA_DIR to "
        "a folder where tensorflow-datasets has prepared it",
    )


def _unavailable(name: str, reason: str, remedy: str) -> LabError:
    return LabError(
        f"The data set {name} cannot be had: {reason}. To get it: {remedy}. "
        "Without a network: --dataset digits."
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps back the warning that a data set is not there yet: we say it ourselves."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
