"""The part of the training images that is set apart."""

import dataclasses

import numpy as np
import pytest

from keras_convinit.lab import data
from keras_convinit.lab.data import ImageDataset

pytestmark = pytest.mark.once


@pytest.fixture
def dataset():
    numbers = np.random.default_rng(0)
    images = numbers.integers(0, 256, (60, 5, 4, 3), dtype="uint8")
    labels = np.arange(50, dtype=np.int32)
    return ImageDataset("noise", images[:50], labels, images[50:], labels[:10], 50)


def test_there_is_no_validation_part_before(dataset):
    assert dataset.validation_images is None
    assert dataset.validation_labels is None
    with pytest.raises(ValueError, match=r"noise has no validation part, .*validation"):
        dataset.part("validation")


@pytest.mark.parametrize(("fraction", "count"), [(0.1, 5), (0.5, 25), (0.015, 1)])
def test_images_are_either_trained_on_or_set_apart(dataset, fraction, count):
    split = dataset.with_validation(fraction)
    assert len(split.validation_images) == count
    apart, left = split.validation_labels, split.train_labels
    # Labels are the numbers of the images.
    assert sorted([*apart, *left]) == list(range(50))
    assert np.array_equal(split.validation_images, dataset.train_images[apart])
    assert np.array_equal(split.train_images, dataset.train_images[left])
    assert (np.diff(left) > 0).all()
    assert split.test_images is dataset.test_images
    assert dataset.validation_images is None


def test_which_images_is_a_function_of_the_seed(dataset):
    def chosen(**arguments):
        return dataset.with_validation(**arguments).validation_labels.tolist()

    assert chosen() == chosen(seed=0)
    assert chosen() != chosen(seed=1)
    # At random, and not the first or the last.
    assert chosen() not in (list(range(5)), list(range(45, 50)))
    times = np.bincount(np.concatenate([chosen(seed=s) for s in range(400)]))
    # Five deviations of a binomial count.
    assert np.abs(times - 40).max() < 5 * np.sqrt(400 * 0.1 * 0.9)


def test_statistics_are_those_of_the_images_left(dataset):
    split = dataset.with_validation(0.4)
    left = dataset.train_images[split.train_labels].astype(np.float64)
    np.testing.assert_allclose(split.mean, left.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(split.deviation, left.std(axis=(0, 1, 2)), rtol=1e-12)
    assert not np.allclose(split.mean, dataset.mean, rtol=1e-6)


def test_a_limit_holds_for_the_validation_part_too(dataset):
    limited = dataset.with_validation(0.4).limited(7)
    assert len(limited.train_images) == len(limited.train_labels) == 7
    assert len(limited.validation_images) == len(limited.validation_labels) == 7
    assert len(limited.test_images) == 7


def test_bundled_digits_can_be_split():
    digits = data.load("digits").with_validation()
    assert len(digits.validation_images) == 144
    assert len(digits.train_images) == 1293
    images, labels = digits.part("validation")
    assert images is digits.validation_images
    assert labels is digits.validation_labels


@pytest.mark.parametrize("fraction", [0, -0.1, 1.0, 0.001, 0.999, float("nan"), "x"])
def test_fractions_that_leave_nothing_are_refused(dataset, fraction):
    with pytest.raises(ValueError, match=r"`fraction` must .* Received: fraction="):
        dataset.with_validation(fraction)


def test_what_cannot_be_split_is_refused(dataset):
    with pytest.raises(ValueError, match=r"must be called once.* a part of 5 images"):
        dataset.with_validation().with_validation()
    with pytest.raises(ValueError, match="`seed` must be"):
        dataset.with_validation(seed=-1)
    with pytest.raises(ValueError, match="`part` must be one of train, validation"):
        dataset.part("dev")


def test_eight_bits_reach_from_black_to_white(dataset):
    assert dataset.eight_bit() is dataset
    digits = data.load("digits", 40).with_validation(0.25)
    assert digits.white == 16
    eight = digits.eight_bit()
    assert eight.white == 255
    for part in ("train", "validation", "test"):
        ours, theirs = eight.part(part)[0], digits.part(part)[0]
        assert ours.dtype == np.uint8
        assert np.abs(ours - theirs * (255 / 16)).max() <= 0.5
    assert eight.train_images.max() == 255
    assert np.array_equal(eight.validation_labels, digits.validation_labels)
    floats = dataclasses.replace(
        dataset, train_images=dataset.train_images / 255, white=1.0
    )
    assert np.array_equal(floats.eight_bit().train_images, dataset.train_images)
