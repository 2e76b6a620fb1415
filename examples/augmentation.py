"""What the augmentations of the lab make of images, pipeline by pipeline.

    python examples/augmentation.py --dataset cifar10

Draws a figure: a row for each pipeline, a column for each image, always the same ones.
Mixed images have a caption, the classes and their shares.
"""

import argparse
import pathlib

import numpy as np
from matplotlib.figure import Figure

from keras_convinit.lab import data
from keras_convinit.lab.data.augmentation import (
    AutoAugment,
    CropFlip,
    CutMix,
    Cutout,
    Mixup,
    RandomErasing,
)

NAMES = {
    "cifar10": (
        *("plane", "car", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
    "digits": [f'"{digit}"' for digit in range(10)],
    "mnist": [f'"{digit}"' for digit in range(10)],
}


def pipelines(size):
    """By name, for images of so many pixels a side: what 4 and 16 are to 32."""
    crop_flip, cutout = CropFlip(size // 8), Cutout(size // 2)
    return {
        "as they are": [],
        "crop, flip": [crop_flip],
        "crop, flip,\nCutout": [crop_flip, cutout],
        "crop, flip,\nrandom erasing": [crop_flip, RandomErasing()],
        "crop, flip,\nAutoAugment": [crop_flip, AutoAugment()],
        "crop, flip,\nAutoAugment,\nCutout": [crop_flip, AutoAugment(), cutout],
        "crop, flip,\nmixup": [crop_flip, Mixup()],
        "crop, flip,\nmixup by sample": [crop_flip, Mixup(per="sample")],
        "crop, flip,\nCutMix": [crop_flip, CutMix()],
    }


def pictures(images, dataset):
    """Standardized images as pictures, from 0 to 1; noise may be beyond either."""
    raw = images * dataset.deviation + dataset.mean
    return np.clip(raw / dataset.white, 0, 1).squeeze()


def shares(label, dataset):
    """The classes in a label, the larger share first."""
    classes = [c for c in np.argsort(-label) if label[c] >= 0.005]
    names = NAMES.get(dataset.name, range(dataset.num_classes))
    return "\n".join(f"{label[c]:.2f} {names[c]}" for c in classes)


def draw(dataset, columns, seed):
    """The figure."""
    rows = pipelines(dataset.train_images.shape[1])
    figure = Figure(figsize=(1.4 + columns, 1.16 * len(rows)), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.02, hspace=0.02)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for (name, augmentations), line in zip(rows.items(), axes, strict=True):
        batches = data.batches(
            dataset, batch_size=columns, augmentations=augmentations, seed=seed
        )
        images, labels = next(iter(batches.as_numpy_iterator()))
        for image, label, panel in zip(images, labels, line, strict=True):
            panel.imshow(pictures(image, dataset), cmap="gray", vmin=0, vmax=1)
            panel.set(xticks=[], yticks=[])
            panel.spines[:].set_visible(False)
            if "mix" in name.lower():
                panel.set_xlabel(shares(label, dataset), fontsize=6.5, labelpad=1.5)
        line[0].set_ylabel(
            name, rotation=0, ha="right", va="center", fontsize=8, labelpad=6
        )
    return figure


def main(arguments=None):
    """Draws and saves the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", choices=data.DATASETS, default="digits")
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path())
    options = parser.parse_args(arguments)

    dataset = data.load(options.dataset, 500)
    path = options.output / "augmentation.png"
    draw(dataset, options.columns, options.seed).savefig(path, dpi=100)
    print(f"Figure: {path}")


if __name__ == "__main__":
    main()
