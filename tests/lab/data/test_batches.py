"""Batches: every image once, the same epoch from wherever one starts, and shards."""

import re

import keras
import numpy as np
import pytest

from keras_convinit.lab import data
from keras_convinit.lab.data import ImageDataset, batches, steps_per_epoch
from keras_convinit.lab.data.augmentation import (
    AutoAugment,
    CropFlip,
    CutMix,
    Cutout,
    ImageAugmentation,
    Mixup,
    RandomErasing,
)
from keras_convinit.lab.data.augmentation.auto_augment import Operation

pytestmark = pytest.mark.once

CHAIN = [CropFlip(2), AutoAugment(), Cutout(3), RandomErasing()]


@pytest.fixture(scope="module")
def dataset():
    """Fifty images of colors, of which no two are alike; labels are their numbers."""
    numbers = np.random.default_rng(0)
    images = numbers.integers(0, 256, (63, 8, 8, 3), dtype="uint8")
    labels = np.arange(50, dtype=np.int32)
    noise = ImageDataset("noise", images[:50], labels, images[50:], labels[:13], 50)
    return noise.with_validation(0.2)


def arrays(*arguments, **settings):
    """All batches, one after the other."""
    return [tuple(b) for b in batches(*arguments, **settings).as_numpy_iterator()]


def equal(some, others):
    assert len(some) == len(others)
    return all(
        np.array_equal(ours, theirs)
        for pair in zip(some, others, strict=True)
        for ours, theirs in zip(*pair, strict=True)
    )


def test_an_epoch_has_every_training_image_once(dataset):
    epoch = arrays(dataset, batch_size=8)
    assert [len(images) for images, _ in epoch] == [8] * 5
    images = np.concatenate([images for images, _ in epoch])
    labels = np.concatenate([labels for _, labels in epoch])
    assert images.dtype == labels.dtype == np.float32
    assert labels.shape == (40, 50)
    assert np.array_equal(labels.sum(axis=1), np.ones(40))
    numbers = labels.argmax(axis=1)
    assert sorted(numbers) == sorted(dataset.train_labels)
    assert numbers.tolist() != sorted(numbers)
    place = {label: index for index, label in enumerate(dataset.train_labels)}
    expected = dataset.standardized(dataset.train_images)
    np.testing.assert_allclose(
        images, expected[[place[number] for number in numbers]], atol=1e-5
    )


def test_the_remainder_of_an_epoch_is_another_one_each_time(dataset):
    assert steps_per_epoch(dataset, 12) == 3
    pipeline = batches(dataset, batch_size=12, epochs=20)
    assert len(pipeline) == 60
    labels = np.concatenate([np.argmax(b, axis=1) for _, b in pipeline])
    assert len(labels) == 20 * 36
    for epoch in labels.reshape(20, 36):
        assert len(set(epoch)) == 36
    # Each of 40 images has been there.
    assert len(set(labels)) == 40


def test_order_is_a_function_of_seed_and_epoch(dataset):
    def order(**settings):
        epochs = arrays(dataset, batch_size=40, **settings)
        return [tuple(labels.argmax(axis=1)) for _, labels in epochs]

    assert order() == order(seed=0)
    assert order() != order(seed=1)
    assert order(seed=2**70) != order(seed=2**70 + 1)
    assert len(set(order(epochs=10))) == 10
    assert order(epochs=3, first_epoch=1) == order(epochs=4)[1:]


@pytest.mark.parametrize("mixing", [Mixup(), CutMix()])
def test_an_epoch_is_the_same_from_wherever_one_starts(dataset, mixing):
    chain = [*CHAIN, mixing]
    settings = {"batch_size": 10, "augmentations": chain, "seed": 5}
    pipeline = batches(dataset, epochs=3, **settings)
    whole = [tuple(batch) for batch in pipeline.as_numpy_iterator()]
    assert equal(whole, [tuple(batch) for batch in pipeline.as_numpy_iterator()])
    assert equal(whole[4:], arrays(dataset, first_epoch=1, epochs=2, **settings))
    assert equal(whole[8:], arrays(dataset, first_epoch=2, **settings))
    assert not equal(whole[:4], whole[4:8])


@pytest.mark.parametrize(
    ("processes", "chain"),
    [
        (2, CHAIN),
        (2, [*CHAIN, Mixup()]),
        (4, [CropFlip(2), Mixup(per="sample")]),
        (4, [RandomErasing(), CutMix()]),
        (5, [CropFlip(2), Cutout(3), Mixup()]),
    ],
)
def test_processes_have_side_by_side_what_one_alone_has(dataset, processes, chain):
    settings = {"batch_size": 20, "augmentations": chain, "epochs": 2}
    whole = arrays(dataset, **settings)
    shares = [
        arrays(dataset, shard=(process, processes), **settings)
        for process in range(processes)
    ]
    assert shares[0][0][0].shape == (20 // processes, 8, 8, 3)
    together = [
        tuple(np.concatenate(parts) for parts in zip(*rows, strict=True))
        for rows in zip(*shares, strict=True)
    ]
    assert equal(together, whole)


@pytest.mark.parametrize("part", ["validation", "test"])
def test_held_out_images_come_in_order_and_all_of_them(dataset, part):
    raw, numbers = dataset.part(part)
    for size in (4, 100):
        pipeline = batches(dataset, part, batch_size=size)
        assert len(pipeline) == int(np.ceil(len(raw) / size))
        images, labels = map(np.concatenate, zip(*pipeline, strict=True))
        np.testing.assert_allclose(images, dataset.standardized(raw), atol=1e-5)
        assert np.array_equal(labels.argmax(axis=1), numbers)
    twice = arrays(dataset, part, batch_size=4, epochs=2)
    assert len(twice) == 2 * np.ceil(len(raw) / 4)


def test_processes_share_held_out_images(dataset):
    # 13 images: the last batch has 5.
    whole = arrays(dataset, "test", batch_size=8)
    shares = [arrays(dataset, "test", batch_size=8, shard=(p, 3)) for p in range(3)]
    assert [len(share) for share in shares] == [2, 2, 2]
    together = [
        tuple(np.concatenate(parts) for parts in zip(*rows, strict=True))
        for rows in zip(*shares, strict=True)
    ]
    assert equal(together, whole)
    with pytest.raises(ValueError, match=r"at most as many .* images, 1. Received: 2"):
        batches(dataset, "test", batch_size=4, shard=(0, 2))


def test_padding_is_black_and_holes_are_the_mean(dataset):
    # A crop of 1 pixel at most, so that every border is seen soon.
    (batch,) = arrays(dataset, batch_size=40, augmentations=[CropFlip(1)])
    border = batch[0][:, 0, 3]
    black = (-dataset.mean / dataset.deviation).astype(np.float32)
    assert np.isclose(border, black, atol=1e-5).all(axis=1).sum() > 5
    (batch,) = arrays(dataset, batch_size=40, augmentations=[Cutout(3)])
    assert ((batch[0] == 0).all(axis=-1).sum(axis=(1, 2)) >= 4).all()


def test_the_policy_sees_pixels_up_to_white(dataset):
    invert = Operation("Invert", 1.0, 0), Operation("Invert", 0.0, 0)
    digits = data.load("digits", 32)
    (inverted,) = arrays(digits, batch_size=32, augmentations=[AutoAugment((invert,))])
    (plain,) = arrays(digits, batch_size=32)
    # From 0 to 16 and back; rounded to 255 steps, in units of the deviation.
    before = plain[0] * digits.deviation + digits.mean
    after = inverted[0] * digits.deviation + digits.mean
    np.testing.assert_allclose(after, 16 - before, atol=0.1)


@pytest.mark.everywhere
@pytest.mark.parametrize("mixing", [[], [Mixup()]])
def test_models_of_any_backend_train_on_it(mixing):
    digits = data.load("digits", 256).with_validation()
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    )
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"])
    steps = steps_per_epoch(digits, 32)
    history = model.fit(
        batches(digits, batch_size=32, augmentations=mixing, epochs=3),
        validation_data=batches(digits, "validation", batch_size=32),
        steps_per_epoch=steps,
        epochs=3,
        verbose=0,
    ).history
    assert len(history["loss"]) == 3
    assert history["loss"][-1] < history["loss"][0]
    assert history["val_accuracy"][-1] > 0.5


def test_tensorflow_waits_until_there_is_a_pipeline(fresh_process):
    printed = fresh_process(
        """
        import sys
        import keras
        from keras_convinit.lab import data
        from keras_convinit.lab.data import augmentation
        digits = data.load("digits").with_validation()
        augmentation.CropFlip(), augmentation.AutoAugment(), augmentation.Mixup()
        data.steps_per_epoch(digits, 8), data.batches
        print("TENSORFLOW", "tensorflow" in sys.modules)
        """,
        KERAS_BACKEND="jax",
    )
    assert "TENSORFLOW False" in printed


class Brighter(ImageAugmentation):
    """One that somebody else has written."""

    stage = "standardized"

    def changed(self, images, draws):
        return images + draws.uniform(1, 1, 1)


def test_augmentations_of_others_can_be_used(dataset):
    settings = {"batch_size": 40, "augmentations": [CropFlip(), Brighter()]}
    (brighter,) = arrays(dataset, **settings)
    (plain,) = arrays(dataset, batch_size=40, augmentations=[CropFlip()])
    more = (brighter[0] - plain[0]).reshape(40, -1)
    assert np.ptp(more, axis=1).max() < 1e-5
    assert 0 <= more.min() < 0.2 < 0.8 < more.max() <= 1


def test_every_step_and_every_augmentation_has_numbers_of_its_own(dataset):
    def numbers(*chain):
        pipeline = arrays(dataset, batch_size=10, augmentations=chain, epochs=3)
        order = np.concatenate([labels.argmax(axis=1) for _, labels in pipeline])
        images = np.concatenate([images[:, 0, 0, 0] for images, _ in pipeline])
        return order, images

    order, plain = numbers()
    again, once = numbers(Brighter())
    assert np.array_equal(order, again)
    first = once - plain
    second = numbers(Brighter(), Brighter())[1] - once
    # 3 epochs of 4 batches of 10; float32 leaves five digits after the difference.
    assert len(set(first.round(5))) > 110
    assert len(set(second.round(5))) > 110
    assert np.abs(first - second).max() > 0.5
    assert not np.allclose(first[:40], first[40:80], atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"part": "dev"}, "`part` must be one of train, validation, test"),
        ({"batch_size": 0}, "`batch_size` must be an integer of at least 1"),
        ({"batch_size": 2.0}, "`batch_size` must be an integer"),
        ({"batch_size": 41}, "`batch_size` must be at most 40, .* batch_size=41"),
        ({"epochs": 0}, "`epochs` must be an integer of at least 1"),
        ({"first_epoch": -1}, "`first_epoch` must be an integer of at least 0"),
        ({"seed": -1}, "`seed` must be an integer of at least 0"),
        ({"shard": (2, 2)}, r"`shard` must be two integers.* shard=\(2, 2\)"),
        ({"shard": (-1, 2)}, "`shard` must be two integers"),
        ({"shard": 1}, "`shard` must be two integers"),
        ({"shard": (0.0, 2)}, "`shard` must be two integers"),
        ({"shard": (0, 3)}, "`batch_size` must be a multiple of 3.* batch_size=8"),
        ({"augmentations": [Cutout]}, r"instances of Augmentation, .*Cutout"),
        ({"augmentations": [keras.layers.RandomFlip()]}, "instances of Augmentation"),
        ({"augmentations": Cutout()}, "must be a sequence of instances"),
        (
            {"augmentations": [Cutout(), CropFlip()]},
            r"pixels, standardized, mixing. Received: Cutout \(standardized\), "
            r"CropFlip \(pixels\)",
        ),
        ({"augmentations": [Mixup(), Cutout()]}, "in the order of their stages"),
        ({"augmentations": [Mixup(), CutMix()]}, "at most one that mixes"),
        ({"part": "test", "augmentations": [Cutout()]}, "must be empty but for part"),
    ],
)
def test_what_makes_no_sense_is_refused(dataset, arguments, message):
    with pytest.raises(ValueError, match=message):
        batches(dataset, **{"batch_size": 8, **arguments})


def test_a_dataset_without_a_validation_part_is_refused():
    digits = data.load("digits", 20)
    message = re.escape("which `dataset.with_validation()` makes")
    with pytest.raises(ValueError, match=message):
        batches(digits, "validation", batch_size=4)
    with pytest.raises(ValueError, match="`batch_size` must be at most 20"):
        steps_per_epoch(digits, 21)
