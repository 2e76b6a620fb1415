"""AutoAugment against the Python Imaging Library, image by image."""

import collections

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from keras_convinit.lab.data.augmentation import AutoAugment
from keras_convinit.lab.data.augmentation.auto_augment import CIFAR, Operation

pytestmark = pytest.mark.once

GRAY = 128
GEOMETRIC = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
# Its blends are in single precision, which some processors round once less.
BLENDS = ("Contrast", "Brightness", "Color", "Sharpness")
VALUES = ("Posterize", "Solarize", "Invert", "AutoContrast", "Equalize")
NOTHING = Operation("Invert", 0.0, 0)


def by_pil(name, level, sign, image):
    """What the authors' code has PIL do, on an image of 32 by 32."""
    picture = Image.fromarray(image.squeeze())
    outside = GRAY if picture.mode == "L" else (GRAY,) * 3

    def affine(*matrix):
        return picture.transform(
            picture.size, Image.Transform.AFFINE, matrix, fillcolor=outside
        )

    shear, shift = sign * level * 0.3 / 10, sign * int(level * 10 / 10)
    enhancement = level * 1.8 / 10 + 0.1
    result = {
        "ShearX": lambda: affine(1, shear, 0, 0, 1, 0),
        "ShearY": lambda: affine(1, 0, 0, shear, 1, 0),
        "TranslateX": lambda: affine(1, 0, shift, 0, 1, 0),
        "TranslateY": lambda: affine(1, 0, 0, 0, 1, shift),
        "Rotate": lambda: picture.rotate(sign * level * 3, fillcolor=outside),
        "Posterize": lambda: ImageOps.posterize(picture, 4 - int(level * 4 / 10)),
        "Solarize": lambda: ImageOps.solarize(picture, 256 - int(level * 256 / 10)),
        "Invert": lambda: ImageOps.invert(picture),
        "AutoContrast": lambda: ImageOps.autocontrast(picture),
        "Equalize": lambda: ImageOps.equalize(picture),
        "Contrast": lambda: ImageEnhance.Contrast(picture).enhance(enhancement),
        "Brightness": lambda: ImageEnhance.Brightness(picture).enhance(enhancement),
        "Color": lambda: ImageEnhance.Color(picture).enhance(enhancement),
        "Sharpness": lambda: ImageEnhance.Sharpness(picture).enhance(enhancement),
    }[name]()
    return np.array(result).reshape(image.shape)


@pytest.fixture
def images(pictures):
    flat = np.full((1, 32, 32, 3), 77, np.uint8)
    numbers = np.random.default_rng(0)
    noise = numbers.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    few = numbers.choice(np.array([3, 40, 200], np.uint8), (1, 32, 32, 3))
    # A single pixel apart from the rest: too few to equalize.
    lonely = flat.copy()
    lonely[0, 3, 4] = [0, 90, 255]
    return np.concatenate([pictures(12), flat, noise, few, lonely])


def only(name, level, probability=1.0):
    return AutoAugment(((Operation(name, probability, level), NOTHING),), fill=GRAY)


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("name", VALUES + BLENDS)
def test_values_are_those_of_pil(name, channels, images, changed):
    images = images[..., :channels]
    for level in range(10):
        ours = changed(only(name, level), images)
        theirs = np.stack([by_pil(name, level, 1, image) for image in images])
        if name in BLENDS:
            difference = np.abs(ours.astype(int) - theirs)
            assert difference.max() <= 1
            assert (difference > 0).mean() < 1e-3
        else:
            assert np.array_equal(ours, theirs), level


@pytest.mark.parametrize("name", GEOMETRIC)
def test_places_are_those_of_pil_in_either_direction(name, images, changed):
    directions = collections.Counter()
    for level in range(1, 10):
        ours = changed(only(name, level), images, level)
        for image, original in zip(ours, images, strict=True):
            there = np.array_equal(image, by_pil(name, level, 1, original))
            back = np.array_equal(image, by_pil(name, level, -1, original))
            assert there or back, level
            directions[there, back] += 1
    # Flat images tell nothing; of the others about half go either way.
    one_way, other_way = directions[True, False], directions[False, True]
    decided = one_way + other_way
    assert decided > 100
    assert abs(one_way - decided / 2) < 5 * np.sqrt(decided / 4)


def outcomes(image):
    """Everything that PIL can make of an image by the policy."""
    made = set()
    for first, second in CIFAR:
        for middle in steps(first, image):
            made.update(end.tobytes() for end in steps(second, middle))
    return made


def near(image, others):
    """Within what two blends may differ on processors that round once less."""
    others = np.stack([np.frombuffer(other, np.uint8) for other in others])
    return np.abs(others - image.ravel().astype(int)).max(axis=1).min() <= 2


def steps(operation, image):
    if operation.probability < 1:
        yield image
    if operation.probability > 0:
        signs = (1, -1) if operation.name in GEOMETRIC else (1,)
        for sign in signs:
            yield by_pil(operation.name, operation.level, sign, image)


def test_the_whole_policy_makes_what_pil_can_make(pictures, changed):
    images = pictures(6)
    allowed = [outcomes(image) for image in images]
    seen = [set() for _ in images]
    for seed in range(40):
        for number, image in enumerate(changed(AutoAugment(fill=GRAY), images, seed)):
            assert image.tobytes() in allowed[number] or near(image, allowed[number])
            seen[number].add(image.tobytes())
    # Images are left alone one time in four or so.
    assert min(map(len, seen)) > 10


def test_the_policy_is_that_of_the_paper():
    assert len(CIFAR) == 25
    assert CIFAR[1] == (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9))
    assert CIFAR[-1] == (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, 1))
    frequent = collections.Counter(o.name for pair in CIFAR for o in pair)
    # Counted in Table 7.
    assert frequent == {
        "Equalize": 9,
        "AutoContrast": 7,
        "Sharpness": 5,
        "TranslateY": 5,
        "Color": 5,
        "Brightness": 4,
        "Invert": 3,
        "Solarize": 4,
        "TranslateX": 2,
        "Contrast": 2,
        "ShearY": 2,
        "Rotate": 1,
        "Posterize": 1,
    }


def test_operations_act_with_their_probability(changed):
    count = 5000
    images = np.full((count, 4, 4, 1), 10, np.uint8)
    # Together they would give 255 - 1; 0.3 and 0.6 are drawn apart from each other.
    pair = (Operation("Brightness", 0.3, 0), Operation("Invert", 0.6, 0))
    values = changed(AutoAugment((pair,)), images)[:, 0, 0, 0]
    seen = collections.Counter(values.tolist())
    for value, share in {10: 0.28, 1: 0.12, 245: 0.42, 254: 0.18}.items():
        error = np.sqrt(count * share * (1 - share))
        assert abs(seen.pop(value) - count * share) < 5 * error
    assert not seen


def test_pairs_are_equally_likely(changed):
    count = 3000
    images = np.full((count, 4, 4, 3), 100, np.uint8)
    operations = [Operation("Solarize", 1.0, 9), Operation("Brightness", 1.0, 9)]
    operations += [Operation("Invert", 0.0, 0)]
    policy = tuple((operation, NOTHING) for operation in operations)
    values = changed(AutoAugment(policy), images)[:, 0, 0, 0]
    times = np.array(list(collections.Counter(values.tolist()).values()))
    assert len(times) == 3
    assert np.abs(times - count / 3).max() < 5 * np.sqrt(count * 2 / 9)


def test_floats_are_rounded_and_stay_floats(images, changed):
    augmentation = AutoAugment()
    floats = images.astype(np.float32)
    made = changed(augmentation, floats + 0.3)
    assert made.dtype == np.float32
    assert np.array_equal(made, changed(augmentation, images))


def test_shifts_go_with_the_size_of_the_image(changed, pictures):
    images = pictures(10, size=8)
    moved = changed(only("TranslateX", 9), images)
    for image, original in zip(moved, images, strict=True):
        left = np.full_like(original, GRAY)
        left[:, 2:] = original[:, :-2]
        right = np.full_like(original, GRAY)
        right[:, :-2] = original[:, 2:]
        assert any(np.array_equal(image, way) for way in (left, right))


def test_a_group_that_nobody_drew_is_no_trouble(changed, pictures):
    policy = tuple(
        (Operation(name, 0.0, 3), NOTHING)
        for name in ("Equalize", "Contrast", "AutoContrast", "Color", "Sharpness")
    )
    images = pictures(3)
    assert np.array_equal(changed(AutoAugment(policy), images), images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fill": 256}, "`fill` must be an integer from 0 to 255"),
        ({"fill": 1.5}, "`fill` must be an integer"),
        ({"policy": ()}, "`policy` must be a tuple of pairs"),
        ({"policy": ((Operation("Invert", 1, 1),),)}, "`policy` must be a tuple"),
        ({"policy": (("Invert", 0.3),)}, "`policy` must be a tuple of pairs"),
        ({"policy": ((("Blur", 1, 1), NOTHING),)}, "`name` must be one of ShearX"),
        ({"policy": ((("Color", 2, 1), NOTHING),)}, "`probability` must be"),
        ({"policy": ((("Color", 1, 11), NOTHING),)}, "`level` must .* level=11"),
    ],
)
def test_what_is_no_policy_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        AutoAugment(**arguments)


def test_two_channels_are_refused():
    with pytest.raises(ValueError, match=r"1 or 3 channels.*\(4, 8, 8, 2\)"):
        AutoAugment()(tf.zeros((4, 8, 8, 2), tf.uint8), tf.zeros((4, 1)), [0, 0])
