import dataclasses

import numpy as np
import pytest

from keras_convinit.lab import data
from keras_convinit.lab.data import ImageDataset

pytestmark = pytest.mark.once


@pytest.fixture
def dataset():
    numbers = np.random.default_rng(0)

    def images(count, brightest):
        return numbers.integers(0, brightest, (count, 6, 5, 3), dtype="uint8")

    return ImageDataset(
        "noise", images(50, 200), np.arange(50), images(30, 100), np.arange(30), 50
    )


def test_training_images_are_standardized_by_channel(dataset):
    images = dataset.standardized(dataset.train_images)
    assert images.dtype == np.float32
    exact = images.astype(np.float64)
    # Rounding to float32, 6e-8 of values up to 2.
    np.testing.assert_allclose(exact.mean(axis=(0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(exact.std(axis=(0, 1, 2)), 1, atol=1e-6)


def test_held_out_images_are_standardized_like_training_images(dataset):
    images = dataset.standardized(dataset.test_images)
    back = images * dataset.train_images.std((0, 1, 2)) + dataset.train_images.mean(
        (0, 1, 2)
    )
    np.testing.assert_allclose(back, dataset.test_images, atol=1e-4)
    # By their own statistics they would come out with mean 0.
    assert abs(images.mean()) > 0.5


def test_limit_keeps_the_first_images(dataset):
    limited = dataset.limited(20)
    assert np.array_equal(limited.train_images, dataset.train_images[:20])
    assert limited.test_labels.tolist() == list(range(20))
    assert len(dataset.limited(40).test_images) == 30
    assert len(dataset.limited(None).train_images) == 50
    # The statistics are those of what is left.
    assert not np.array_equal(limited.mean, dataset.mean)


def test_dataset_is_frozen(dataset):
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.num_classes = 3


def test_digits_are_loaded_by_name():
    assert len(data.load("digits").train_images) == 1437
    assert len(data.load("digits", limit=100).train_images) == 100


def test_unknown_names_and_limits_are_refused():
    with pytest.raises(
        ValueError,
        match=r"`dataset` must be one of digits, mnist, cifar10, cifar100. "
        "Received: dataset='svhn'",
    ):
        data.load("svhn")
    with pytest.raises(ValueError, match=r"`limit` must be .* Received: limit=0"):
        data.load("digits", limit=0)
