"""Four schemes that look at data, on a network that Keras brings along.

    python examples/schemes_with_data.py
    python examples/schemes_with_data.py --network ResNet50

VGG16 without its weights and without normalization cannot learn from Keras' default
initializer; the signal report says why. Then it is initialized by LSUV, GradInit and
MetaInit, and, with weight-normalized convolutions in place of its own, by Salimans and
Kingma's data-dependent scheme. Prints what each did, and the signal after it.

Half a minute, with JAX two. With seed 0 on TensorFlow the signal of Keras' default
vanishes, and so does the error's. It is steady after LSUV, GradInit and MetaInit; after
the last scheme the error grows elevenfold, up to `block1_conv2`. The two that search
take 3 iterations here, in which the norm of the gradient falls from 30 to 22 and
MetaInit's quotient from 687 to 466; their authors take hundreds.
"""

import argparse

import keras

import keras_convinit
from keras_convinit.lab import data
from keras_convinit.layers import WeightNormConv2D
from keras_convinit.schemes import LSUV, DataDependent, GradInit, MetaInit


def network(name, input_shape):
    """A network of `keras.applications`, without weights, for ten classes."""
    body = getattr(keras.applications, name)(
        weights=None, include_top=False, pooling="avg", input_shape=input_shape
    )
    logits = keras.layers.Dense(10, name="classifier")(body.output)
    return keras.Model(body.input, logits, name=name)


def weight_normalized(layer):
    """The same layer anew; a convolution with its weights normalized."""
    kind = WeightNormConv2D if type(layer) is keras.layers.Conv2D else type(layer)
    return kind.from_config(layer.get_config())


def main(arguments=None):
    """Looks, initializes, and looks again, four times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="VGG16", help="of keras.applications")
    parser.add_argument("--size", type=int, default=32, help="of an image")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--iterations", type=int, default=3, help="of the last two")
    options = parser.parse_args(arguments)

    keras.utils.set_random_seed(0)
    digits = data.load("digits")
    x = keras.ops.image.resize(
        digits.standardized(digits.train_images), (options.size, options.size)
    )
    x, y = keras.ops.convert_to_numpy(x), digits.train_labels
    batch = x[: options.batch], y[: options.batch]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    model = network(options.network, x.shape[1:])
    print(
        f"Keras' default: {keras_convinit.signal_report(model, *batch, loss).verdict}"
    )

    searching = {"batch_size": options.batch, "verbose": False}
    reports = {}
    for scheme in (
        LSUV(samples=options.batch),
        GradInit(options.iterations, **searching),
        MetaInit(options.iterations, **searching),
        DataDependent(samples=options.batch),
    ):
        if isinstance(scheme, DataDependent):
            model = keras.models.clone_model(model, clone_function=weight_normalized)
        done = keras_convinit.initialize(model, scheme, (x, y), loss=loss, seed=0)
        signal = keras_convinit.signal_report(model, *batch, loss)
        print(f"\n{done}")
        for name, values in done.history.items():
            print(f"{name}: {values[0]:.4g} at first, {values[-1]:.4g} in the end")
        print(f"Signal: {signal.verdict}. Loss of a batch: {signal.loss:.3f}")
        reports[type(scheme).__name__] = done, signal
    return reports


if __name__ == "__main__":
    main()
