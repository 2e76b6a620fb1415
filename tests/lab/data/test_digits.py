import numpy as np
import pytest
from sklearn.datasets import load_digits

from keras_convinit.lab.data.digits import digits

pytestmark = pytest.mark.once


def as_rows(images):
    return sorted(map(bytes, images.reshape(len(images), -1)))


def test_every_image_is_either_for_training_or_held_out():
    dataset = digits()
    assert dataset.train_images.shape == (1437, 8, 8, 1)
    assert dataset.test_images.shape == (360, 8, 8, 1)
    both = np.concatenate([dataset.train_images, dataset.test_images])
    assert as_rows(both) == as_rows(load_digits().images.astype("uint8"))


def test_labels_belong_to_their_images():
    everything = load_digits()
    label_of = {
        bytes(image): label
        for image, label in zip(
            everything.images.astype("uint8"), everything.target, strict=True
        )
    }
    dataset = digits()
    for images, labels in (
        (dataset.train_images, dataset.train_labels),
        (dataset.test_images, dataset.test_labels),
    ):
        assert [label_of[bytes(image)] for image in images] == labels.tolist()


def test_classes_keep_their_shares():
    held_out = np.bincount(digits().test_labels, minlength=10)
    expected = np.bincount(load_digits().target) * 360 / 1797
    assert (np.abs(held_out - expected) <= 1).all()


def test_split_is_a_function_of_the_seed():
    assert np.array_equal(digits(0).test_images, digits(0).test_images)
    assert np.array_equal(digits(0).train_labels, digits(0).train_labels)
    assert as_rows(digits(0).test_images) != as_rows(digits(1).test_images)
