"""What all augmentations have in common."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from keras_convinit.lab.data import augmentation
from keras_convinit.lab.data.augmentation import (
    AutoAugment,
    CropFlip,
    CutMix,
    Cutout,
    Mixup,
    RandomErasing,
    Rows,
)

pytestmark = pytest.mark.once

EACH_IMAGE = [CropFlip(), AutoAugment(), Cutout(), RandomErasing()]
MIXING = [Mixup(), Mixup(per="sample"), CutMix()]
ALL = [*EACH_IMAGE, *MIXING]
COUNT = 12


@pytest.fixture
def batch(pictures):
    images = tf.constant(pictures(COUNT), tf.float32)
    return images, tf.one_hot(np.arange(COUNT) % 5, 5)


def same(some, others):
    return all(np.array_equal(*pair) for pair in zip(some, others, strict=True))


@pytest.mark.parametrize("augment", ALL, ids=repr)
def test_the_outcome_is_a_function_of_the_seed(augment, batch):
    one = augment(*batch, [3, 4])
    assert same(one, augment(*batch, [3, 4]))
    assert not same(one, augment(*batch, [4, 3]))
    assert not same(one, augment(*batch, [3, 5]))
    assert not same(one, batch)


@pytest.mark.parametrize("augment", ALL, ids=repr)
def test_a_compiled_one_does_the_same(augment, batch):
    seed = tf.constant([3, 4])
    compiled = tf.function(augment)(*batch, seed)
    for ours, theirs in zip(compiled, augment(*batch, seed), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("augment", ALL, ids=repr)
def test_shapes_and_sums_of_labels_stay(augment, batch):
    images, labels = augment(*batch, [0, 0])
    assert images.shape == batch[0].shape
    assert images.dtype == labels.dtype == tf.float32
    np.testing.assert_allclose(tf.reduce_sum(labels, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("augment", EACH_IMAGE, ids=repr)
def test_eight_bits_stay_eight_bits_and_labels_stay(augment, batch):
    images, labels = augment(tf.cast(batch[0], tf.uint8), batch[1], [0, 0])
    assert images.dtype == tf.uint8
    assert labels is batch[1]


@pytest.mark.parametrize("augment", EACH_IMAGE, ids=repr)
def test_images_of_a_batch_are_changed_apart(augment, batch):
    same_image = tf.tile(batch[0][:1], (COUNT, 1, 1, 1))
    images = augment(same_image, batch[1], [0, 0])[0].numpy()
    assert len({image.tobytes() for image in images}) > COUNT / 3


@pytest.mark.parametrize("augment", EACH_IMAGE, ids=repr)
def test_any_rows_of_a_batch_are_changed_as_in_the_batch(augment, batch):
    images, labels = batch
    index = [7, 2, 2, 11]
    some = augment(
        tf.gather(images, index), tf.gather(labels, index), [1, 2], Rows(index, COUNT)
    )
    whole = augment(images, labels, [1, 2])
    assert np.array_equal(some[0], tf.gather(whole[0], index))


@pytest.mark.parametrize("augment", MIXING, ids=repr)
def test_mixing_wants_partners_for_some_rows(augment, batch):
    images, labels = batch
    with pytest.raises(ValueError, match="`rows` must be None"):
        augment(images, labels, [1, 2], Rows([0, 1], COUNT))
    order = augment.partners([1, 2], COUNT).numpy()
    assert sorted(order) == list(range(COUNT))
    index = np.array([9, 0, 4])
    mine, theirs = (
        (tf.gather(images, i), tf.gather(labels, i)) for i in (index, order[index])
    )
    some = augment.mixed_with(theirs, *mine, [1, 2], Rows(index, COUNT))
    whole = augment(images, labels, [1, 2])
    assert same(some, [tf.gather(values, index) for values in whole])


@pytest.mark.parametrize("augment", ALL, ids=repr)
def test_augmentations_are_plain_values(augment):
    name = next(iter(dataclasses.asdict(augment)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(augment, name, 1)
    assert augment == dataclasses.replace(augment)
    assert len({augment, dataclasses.replace(augment)}) == 1
    assert augment.stage in augmentation.STAGES
    assert type(augment).__name__ in augmentation.__all__
    assert "Example:" in type(augment).__doc__
    assert "Reference:" in type(augment).__doc__
