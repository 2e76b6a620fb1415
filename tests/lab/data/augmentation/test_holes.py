"""Cutout and random erasing."""

import collections

import numpy as np
import pytest

from keras_convinit.lab.data.augmentation import Cutout, RandomErasing

pytestmark = pytest.mark.once


@pytest.mark.parametrize("size", [1, 3, 4, 16])
def test_a_square_around_any_pixel_is_cut_off_at_the_border(changed, size):
    count, height, width = 10_000, 9, 7
    images = changed(Cutout(size), np.ones((count, height, width, 2), np.float32))
    assert set(np.unique(images)) <= {0.0, 1.0}

    expected = collections.Counter()
    for y in range(height):
        for x in range(width):
            picture = np.ones((height, width, 2), np.float32)
            for i in range(y - size // 2, y - size // 2 + size):
                for j in range(x - size // 2, x - size // 2 + size):
                    if 0 <= i < height and 0 <= j < width:
                        picture[i, j] = 0
            expected[picture.tobytes()] += 1
    seen = collections.Counter(image.tobytes() for image in images)
    assert set(seen) == set(expected)
    for picture, pixels in expected.items():
        # Five deviations of a binomial count.
        mean = count * pixels / (height * width)
        assert abs(seen[picture] - mean) <= 5 * np.sqrt(mean)


def test_cutout_leaves_what_is_outside_the_hole(changed, pictures):
    images = pictures(20)
    cut = changed(Cutout(), images)
    hole = (cut == 0) & (images != 0)
    assert np.array_equal(np.where(hole, images, cut), images)
    # At least a quarter of a square of 16, at most all of it.
    area = hole.all(axis=-1).sum(axis=(1, 2))
    assert area.min() >= 60
    assert area.max() <= 256


def algorithm_1(numbers, count, height, width):
    """Heights, widths and corners as the paper draws them: again until it fits."""
    found = []
    while len(found) < count:
        area = numbers.uniform(0.02, 0.4) * height * width
        aspect = numbers.uniform(0.3, 1 / 0.3)
        h, w = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
        if h < height and w < width:
            top, left = (
                numbers.integers(height - h + 1),
                numbers.integers(width - w + 1),
            )
            found.append((h, w, top, left))
    return np.array(found)


def test_random_erasing_draws_rectangles_as_the_paper_does(changed):
    height, width, count = 20, 30, 8000
    images = np.full((count, height, width, 1), 7, np.float32)
    erased = changed(RandomErasing(fill="mean"), images)[..., 0] == 0
    some = erased.any(axis=(1, 2))
    assert abs(some.sum() - count / 2) < 5 * np.sqrt(count / 4)

    rectangles = []
    for hole in erased[some]:
        rows, columns = hole.any(axis=1), hole.any(axis=0)
        assert np.array_equal(hole, np.outer(rows, columns))
        top, left = rows.argmax(), columns.argmax()
        rectangles.append((rows.sum(), columns.sum(), top, left))
        assert rows[top : top + rows.sum()].all()
        assert columns[left : left + columns.sum()].all()
    rectangles = np.array(rectangles)
    expected = algorithm_1(np.random.default_rng(0), 20_000, height, width)
    # Means of sides, places and areas, up to five standard errors of either sample.
    for values, others in (
        *zip(rectangles.T, expected.T, strict=True),
        (rectangles[:, 0] * rectangles[:, 1], expected[:, 0] * expected[:, 1]),
    ):
        error = np.sqrt(values.var() / len(values) + others.var() / len(others))
        assert abs(values.mean() - others.mean()) < 5 * error
    # They may touch the border, and do not cross it.
    assert (rectangles[:, 2] == 0).any()
    assert (rectangles[:, 0] + rectangles[:, 2] == height).any()


def test_random_erasing_fills_with_noise(changed):
    images = np.full((400, 16, 16, 3), 9, np.float32)
    noise = changed(RandomErasing(probability=1.0), images)
    values = noise[noise != 9]
    # Five standard errors of the mean and of the deviation of normal numbers.
    assert abs(values.mean()) < 5 / np.sqrt(len(values))
    assert abs(values.std() - 1) < 5 / np.sqrt(2 * len(values))
    holes = (noise != 9).all(axis=-1)
    assert holes.any(axis=(1, 2)).all()
    assert np.array_equal(holes, (noise != 9).any(axis=-1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"probability": 1.5}, "`probability` must be a number from 0 to 1"),
        ({"area": (0.0, 0.4)}, "`area` must .* <= 1. Received: area="),
        ({"area": (0.5, 0.4)}, "`area` must"),
        ({"area": 0.3}, "`area` must"),
        ({"aspect": (0.3, float("inf"))}, "`aspect` must be a pair of finite"),
        ({"fill": "black"}, "`fill` must be one of noise, mean"),
    ],
)
def test_random_erasing_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        RandomErasing(**arguments)


@pytest.mark.parametrize("size", [0, -3, 2.5])
def test_cutout_refuses(size):
    with pytest.raises(ValueError, match=r"`size` must .* Received: size="):
        Cutout(size)


def test_a_size_that_never_fits_leaves_the_image(changed):
    images = np.ones((50, 8, 8, 1), np.float32)
    whole = RandomErasing(probability=1.0, area=(1.0, 1.0), fill="mean")
    assert np.array_equal(changed(whole, images), images)
