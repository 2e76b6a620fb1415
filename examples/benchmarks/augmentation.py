"""How many images a second the lab's pipelines make, beside the obvious ones.

    KERAS_BACKEND=tensorflow python examples/benchmarks/augmentation.py --json FILE

Crop, flip and Cutout against `tf.image`, image by image; AutoAugment against Keras'
`RandAugment`, which draws one operation for a whole batch (`image by image`: one for
each, as AutoAugment does). All are `tf.data` pipelines over the same images that begin
with uint8 and end with batches of float32, with parallel calls and prefetching by
AUTOTUNE. They run by turns, each from its first batch to its last; the number to read
is the median of the ratios of neighbors.
"""

import argparse
import pathlib

import keras
import numpy as np
import tensorflow as tf
from paired import compare_all, keep, show

from keras_convinit.lab.data import ImageDataset, batches
from keras_convinit.lab.data.augmentation import AutoAugment, CropFlip, Cutout

CLASSES = 10


def images(options):
    """Noise: none of these looks at what it sees."""
    numbers = np.random.default_rng(0)
    shape = (options.images, options.size, options.size, 3)
    pixels = numbers.integers(0, 256, shape, dtype=np.uint8)
    labels = numbers.integers(0, CLASSES, options.images, dtype=np.int32)
    return ImageDataset("noise", pixels, labels, pixels[:1], labels[:1], CLASSES)


def ours(dataset, options, *augmentations):
    return batches(dataset, batch_size=options.batch, augmentations=augmentations)


def shuffled(dataset):
    """The beginning of what people write."""
    parts = tf.data.Dataset.from_tensor_slices(dataset.part("train"))
    return parts.shuffle(len(dataset.train_images))


def standardize(dataset):
    mean = tf.constant(dataset.mean, tf.float32)
    deviation = tf.constant(dataset.deviation, tf.float32)
    return lambda image: (tf.cast(image, tf.float32) - mean) / deviation


def by_image(dataset, options):
    """Crop, flip and Cutout of one image after the other."""
    size, padding = options.size, options.size // 8
    hole = size // 2
    standardized = standardize(dataset)

    def augment(image, label):
        image = tf.image.resize_with_crop_or_pad(
            image, size + 2 * padding, size + 2 * padding
        )
        image = tf.image.random_crop(image, (size, size, 3))
        image = standardized(tf.image.random_flip_left_right(image))
        corner = tf.random.uniform((2,), 0, size, tf.int32) - hole // 2
        y, x = tf.range(size) - corner[0], tf.range(size) - corner[1]
        inside = ((y >= 0) & (y < hole))[:, None] & ((x >= 0) & (x < hole))
        return tf.where(inside[..., None], 0.0, image), tf.one_hot(label, CLASSES)

    pipeline = shuffled(dataset).map(augment, tf.data.AUTOTUNE)
    return pipeline.batch(options.batch, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def rand_augment(dataset, options, image_by_image):
    """Keras' layer, in one place or the other."""
    layer = keras.layers.RandAugment(value_range=(0, 255))
    standardized = standardize(dataset)

    def augment(some, labels):
        return standardized(layer(some)), tf.one_hot(labels, CLASSES)

    pipeline = shuffled(dataset)
    if image_by_image:
        pipeline = pipeline.map(augment, tf.data.AUTOTUNE)
    pipeline = pipeline.batch(options.batch, drop_remainder=True)
    if not image_by_image:
        pipeline = pipeline.map(augment, tf.data.AUTOTUNE)
    return pipeline.prefetch(tf.data.AUTOTUNE)


def main(arguments=None):
    """Measures, prints tables, and keeps the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=6400)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args(arguments)

    dataset = images(options)
    crop_flip = CropFlip(options.size // 8)
    groups = {
        "Crop, flip, Cutout": {
            "lab": ours(dataset, options, crop_flip, Cutout(options.size // 2)),
            "tf.image, image by image": by_image(dataset, options),
        },
        "AutoAugment": {
            "lab": ours(dataset, options, AutoAugment()),
            "RandAugment of batches": rand_augment(dataset, options, False),
            "RandAugment image by image": rand_augment(dataset, options, True),
        },
    }
    count = options.images // options.batch * options.batch
    kept = {}
    for title, pipelines in groups.items():
        functions = {
            name: lambda pipeline=pipeline: sum(1 for _ in pipeline)
            for name, pipeline in pipelines.items()
        }
        rows = compare_all(functions, options.rounds)
        size = f"{options.size}x{options.size}"
        show(f"\n{title}: {count} images of {size}", rows)
        for name, row in rows.items():
            speed = count / row.b_seconds
            print(f"{name:28}{speed:11,.0f} images/s")
            kept[f"{title}: {name}"] = row
    keep(options.json, vars(options), kept)


if __name__ == "__main__":
    main()
