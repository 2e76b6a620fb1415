"""The loss after a hundred training steps, from several initializations and seeds.

    python examples/benchmarks/first_hundred_steps.py --json FILE
    python examples/benchmarks/first_hundred_steps.py --dataset digits

A ResNet-20 on CIFAR-10 (from TFDS_DATA_DIR, or downloaded), with batch normalization
and without any: SGD with momentum 0.9, crops and flips, the same batches for all that
share a seed. Without normalization the gradient is clipped to norm 1, for all alike.
GradInit and MetaInit start from He's law and look at the training data; what their
search takes is printed beside. Each run is kept in FILE as it ends, and a second start
goes on from there.
"""

import argparse
import json
import pathlib
import time

import keras
import numpy as np
from paired import keep

import keras_convinit
from keras_convinit.lab import data, models
from keras_convinit.lab.scheme_source import scheme_from

NETWORKS = {
    "batch norm": "resnet_cifar:20,normalization=batch",
    "none": "resnet_cifar:20,normalization=None",
}
SCHEMES = (
    "he_normal",
    "auto",
    "gradinit:iterations=100,batch_size=64",
    "metainit:steps=30,batch_size=64",
)


def run(network, scheme, seed, images, options):
    """Initializes, trains, and says what came out."""
    keras.utils.set_random_seed(seed)
    model = models.from_spec(
        network,
        input_shape=images.train_images.shape[1:],
        num_classes=images.num_classes,
    )
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    small = min(images.train_images.shape[1:3]) < 32
    augmentation = (data.augmentation.CropFlip(1 if small else 4),)
    settings = {"augmentations": augmentation, "seed": seed}
    start = time.perf_counter()
    keras_convinit.initialize(
        model,
        scheme_from(scheme),
        data.batches(images, "train", batch_size=64, epochs=20, **settings),
        loss=loss,
        seed=seed,
    )
    searched = time.perf_counter() - start
    clip = None if "normalization=batch" in network else 1.0
    model.compile(
        keras.optimizers.SGD(options.learning_rate, momentum=0.9, global_clipnorm=clip),
        loss,
    )
    batches = data.batches(
        images, "train", batch_size=options.batch, epochs=20, **settings
    )
    losses = []
    for _, (x, y) in zip(range(options.steps), batches, strict=False):
        # What comes back is that of this batch alone.
        model.reset_metrics()
        losses.append(float(model.train_on_batch(x.numpy(), y.numpy())))
    return {
        "network": network,
        "scheme": scheme,
        "seed": seed,
        "loss": float(np.mean(losses[-10:])),
        "losses": [round(loss, 5) for loss in losses],
        "seconds_of_initialization": round(searched, 1),
    }


def table(rows):
    """Prints mean and spread for each network and scheme."""
    print(f"{'network':<12}{'scheme':<42}{'loss, mean (lowest-highest)':>29}{'s':>7}")
    for name, network in NETWORKS.items():
        for scheme in dict.fromkeys(row["scheme"] for row in rows):
            some = [r for r in rows if (r["network"], r["scheme"]) == (network, scheme)]
            if some:
                ends = [row["loss"] for row in some]
                spread = f"{np.mean(ends):.3f} ({min(ends):.3f}-{max(ends):.3f})"
                seconds = np.mean([row["seconds_of_initialization"] for row in some])
                print(f"{name:<12}{scheme:<42}{spread:>29}{seconds:>7.0f}")


def main(arguments=None):
    """Runs what is not kept yet, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--limit", type=int, default=10000)
    parser.add_argument("--schemes", nargs="+", default=list(SCHEMES))
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args(arguments)

    images = data.load(options.dataset, options.limit)
    rows = []
    if options.json is not None and options.json.exists():
        rows = json.loads(options.json.read_text())["rows"]
    done = {(row["network"], row["scheme"], row["seed"]) for row in rows}
    for seed in range(options.seeds):
        for name in options.networks:
            for scheme in options.schemes:
                if (NETWORKS[name], scheme, seed) in done:
                    continue
                rows.append(run(NETWORKS[name], scheme, seed, images, options))
                keep(options.json, vars(options), rows)
                print(f"{name}, {scheme}, seed {seed}: {rows[-1]['loss']:.3f}")
    table(rows)
    return rows


if __name__ == "__main__":
    main()
