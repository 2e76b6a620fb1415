"""What weight normalization reaches beside batch normalization: Arpit et al., table 1.

    python examples/reproduce/arpit_table1.py --scale cpu

Residual networks on CIFAR-10 (from TFDS_DATA_DIR, or downloaded) with the paper's
gains, without and with a warm-up, with data-dependent ones, as PyTorch starts weight
normalization, and with batch normalization; one recipe for all, and of two learning
rates the one that suits each. Beside the accuracy stand the processor seconds of an
epoch, and those until the accuracy is what batch normalization has in the end; both at
the speed of the fastest run, since a shared machine may be half as fast another day.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from charts import furnish_accuracy, legend, panels, ranges
from command import command
from experiment import Case, Finding, Row, Table
from matplotlib.figure import Figure
from runs import (
    best,
    by_epoch,
    diverged,
    fastest,
    of,
    percent,
    shares_until,
    spread,
)
from trained import AbstractTrainings
from training import Course, Trainer

from keras_convinit.lab import data
from keras_convinit.lab.data.augmentation import CropFlip
from keras_convinit.lab.recipes import Optimizer, Schedule
from keras_convinit.lab.recipes.arpit2019 import HE_2016
from keras_convinit.lab.recipes.schedule import WarmUp


@dataclasses.dataclass(frozen=True)
class Method:
    """A row of the table.

    Args:
        arguments: Of the network, besides its depth.
        scheme: See `scheme_from`.
        warm_up: Whether the learning rate rises at first.
    """

    arguments: str
    scheme: str
    warm_up: bool = False


BATCH, WARM, PROPOSED = "batch normalization", "proposed, warm-up", "proposed"
DATA = "data-dependent"
METHODS = {
    BATCH: Method("normalization=batch", "he_normal"),
    WARM: Method("normalization=weight,scaled=True", "arpit", warm_up=True),
    PROPOSED: Method("normalization=weight,scaled=True", "arpit"),
    DATA: Method("normalization=weight,scaled=False", "data_dependent"),
    "PyTorch default": Method(
        "normalization=weight,scaled=False", "kernel:direction=he_normal"
    ),
}
# What counts as close, and what the reference must have for anything to be told.
CLOSE, LEARNT = 0.05, 0.2


@dataclasses.dataclass(frozen=True)
class Settings:
    """How large everything is.

    Args:
        dataset: Name of the images.
        limit: Training images, and held-out ones, at most.
        depths: Of the networks.
        learning_rates: The peaks; of each method the better one counts.
        epochs: Of each run.
        batch_size: Images in a step.
        padding: Of the random crops.
        evaluations: How often held-out images are looked at.
        seeds: Runs of each.
    """

    dataset: str
    limit: int | None
    depths: tuple[int, ...]
    learning_rates: tuple[float, ...]
    epochs: int
    batch_size: int
    padding: int
    evaluations: int
    seeds: int


SCALES = {
    "smoke": Settings("digits", 200, (8,), (0.1,), 1, 50, 1, 2, 1),
    "cpu": Settings("cifar10", 2500, (20, 56), (0.1, 0.02), 8, 64, 4, 8, 3),
    "paper": Settings("cifar10", None, (56, 110), (0.1, 0.01), 182, 128, 4, 182, 3),
}


class ArpitTable1(AbstractTrainings):
    """Accuracy and time with weight and with batch normalization."""

    name = "arpit_table1"
    title = "Weight normalization beside batch normalization"
    source = "Arpit et al. 2019, table 1"
    claim = (
        "Weight normalization with the proposed gains and a warm-up comes close to "
        "batch normalization; data-dependent initialization does not."
    )
    scales = SCALES

    def cases(self) -> list[Case]:
        """Seeds first; one network after the other."""
        return [
            {"seed": seed, "depth": depth, "method": method, "learning_rate": rate}
            for seed in range(self.settings.seeds)
            for depth in self.settings.depths
            for method in METHODS
            for rate in self.settings.learning_rates
        ]

    def trainer(self, case: Case) -> Trainer:
        """Momentum and weight decay of the paper's recipes."""
        del case
        settings = self.settings
        return Trainer(
            data.load(settings.dataset, settings.limit),
            settings.batch_size,
            Optimizer(1.0, weight_decay=1e-4),
            [CropFlip(settings.padding)],
            held_out=2000,
        )

    def network(self, case: Case) -> str:
        """A network of 6n + 2 layers."""
        return f"resnet_cifar:{case['depth']},{METHODS[case['method']].arguments}"

    def scheme(self, case: Case) -> str:
        """The scheme of the row."""
        return METHODS[case["method"]].scheme

    def course(self, case: Case) -> Course:
        """Two drops to a tenth; the warm-up takes the first epoch."""
        warm = METHODS[case["method"]].warm_up
        schedule = Schedule("steps", HE_2016, WarmUp(1, "quadratic") if warm else None)
        settings = self.settings
        return Course(
            case["learning_rate"],
            settings.epochs,
            schedule,
            evaluations=settings.evaluations,
        )

    def table(self, rows: Sequence[Row]) -> Table:
        """A row for each network and method."""
        return Table(
            (
                "network, method",
                "held-out accuracy, %",
                "learning rate",
                "diverged",
                "processor seconds an epoch",
                "... to batch norm's accuracy",
            ),
            tuple(
                (
                    f"ResNet-{depth}, {method}",
                    percent(some),
                    f"{rate:g}",
                    f"{diverged(some)} of {len(some)}",
                    self._epoch(some),
                    self._reached(rows, depth, some),
                )
                for depth in self.settings.depths
                for method in METHODS
                for rate, some in [_at_best_rate(rows, depth, method)]
            ),
        )

    def _epoch(self, rows: Sequence[Row]) -> str:
        seconds = fastest(rows)
        return "-" if seconds is None else f"{seconds / self.settings.epochs:.1f}"

    def _reached(self, rows: Sequence[Row], depth: int, some: Sequence[Row]) -> str:
        """Until the accuracy is the one that batch normalization has in the end."""
        # Rounding must not decide about a run that ends at the mean.
        goal = spread(_at_best_rate(rows, depth, BATCH)[1]).mean - 1e-9
        shares = shares_until(some, goal)
        reached = f"{len(shares)} of {len(some)}"
        seconds = fastest(some)
        if not shares or seconds is None:
            return reached
        return f"{np.median(shares) * seconds:.0f} ({reached})"

    def finding(self, rows: Sequence[Row]) -> Finding:
        """How far each method is behind batch normalization."""
        said, learnt, close, worse = [], [], [], []
        for depth in self.settings.depths:
            means = {
                method: spread(_at_best_rate(rows, depth, method)[1]).mean
                for method in METHODS
            }
            learnt.append(means[BATCH] >= LEARNT)
            close.append(means[BATCH] - means[WARM] <= CLOSE)
            worse.append(means[DATA] < means[WARM])
            behind = ", ".join(
                f"{method} {100 * (mean - means[BATCH]):+.1f}"
                for method, mean in means.items()
                if method != BATCH
            )
            said.append(f"ResNet-{depth}: {behind}")
        if not all(learnt):
            verdict = "not at this scale"
        elif all(close) and all(worse):
            verdict = "confirmed"
        else:
            verdict = "partly" if any(close) or any(worse) else "contradicted"
        return Finding(
            verdict,
            "Points of held-out accuracy against batch normalization, means over "
            f"seeds: {'; '.join(said)}. Close means {100 * CLOSE:.0f} points.",
            "Where a network without batch normalization is level with one that has "
            "it, these gains are what makes it so: with data-dependent ones, and with "
            "PyTorch's, the sum of the branches grows with their number, and a rate "
            "that teaches the others anything is too large for them. Whether to leave "
            "batch normalization out is a question of depth and of budget: try both, "
            "and with a small rate before a warm-up. The seconds of the proposed gains "
            "are of another day than the others', with more going on beside them: "
            "their accuracies compare, their seconds do not.",
        )

    def figure(self, rows: Sequence[Row]) -> Figure:
        """Accuracy by epoch."""
        depths = self.settings.depths
        figure, axes = panels(len(depths))
        for panel, depth in zip(axes, depths, strict=True):
            series = {
                method: by_epoch(
                    _at_best_rate(rows, depth, method)[1], self.settings.epochs
                )
                for method in METHODS
            }
            ranges(panel, series, 100)
            furnish_accuracy(panel, f"ResNet-{depth}", "epoch")
        legend(figure, axes[0], columns=3)
        return figure


def _at_best_rate(
    rows: Sequence[Row], depth: int, method: str
) -> tuple[float, list[Row]]:
    """The learning rate at which a method is best, and its runs at that."""
    return best(of(rows, depth=depth, method=method), "learning_rate")


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """The command."""
    return command(ArpitTable1, arguments)


if __name__ == "__main__":
    main()
