"""A comparison, written down as plain data: who competes, on what, and how trained."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras_convinit._checks import check_positive
from keras_convinit.lab.checks import whole


@dataclasses.dataclass(frozen=True)
class Contender:
    """A network with a name under which its results appear.

    Args:
        label: What tables and legends call it; one of its kind within a story.
        network: Name of a function in `keras_convinit.lab.models`.
        arguments: What to call it with, besides the shape of an image and the number of
            classes. An initializer that takes arguments is a dictionary
            `{"class_name": ..., "config": {...}}`, which Keras makes anew for each run.
    """

    label: str
    network: str
    arguments: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Training:
    """SGD with momentum at one learning rate, from the first step to the last.

    Args:
        epochs: Times that every training image is seen.
        batch_size: Images in a step.
        learning_rate: The same for all contenders of a story.
        momentum: Share of the previous step that is taken again.
        clip_norm: Largest norm of the whole gradient, a longer one is shortened to it;
            None for no limit.

    Raises:
        ValueError: An argument is not a positive number, or not a whole one where it
            counts something.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float = 0.9
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        whole("epochs", self.epochs, 1)
        whole("batch_size", self.batch_size, 1)
        check_positive("learning_rate", self.learning_rate)


@dataclasses.dataclass(frozen=True)
class Story:
    """Contenders under equal conditions.

    Args:
        name: One word, for files.
        title: One line, for people.
        dataset: Name of a data set, see `keras_convinit.lab.data.load`.
        limit: How many training images, and how many held-out ones, at most; None for
            all.
        contenders: Who competes.
        training: How all of them are trained.
        watched: Prefix of the names of those layers whose outputs are the signal on its
            way through the network, or of blocks of layers.
    """

    name: str
    title: str
    dataset: str
    limit: int | None
    contenders: tuple[Contender, ...]
    training: Training
    watched: str = "activation"
