"""A network that cannot learn, what is wrong with it, and the cure.

    python examples/signal_report.py

Thirty convolutions with Keras' default initializer: the report names the layer where
the signal is lost. After `initialize` it is steady. Writes a figure of each.
"""

import argparse
import pathlib

import keras

import keras_convinit
from keras_convinit.lab import data


def network(depth, width):
    """Convolutions and ReLU, as one would write them down."""
    model = keras.Sequential([keras.Input((8, 8, 1))])
    for number in range(1, depth + 1):
        model.add(
            keras.layers.Conv2D(
                width, 3, padding="same", activation="relu", name=f"conv_{number}"
            )
        )
    model.add(keras.layers.GlobalAveragePooling2D(name="pool"))
    model.add(keras.layers.Dense(10, name="classifier"))
    return model


def main(arguments=None):
    """Looks, mends, and looks again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=30)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path())
    options = parser.parse_args(arguments)

    keras.utils.set_random_seed(0)
    digits = data.load("digits", 256)
    images = digits.standardized(digits.train_images)
    model = network(options.depth, options.width)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    before = keras_convinit.signal_report(model, images, digits.train_labels, loss)
    print(before)
    before.plot(options.output / "signal_before.png")

    keras_convinit.initialize(model, "auto", seed=0)
    after = keras_convinit.signal_report(model, images, digits.train_labels, loss)
    print(f"\nAfter initialize(model): {after.verdict}")
    after.plot(options.output / "signal_after.png")
    return before, after


if __name__ == "__main__":
    main()
