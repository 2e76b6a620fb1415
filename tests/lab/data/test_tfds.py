import ssl
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest

from keras_convinit.lab.data.tfds import from_tfds
from keras_convinit.lab.errors import LabError

pytestmark = pytest.mark.once

IMAGES = np.random.default_rng(0).integers(0, 256, (15, 32, 32, 3), dtype="uint8")
LABELS = np.arange(15) % 10


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder in which tensorflow-datasets has prepared a CIFAR-10 of 15 images."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp("tfds")
    official = tfds.builder("cifar10", data_dir=folder)

    def split(some):
        return tf.data.Dataset.from_tensor_slices(
            {
                "id": [f"{index:05}" for index in range(15)[some]],
                "image": IMAGES[some],
                "label": LABELS[some],
            }
        )

    tfds.dataset_builders.store_as_tfds_dataset(
        "cifar10",
        version=official.version,
        features=official.info.features,
        split_datasets={"train": split(slice(0, 9)), "test": split(slice(9, 15))},
        data_dir=folder,
        disable_shuffling=True,
    )
    return str(folder)


@pytest.fixture
def offline(monkeypatch):
    asked = []

    def unreachable(request, timeout):
        asked.append(request.full_url)
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    return asked


def test_prepared_data_is_read_without_a_network(prepared, offline):
    dataset = from_tfds("cifar10", folder=prepared)
    assert np.array_equal(dataset.train_images, IMAGES[:9])
    assert np.array_equal(dataset.test_images, IMAGES[9:])
    assert dataset.train_labels.tolist() == LABELS[:9].tolist()
    assert dataset.num_classes == 10
    assert dataset.name == "cifar10"
    assert not offline


def test_limit_reads_the_first_images(prepared):
    dataset = from_tfds("cifar10", limit=4, folder=prepared)
    assert np.array_equal(dataset.train_images, IMAGES[:4])
    assert np.array_equal(dataset.test_images, IMAGES[9:13])
    # More than there are held out, fewer than there are to train on.
    dataset = from_tfds("cifar10", limit=8, folder=prepared)
    assert np.array_equal(dataset.train_images, IMAGES[:8])
    assert np.array_equal(dataset.test_images, IMAGES[9:])


def refused(name, folder):
    with pytest.raises(LabError) as caught:
        from_tfds(name, folder=str(folder))
    message = str(caught.value)
    assert "\n" not in message
    assert f"The data set {name} cannot be had" in message
    assert "--dataset digits" in message
    return message


def test_without_a_network_the_message_says_what_to_do(tmp_path, offline, monkeypatch):
    forbid_download(monkeypatch, AssertionError("would retry for minutes"))
    message = refused("cifar100", tmp_path)
    assert "https://www.cs.toronto.edu cannot be reached" in message
    assert str(tmp_path) in message
    assert "set TFDS_DATA_DIR" in message
    assert offline == ["https://www.cs.toronto.edu"]


@pytest.mark.parametrize(
    "answer",
    [
        urllib.error.HTTPError("https://a.server", 403, "Forbidden", None, None),
        urllib.error.URLError(ssl.SSLError("unknown certificate")),
    ],
)
def test_a_server_that_refuses_is_a_server(answer, tmp_path, monkeypatch):
    def refusing(request, timeout):
        raise answer

    monkeypatch.setattr(urllib.request, "urlopen", refusing)
    forbid_download(monkeypatch, OSError("the disk is full\nand more"))
    message = refused("mnist", tmp_path)
    assert "tensorflow-datasets says: the disk is full. To get it" in message


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    message = refused("mnist", tmp_path)
    assert "tensorflow_datasets" in message
    assert 'pip install ".[lab]" in a clone of the repository' in message


def forbid_download(monkeypatch, error):
    import tensorflow_datasets as tfds

    def download_and_prepare(self, **arguments):
        raise error

    monkeypatch.setattr(
        tfds.core.DatasetBuilder, "download_and_prepare", download_and_prepare
    )
