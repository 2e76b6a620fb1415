import collections

import numpy as np
import pytest

from keras_convinit.lab.data.augmentation import CropFlip

pytestmark = pytest.mark.once

# All pixels differ, and none is black.
PICTURE = np.arange(1, 37, dtype=np.uint8).reshape(6, 6, 1) + np.zeros(3, np.uint8)


def crops(padding):
    """By hand: every crop of the padded picture, by its bytes."""
    padded = np.pad(PICTURE, [(padding, padding), (padding, padding), (0, 0)])
    shifts = range(2 * padding + 1)
    return [padded[y : y + 6, x : x + 6].tobytes() for y in shifts for x in shifts]


def mirrored(crop):
    return np.frombuffer(crop, np.uint8).reshape(6, 6, 3)[:, ::-1].tobytes()


def test_all_positions_of_either_orientation_are_equally_likely(changed):
    count = 20_000
    images = changed(CropFlip(), np.tile(PICTURE, (count, 1, 1, 1)))
    seen = collections.Counter(image.tobytes() for image in images)
    upright = crops(4)
    expected = {*upright, *map(mirrored, upright)}
    assert len(expected) == 2 * 9 * 9
    assert set(seen) == expected
    # Five deviations of a binomial count of mean 123.
    mean = count / 162
    assert max(abs(times - mean) for times in seen.values()) < 5 * np.sqrt(mean)


def test_images_of_one_batch_are_cropped_and_flipped_apart(changed):
    images = changed(CropFlip(), np.tile(PICTURE, (32, 1, 1, 1)))
    upright = set(crops(4))
    outcomes = [image.tobytes() for image in images]
    assert len(set(outcomes)) > 20
    assert 5 < sum(outcome in upright for outcome in outcomes) < 27


def test_flips_can_be_left_out(changed):
    images = changed(CropFlip(2, flip=False), np.tile(PICTURE, (500, 1, 1, 1)))
    assert {image.tobytes() for image in images} == set(crops(2))


def test_without_padding_only_flips_are_left(changed):
    images = changed(CropFlip(padding=0), np.tile(PICTURE, (50, 1, 1, 1)))
    outcomes = {PICTURE.tobytes(), mirrored(PICTURE.tobytes())}
    assert {image.tobytes() for image in images} == outcomes


def test_images_need_not_be_square(changed, pictures):
    images = pictures(4)[:, :20]
    moved = changed(CropFlip(3), images)
    assert moved.shape == images.shape
    for image, original in zip(moved, images, strict=True):
        padded = np.pad(original, [(3, 3), (3, 3), (0, 0)])
        windows = [padded[y : y + 20, x : x + 32] for y in range(7) for x in range(7)]
        both = [*windows, *(window[:, ::-1] for window in windows)]
        assert any(np.array_equal(image, window) for window in both)


@pytest.mark.parametrize("padding", [-1, 1.5, True])
def test_padding_is_a_whole_number(padding):
    with pytest.raises(ValueError, match=r"`padding` must .* Received: padding="):
        CropFlip(padding)
