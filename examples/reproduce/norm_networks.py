"""The networks of `arpit_figure1.py`, and the norms of what passes through them."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_convinit.initializers import WeightNormGain
from keras_convinit.layers import ScaledResidual, WeightNormDense


@dataclasses.dataclass(frozen=True)
class Settings:
    """How large everything is.

    Args:
        samples: Points.
        inputs: Their dimension, that of the residual stream as well.
        layers: Of the dense network.
        blocks: Of the residual one.
        widths: Middle of the hidden widths.
        spread: How far they are from it at most.
        seeds: Draws of widths, weights and points.
    """

    samples: int
    inputs: int
    layers: int
    blocks: int
    widths: tuple[int, ...]
    spread: int
    seeds: int


@dataclasses.dataclass(frozen=True)
class Start:
    """An initialization of the figure.

    Args:
        direction: Initializer of the direction v, only whose rows' directions matter.
        proposed: Whether gains are the paper's; 1 otherwise.
    """

    direction: str
    proposed: bool

    def layer(
        self, units: int, gamma: float, activation: str | None = None
    ) -> WeightNormDense:
        """A layer of so many units; gamma is that of the paper's gain."""
        return WeightNormDense(
            units,
            activation=activation,
            kernel_initializer=self.direction,
            gain_initializer=WeightNormGain(gamma) if self.proposed else "ones",
        )


Ratios = tuple[list[np.ndarray], list[np.ndarray]]


def norms(rows: np.ndarray) -> np.ndarray:
    """Euclidean norm of each sample."""
    return np.linalg.norm(rows, axis=1)


def apply(layer: Any, rows: np.ndarray) -> np.ndarray:
    """The layer's outputs as an array."""
    return keras.ops.convert_to_numpy(layer(rows))


def passed(
    layers: Sequence[Any], inputs: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The inputs and what each layer makes of them, and the ratios of the norms."""
    outputs = [inputs]
    for layer in layers:
        outputs.append(apply(layer, outputs[-1]))
    return outputs, [norms(rows) / norms(inputs) for rows in outputs[1:]]


def widths_about(
    settings: Settings, width: int, count: int, generator: np.random.Generator
) -> list[int]:
    """Hidden widths, uniform about `width`."""
    low, high = width - settings.spread, width + settings.spread
    return generator.integers(low, high, count).tolist()


def dense_network(
    settings: Settings,
    start: Start,
    width: int,
    inputs: np.ndarray,
    generator: np.random.Generator,
) -> Ratios:
    """Ratios after each layer, and of the gradients on their way back."""
    layers = [
        start.layer(units, gamma=2.0, activation="relu")
        for units in widths_about(settings, width, settings.layers, generator)
    ]
    outputs, forward = passed(layers, inputs)
    gradient = generator.standard_normal(outputs[-1].shape)
    first = norms(gradient)
    backward: list[np.ndarray] = []
    for layer, rows in zip(reversed(layers[1:]), reversed(outputs[2:]), strict=True):
        kernel = keras.ops.convert_to_numpy(layer.kernel)
        gradient = ((rows > 0) * gradient) @ kernel.T
        backward.insert(0, norms(gradient) / first)
    return forward, backward


def residual_network(
    settings: Settings,
    start: Start,
    width: int,
    inputs: np.ndarray,
    generator: np.random.Generator,
) -> Ratios:
    """The same for a chain of residual blocks of two layers, ReLU between them."""
    blocks = [
        ScaledResidual(
            [
                start.layer(units, gamma=2.0, activation="relu"),
                start.layer(settings.inputs, gamma=1.0),
            ],
            # Without the paper's initialization there is no scale either.
            num_blocks=settings.blocks if start.proposed else 1,
        )
        for units in widths_about(settings, width, settings.blocks, generator)
    ]
    outputs, forward = passed(blocks, inputs)
    gradient = generator.standard_normal(outputs[-1].shape)
    first = norms(gradient)
    backward: list[np.ndarray] = []
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


NETWORKS: dict[str, Callable[..., Ratios]] = {
    "dense": dense_network,
    "residual": residual_network,
}
