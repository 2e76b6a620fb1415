"""The best initial variance by learning rate: Zhang et al. 2022, figures 2 to 7.

    python examples/reproduce/zhang_figures2to7.py --scale cpu

A VGG and a ResNet with batch normalization on CIFAR-10 (from TFDS_DATA_DIR, or
downloaded), convolutions drawn with variances of numerator / fan_out. The figures of
the paper are one network and one learning rate each. At the scale of a small machine
the numerators are further apart than there: in few steps neighbors are alike.
"""

import dataclasses
from collections.abc import Sequence

from charts import furnish_accuracy, legend, panels, ranges, ticks
from command import command
from experiment import Case, Finding, Row, Table
from matplotlib.figure import Figure
from runs import best, of, percent, values
from trained import AbstractTrainings
from training import Course, Trainer

from keras_convinit.lab import data
from keras_convinit.lab.data.augmentation import CropFlip
from keras_convinit.lab.recipes import Optimizer, Schedule


@dataclasses.dataclass(frozen=True)
class Settings:
    """How large everything is.

    Args:
        dataset: Name of the images.
        limit: Training images, and held-out ones, at most.
        networks: See `models.from_spec`.
        numerators: Variances times fan_out.
        learning_rates: From the largest on.
        epochs: Of each run.
        batch_size: Images in a step.
        padding: Of the random crops.
        seeds: Runs of each.
    """

    dataset: str
    limit: int | None
    networks: tuple[str, ...]
    numerators: tuple[float, ...]
    learning_rates: tuple[float, ...]
    epochs: int
    batch_size: int
    padding: int
    seeds: int


RATES = (0.1, 0.01, 0.001)
SCALES = {
    "smoke": Settings(
        "digits", 200, ("resnet_cifar:8,width=4",), (1.0, 5.0), (0.1,), 1, 50, 1, 1
    ),
    "cpu": Settings(
        "cifar10",
        5000,
        ("vgg19:width=16", "resnet_cifar:20"),
        (0.2, 1.0, 5.0, 25.0),
        RATES,
        2,
        64,
        4,
        3,
    ),
    "paper": Settings(
        "cifar10",
        None,
        ("vgg19", "resnet34"),
        (1.0, 2.0, 3.0, 5.0),
        RATES,
        200,
        128,
        4,
        3,
    ),
}


class ZhangFigures2To7(AbstractTrainings):
    """Accuracy by the variance of the kernels."""

    name = "zhang_figures2to7"
    title = "The best initial variance by learning rate"
    source = "Zhang et al. 2022, figures 2 to 7"
    claim = (
        "With batch normalization, the larger the learning rate the larger the best "
        "initial variance of the convolutions."
    )
    scales = SCALES

    def cases(self) -> list[Case]:
        """Seeds first; one network after the other."""
        return [
            {
                "seed": seed,
                "network": network,
                "learning_rate": rate,
                "numerator": numerator,
            }
            for seed in range(self.settings.seeds)
            for network in self.settings.networks
            for rate in self.settings.learning_rates
            for numerator in self.settings.numerators
        ]

    def trainer(self, case: Case) -> Trainer:
        """The paper's optimizer."""
        del case
        settings = self.settings
        return Trainer(
            data.load(settings.dataset, settings.limit),
            settings.batch_size,
            Optimizer(1.0, nesterov=True, weight_decay=2e-4),
            [CropFlip(settings.padding)],
            held_out=2000,
        )

    def network(self, case: Case) -> str:
        """With batch normalization, which both have by default."""
        return case["network"]

    def scheme(self, case: Case) -> str:
        """Eq. 41: the variance is 2 / (gamma fan_out)."""
        return f"zhang_backward:gamma={2 / case['numerator']}"

    def course(self, case: Case) -> Course:
        """A cosine, as in the paper."""
        return Course(case["learning_rate"], self.settings.epochs, Schedule("cosine"))

    def table(self, rows: Sequence[Row]) -> Table:
        """Numerators by network and learning rate."""
        return Table(
            (
                "network, learning rate",
                *(f"{n:g} / fan_out" for n in self.settings.numerators),
            ),
            tuple(
                (
                    f"{network}, {rate:g}",
                    *(
                        percent(of(some, numerator=numerator))
                        for numerator in self.settings.numerators
                    ),
                )
                for network in self.settings.networks
                for rate in self.settings.learning_rates
                for some in [of(rows, network=network, learning_rate=rate)]
            ),
        )

    def finding(self, rows: Sequence[Row]) -> Finding:
        """Whether the best numerator falls as the learning rate does."""
        said, rising, falling = [], [], []
        for network in self.settings.networks:
            found = {
                rate: best(of(rows, network=network, learning_rate=rate), "numerator")[
                    0
                ]
                for rate in self.settings.learning_rates
            }
            rates = sorted(found)
            values = [found[rate] for rate in rates]
            rising.append(values == sorted(values) and values[0] < values[-1])
            falling.append(values[0] > values[-1])
            best_ones = ", ".join(f"{found[rate]:g} at {rate:g}" for rate in rates)
            said.append(f"{network}: {best_ones}")
        if all(rising):
            verdict = "confirmed"
        elif all(falling):
            verdict = "contradicted"
        else:
            verdict = "partly" if any(rising) else "not at this scale"
        return Finding(
            verdict,
            "Best numerator by learning rate, in the mean over seeds: "
            f"{'; '.join(said)}.",
            "Behind a normalization the size of a kernel does not change the function, "
            "but how far a step turns it: by the learning rate over the square of the "
            "size. Where a rate is too large a larger variance makes up for it, and "
            "where it is too small a smaller one. Choose the two together.",
        )

    def figure(self, rows: Sequence[Row]) -> Figure:
        """A panel for each network, a line for each learning rate."""
        networks = self.settings.networks
        figure, axes = panels(len(networks))
        for panel, network in zip(axes, networks, strict=True):
            series = {
                f"learning rate {rate:g}": values(
                    of(rows, network=network, learning_rate=rate),
                    "numerator",
                    self.settings.numerators,
                )
                for rate in self.settings.learning_rates
            }
            ranges(panel, series, 100)
            furnish_accuracy(panel, network, "variance of a kernel times fan_out")
            ticks(panel, self.settings.numerators)
        legend(figure, axes[0])
        return figure


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """The command."""
    return command(ZhangFigures2To7, arguments)


if __name__ == "__main__":
    main()
