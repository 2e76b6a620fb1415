"""Norms of hidden activations and of gradients by depth: Arpit et al. 2019, figure 1.

    python examples/reproduce/arpit_figure1.py --output folder

A network of 20 dense layers and one of 40 residual blocks, at initialisation, on 1,000
points from N(0, I) in R^500; hidden widths drawn from about 200 (150 to 249) and about
1,000 (950 to 1,049). Weights are normalised, with one of three initialisations: rows
of He's law with gain 1, and the paper's gains on orthogonal and on He's directions.
The paper predicts a ratio of 1 at every layer of the dense network; for the residual
one (1 + 1/40)^(b/2) at block b, up to 1.639, from the sum of 40 scaled branches.

Takes half a minute and about 1 GB. Prints the last ratios beside the predictions,
writes `arpit_figure1.png` and `arpit_figure1.json`.
"""

import argparse
import dataclasses
import json
import pathlib

import keras
import numpy as np
from norm_panels import draw

from keras_convinit.initializers import WeightNormGain
from keras_convinit.layers import ScaledResidual, WeightNormDense

SAMPLES, INPUTS = 1000, 500
LAYERS, BLOCKS = 20, 40
WIDTHS = (200, 1000)
SPREAD = 50


@dataclasses.dataclass(frozen=True)
class Start:
    """An initialisation of the figure.

    Args:
        label: What the legend calls it.
        direction: Initializer of the direction v, only whose rows' directions matter.
        proposed: Whether gains are the paper's; 1 otherwise.
    """

    label: str
    direction: str
    proposed: bool

    def layer(self, units, gamma, activation=None):
        """A layer of so many units; gamma is that of the paper's gain."""
        return WeightNormDense(
            units,
            activation=activation,
            kernel_initializer=self.direction,
            gain_initializer=WeightNormGain(gamma) if self.proposed else "ones",
        )


STARTS = (
    Start("He, gain 1", "he_normal", proposed=False),
    Start("proposed, orthogonal", "orthogonal", proposed=True),
    Start("proposed, He", "he_normal", proposed=True),
)


@dataclasses.dataclass(frozen=True)
class Curve:
    """Ratios of norms by depth, mean and standard deviation over the samples."""

    start: str
    network: str
    direction: str
    width: int
    mean: list[float]
    deviation: list[float]


def norms(rows):
    """Euclidean norm of each sample."""
    return np.linalg.norm(rows, axis=1)


def apply(layer, rows):
    """The layer's outputs as an array."""
    return keras.ops.convert_to_numpy(layer(rows))


def widths_about(width, count, generator):
    """Hidden widths, uniform within 50 of `width`."""
    return generator.integers(width - SPREAD, width + SPREAD, count).tolist()


def dense_network(start, width, inputs, generator):
    """Ratios after each layer, and of the gradients on their way back.

    Yields two lists of arrays, a ratio for each sample.
    """
    layers = [
        start.layer(units, gamma=2.0, activation="relu")
        for units in widths_about(width, LAYERS, generator)
    ]
    outputs = [inputs]
    for layer in layers:
        outputs.append(apply(layer, outputs[-1]))
    forward = [norms(rows) / norms(inputs) for rows in outputs[1:]]

    gradient = generator.standard_normal(outputs[-1].shape)
    first = norms(gradient)
    backward = []
    for layer, rows in zip(reversed(layers[1:]), reversed(outputs[2:]), strict=True):
        kernel = keras.ops.convert_to_numpy(layer.kernel)
        gradient = ((rows > 0) * gradient) @ kernel.T
        backward.insert(0, norms(gradient) / first)
    return forward, backward


def residual_network(start, width, inputs, generator):
    """The same for a chain of residual blocks of two layers, ReLU between them."""
    blocks = [
        ScaledResidual(
            [
                start.layer(units, gamma=2.0, activation="relu"),
                start.layer(INPUTS, gamma=1.0),
            ],
            # Without the paper's initialisation there is no scale either.
            num_blocks=BLOCKS if start.proposed else 1,
        )
        for units in widths_about(width, BLOCKS, generator)
    ]
    outputs = [inputs]
    for block in blocks:
        outputs.append(apply(block, outputs[-1]))
    forward = [norms(rows) / norms(inputs) for rows in outputs[1:]]

    gradient = generator.standard_normal(outputs[-1].shape)
    first = norms(gradient)
    backward = []
    for block, rows in zip(reversed(blocks[1:]), reversed(outputs[1:-1]), strict=True):
        expand, contract = block.branch.layers
        hidden = apply(expand, rows) > 0
        into, out_of = (
            keras.ops.convert_to_numpy(layer.kernel) for layer in (expand, contract)
        )
        through = (hidden * (gradient @ out_of.T)) @ into.T
        gradient = gradient + through / np.sqrt(block.num_blocks)
        backward.insert(0, norms(gradient) / first)
    return forward, backward


NETWORKS = {"dense": dense_network, "residual": residual_network}


def predicted(network, direction):
    """The paper's ratio at each depth: theorems 1, 2 and 7, the last with its root."""
    if network == "dense":
        return np.ones(LAYERS if direction == "forward" else LAYERS - 1)
    growth = (1 + 1 / BLOCKS) ** (np.arange(1, BLOCKS + 1) / 2)
    return growth if direction == "forward" else growth[:-1][::-1]


def measure(seed):
    """All curves of the figure."""
    curves = []
    for name, network in NETWORKS.items():
        for width in WIDTHS:
            for start in STARTS:
                keras.utils.set_random_seed(seed)
                generator = np.random.default_rng(seed)
                inputs = generator.standard_normal((SAMPLES, INPUTS)).astype("float32")
                ratios = network(start, width, inputs, generator)
                for direction, rows in zip(
                    ("forward", "backward"), ratios, strict=True
                ):
                    curves.append(
                        Curve(
                            start=start.label,
                            network=name,
                            direction=direction,
                            width=width,
                            mean=[float(row.mean()) for row in rows],
                            deviation=[float(row.std()) for row in rows],
                        )
                    )
    return curves


def main(arguments=None):
    """Measures, prints, draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path())
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    curves = measure(options.seed)
    print(f"{'network':<10}{'signal':<10}{'width':>6}  {'start':<24}{'ratio':>10}")
    for curve in curves:
        end = -1 if curve.direction == "forward" else 0
        print(
            f"{curve.network:<10}{curve.direction:<10}{curve.width:>6}  "
            f"{curve.start:<24}{curve.mean[end]:>10.4g}"
            f" +- {curve.deviation[end]:.2g}"
            f"  (predicted {predicted(curve.network, curve.direction)[end]:.4g})"
        )
    result = {
        "seed": options.seed,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "curves": [dataclasses.asdict(curve) for curve in curves],
    }
    path = options.output / "arpit_figure1.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    draw(curves, predicted, path.with_suffix(".png"))
    return curves


if __name__ == "__main__":
    main()
