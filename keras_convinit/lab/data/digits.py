"""The digits that scikit-learn brings along: real images that need no network."""

import numpy as np

from keras_convinit.lab.data.images import ImageDataset

HELD_OUT = 360


def digits(seed: int = 0) -> ImageDataset:
    """1,797 gray images of handwritten digits, 8x8, of which 360 are held out.

    Args:
        seed: Chooses which are held out. The classes keep their shares.

    Returns:
        1,437 and 360 images, with values from 0 to 16.

    Reference:
        Alpaydin and Kaynak 1998, *Optical Recognition of Handwritten Digits*, UCI
        Machine Learning Repository; the test half of it, as in scikit-learn.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bundle = load_digits()
    images = bundle.images[..., None].astype(np.uint8)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images,
        bundle.target.astype(np.int32),
        test_size=HELD_OUT,
        stratify=bundle.target,
        random_state=seed,
    )
    return ImageDataset(
        "digits",
        train_images,
        train_labels,
        test_images,
        test_labels,
        num_classes=10,
        white=16.0,
    )
