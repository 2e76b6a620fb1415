"""What a comparison is asked to do, as plain data."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from keras_convinit._checks import check_positive
from keras_convinit.lab.call_text import parsed_call
from keras_convinit.lab.checks import one_of, whole
from keras_convinit.lab.data import augmentation
from keras_convinit.lab.data.augmentation import Augmentation
from keras_convinit.lab.recipes import Optimizer, Schedule
from keras_convinit.lab.scheme_source import scheme_from

SCHEDULES = ("constant", "cosine")

AUGMENTATIONS: dict[str, type[Augmentation]] = {
    "crop_flip": augmentation.CropFlip,
    "auto_augment": augmentation.AutoAugment,
    "cutout": augmentation.Cutout,
    "random_erasing": augmentation.RandomErasing,
    "mixup": augmentation.Mixup,
    "cutmix": augmentation.CutMix,
}

# Which runs there are, not what one of them is.
GROWING = ("schemes", "learning_rates", "seeds")


@dataclasses.dataclass(frozen=True)
class Case:
    """A run: which scheme, at which learning rate, with which seed."""

    scheme: str
    learning_rate: float
    seed: int

    def __str__(self) -> str:
        return f"{self.scheme}, learning rate {self.learning_rate:g}, seed {self.seed}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """Every scheme with every learning rate and every seed, all trained alike.

    Args:
        model: What is initialized, see `model_from`.
        dataset: A name of `lab.data.load`, or `package.module:function`, see
            `images.OwnImages`.
        schemes: What it is initialized by, see `scheme_from`.
        learning_rates: Of SGD, the peaks of the schedule.
        seeds: How many runs there are of each pair of these, with seeds 0, 1, ...
        epochs: Times that every training image is seen.
        subset: How many training images, and how many held-out ones, at most, of a data
            set by name; None for all.
        batch_size: Images in a step, of a data set by name.
        momentum: Share of the previous step that is taken again.
        weight_decay: Of `keras_convinit.optimizers.CoupledSGD`; 0 for none.
        clip_norm: Largest norm of the whole gradient; None for no limit.
        schedule: `"constant"`, or `"cosine"`, which ends at 0.
        augment: Augmentations by name, with their arguments behind a colon, in the
            order in which they are applied, to a data set by name.
        imports: Modules to import before the model, for classes that it needs.

    Raises:
        ValueError: An argument is not what is said here.
    """

    model: str
    dataset: str
    schemes: tuple[str, ...]
    learning_rates: tuple[float, ...] = (0.1, 0.01)
    seeds: int = 3
    epochs: int = 2
    subset: int | None = None
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 0.0
    clip_norm: float | None = None
    schedule: str = "constant"
    augment: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for scheme in _several("schemes", self.schemes):
            scheme_from(scheme)
        for rate in _several("learning_rates", self.learning_rates):
            check_positive("learning_rates", rate)
        whole("seeds", self.seeds, 1)
        whole("epochs", self.epochs, 1)
        if self.subset is not None:
            whole("subset", self.subset, 10)
        whole("batch_size", self.batch_size, 1)
        for name, most in (("momentum", 1.0), ("weight_decay", float("inf"))):
            if not 0 <= getattr(self, name) < most:
                raise ValueError(
                    f"`{name}` must be at least 0 and less than {most:g}. "
                    f"Received: {name}={getattr(self, name)!r}"
                )
        if self.clip_norm is not None:
            check_positive("clip_norm", self.clip_norm)
        one_of("schedule", self.schedule, SCHEDULES)
        self.augmentations()

    def augmentations(self) -> tuple[Augmentation, ...]:
        """The augmentations that `augment` stands for."""
        return tuple(map(_augmentation, self.augment))

    def optimizer(self, learning_rate: float) -> Optimizer:
        """The optimizer of the runs with that learning rate."""
        return Optimizer(
            learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
        )

    def learning_rate_schedule(self) -> Schedule:
        """The way of the learning rate through every run."""
        return Schedule(self.schedule)

    def cases(self) -> list[Case]:
        """All runs, in their order.

        Seeds come first, so that an interrupted comparison has about as many runs of
        one scheme as of another; learning rates last, as they can share what a scheme
        found.
        """
        return [
            Case(scheme, rate, seed)
            for seed in range(self.seeds)
            for scheme in self.schemes
            for rate in self.learning_rates
        ]

    def settings(self) -> dict[str, Any]:
        """What every run depends on: all but `schemes`, `learning_rates`, `seeds`."""
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if name not in GROWING}


def _several(name: str, values: Iterable[Any]) -> tuple[Any, ...]:
    found = tuple(values)
    if not found or len(set(found)) < len(found):
        raise ValueError(
            f"`{name}` must be at least one, and each of them once. "
            f"Received: {name}={', '.join(map(str, found))}"
        )
    return found


def _augmentation(text: str) -> Augmentation:
    name, values, named = parsed_call(text, AUGMENTATIONS, "augmentation")
    try:
        return AUGMENTATIONS[name](*values, **dict(named))
    except TypeError as error:
        raise ValueError(
            f"{name} must be given arguments that it takes. "
            f"Received: {text!r} ({error})"
        ) from error
