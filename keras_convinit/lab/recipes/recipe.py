"""How a network of a paper was trained, written down as plain data."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras_convinit._checks import check_positive
from keras_convinit.lab.checks import one_of, whole
from keras_convinit.lab.recipes.schedule import Schedule


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """Stochastic gradient descent, its weight decay coupled as in PyTorch.

    Args:
        learning_rate: The peak, which a schedule goes down from.
        momentum: Between 0 and 1.
        nesterov: Whether to look ahead.
        weight_decay: Of `keras_convinit.optimizers.CoupledSGD`; 0 for none.
        undecayed: Names of variables that do not decay.
        clip_norm: Largest norm of the whole gradient; None for no limit.
    """

    learning_rate: float
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    undecayed: tuple[str, ...] = ()
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        check_positive("learning_rate", self.learning_rate)


@dataclasses.dataclass(frozen=True)
class Initialization:
    """A scheme of `keras_convinit.initialize`.

    A scheme with data sees the batches of the training, from the first one on.

    Args:
        scheme: Its name, or a Keras initializer by name or dictionary.
        arguments: Of the scheme.
    """

    scheme: Any
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One row of a paper's table, or one curve of a figure.

    Args:
        name: `paper/table or figure/network/method`, by which it is found.
        source: The paper, and the table and row or the figure and curve.
        network: Name of a function in `keras_convinit.lab.models`.
        arguments: What to call it with, besides the shape of an image and the number of
            classes.
        dataset: Name of a data set, see `keras_convinit.lab.data.load`.
        augmentations: Name of a class of `keras_convinit.lab.data.augmentation` and its
            arguments, in the order in which they are applied.
        optimizer: The optimizer.
        schedule: The learning rate's way through the run.
        epochs: Times that every training image is seen; 0 where the paper looks at the
            network before the first step.
        batch_size: Images in a step.
        initialization: What the weights start from.
        validation_fraction: Share of the training images that is held out; 0 for none,
            where the paper trains on all.
        parameters: Trainable parameters as the paper or its code has them; None where
            they give none.
        seeds: Runs that the paper made of it; None where it does not say.
        reported: What the paper reports, in its own unit; None where our references
            do not give it.
        unit: The unit of what is reported.
        assumed: What the references leave open, and what was chosen here.
    """

    name: str
    source: str
    network: str
    arguments: Mapping[str, Any]
    dataset: str
    augmentations: tuple[tuple[str, Mapping[str, Any]], ...]
    optimizer: Optimizer
    schedule: Schedule
    epochs: int
    batch_size: int
    initialization: Initialization
    validation_fraction: float = 0.1
    parameters: int | None = None
    seeds: int | None = None
    reported: float | None = None
    unit: str = ""
    assumed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        whole("epochs", self.epochs, 0)
        whole("batch_size", self.batch_size, 1)
        one_of("schedule", type(self.schedule), (Schedule,))

    @property
    def paper(self) -> str:
        """The first part of the name."""
        return self.name.partition("/")[0]
