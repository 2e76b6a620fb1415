"""Initializations beside each other, one recipe for all: Zhang et al. 2022, tables.

    python examples/reproduce/zhang_tables.py --scale cpu

A ResNet and a VGG with batch normalization on CIFAR-10 (from TFDS_DATA_DIR, or
downloaded). The paper takes the rows of Kaiming, MetaInit and GradInit from another
paper, which trained otherwise; here all of them have the recipe of the paper's own
rows. GradInit and MetaInit start from Kaiming's law and search for fewer steps than
their papers do, at the scale of a small machine.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from charts import furnish_accuracy, legend, panels, ranges
from command import command
from experiment import Case, Finding, Row, Table
from matplotlib.figure import Figure
from runs import accuracy, by_epoch, of, percent
from trained import AbstractTrainings
from training import Course, Trainer

from keras_convinit.lab import data
from keras_convinit.lab.data.augmentation import CropFlip, Cutout
from keras_convinit.lab.recipes import Optimizer, Schedule

KAIMING, OURS = "Kaiming", "proposed"


@dataclasses.dataclass(frozen=True)
class Settings:
    """How large everything is.

    Args:
        dataset: Name of the images.
        limit: Training images, and held-out ones, at most.
        networks: See `models.from_spec`, with the gamma that the paper has for each.
        searches: GradInit and MetaInit, see `scheme_from`.
        epochs: Of each run.
        batch_size: Images in a step.
        padding: Of the random crops.
        seeds: Runs of each.
    """

    dataset: str
    limit: int | None
    networks: dict[str, str]
    searches: dict[str, str]
    epochs: int
    batch_size: int
    padding: int
    seeds: int

    def schemes(self, network: str) -> dict[str, str]:
        """The contenders for a network."""
        return {
            KAIMING: "variance_scaling:scale=2.0,mode=fan_out,"
            "distribution=untruncated_normal",
            **self.searches,
            OURS: f"zhang_backward:gamma={self.networks[network]!r}",
            "auto": "auto",
        }


SCALES = {
    "smoke": Settings(
        "digits",
        200,
        {"resnet_cifar:8,width=4": "zhang2022/cifar10/resnet110"},
        {
            "MetaInit": "metainit:steps=1,batch_size=8",
            "GradInit": "gradinit:iterations=1,batch_size=8",
        },
        1,
        50,
        1,
        1,
    ),
    "cpu": Settings(
        "cifar10",
        4000,
        {
            "resnet_cifar:20": "zhang2022/cifar10/resnet110",
            "vgg19:width=16": "zhang2022/cifar10/vgg19",
        },
        {
            "MetaInit": "metainit:steps=30,batch_size=64",
            "GradInit": "gradinit:iterations=60,batch_size=64",
        },
        4,
        64,
        4,
        5,
    ),
    "paper": Settings(
        "cifar10",
        None,
        {
            "vgg19": "zhang2022/cifar10/vgg19",
            "resnet_cifar:110": "zhang2022/cifar10/resnet110",
            "densenet:100": "zhang2022/cifar10/densenet100",
            "wide_resnet:28,k=10": "zhang2022/cifar10/wrn28_10",
        },
        {"MetaInit": "metainit:steps=390", "GradInit": "gradinit:iterations=390"},
        200,
        128,
        4,
        5,
    ),
}


class ZhangTables(AbstractTrainings):
    """Accuracy from several initializations."""

    name = "zhang_tables"
    title = "Initializations of networks with batch normalization"
    source = "Zhang et al. 2022, tables 1 to 3"
    claim = (
        "The proposed variances with their gamma beat Kaiming's initialization, and "
        "GradInit and MetaInit are between."
    )
    scales = SCALES

    def cases(self) -> list[Case]:
        """Seeds first; one network after the other."""
        return [
            {"seed": seed, "network": network, "start": start}
            for seed in range(self.settings.seeds)
            for network in self.settings.networks
            for start in self.settings.schemes(network)
        ]

    def trainer(self, case: Case) -> Trainer:
        """The recipe of the paper's own rows."""
        del case
        settings = self.settings
        images = data.load(settings.dataset, settings.limit)
        size = images.train_images.shape[1]
        return Trainer(
            images,
            settings.batch_size,
            Optimizer(1.0, nesterov=True, weight_decay=2e-4),
            [CropFlip(settings.padding), Cutout(size // 2)],
            held_out=2000,
        )

    def network(self, case: Case) -> str:
        """With batch normalization, which all have by default."""
        return case["network"]

    def scheme(self, case: Case) -> str:
        """The scheme behind the label."""
        return self.settings.schemes(case["network"])[case["start"]]

    def course(self, case: Case) -> Course:
        """A cosine from 0.1."""
        del case
        return Course(0.1, self.settings.epochs, Schedule("cosine"), evaluations=4)

    def table(self, rows: Sequence[Row]) -> Table:
        """Starts by network."""
        networks = self.settings.networks
        starts = self.settings.schemes(next(iter(networks)))
        return Table(
            ("start", *networks, "seconds before the first step"),
            tuple(
                (
                    start,
                    *(percent(of(rows, network=n, start=start)) for n in networks),
                    _seconds(of(rows, start=start)),
                )
                for start in starts
            ),
        )

    def finding(self, rows: Sequence[Row]) -> Finding:
        """Paired differences to Kaiming, seed by seed."""
        said, ahead, behind, between = [], [], [], []
        for network in self.settings.networks:
            gains = {
                start: _paired(of(rows, network=network), start)
                for start in self.settings.schemes(network)
                if start != KAIMING
            }
            mean, error = _mean_and_error(gains[OURS])
            ahead.append(mean > 2 * error)
            behind.append(mean < -2 * error)
            searched = [
                _mean_and_error(gains[start])[0] for start in self.settings.searches
            ]
            between.append(all(0 <= gain <= mean for gain in searched))
            gained = ", ".join(
                f"{start} {_gain(values)}" for start, values in gains.items()
            )
            said.append(f"{network}: {gained}")
        if all(ahead) and all(between):
            verdict = "confirmed"
        elif all(behind):
            verdict = "contradicted"
        elif any(ahead):
            verdict = "partly"
        else:
            verdict = "not at this scale"
        return Finding(
            verdict,
            "Points of held-out accuracy above Kaiming, paired by seed, mean and "
            f"standard error (where there is more than one seed): {'; '.join(said)}. "
            "Ahead means by two standard errors.",
            "Behind a normalization the size of a kernel decides how far a step turns "
            "it, so that a preset goes with the network, the batch and the rate that "
            "it was found for: where the rate is too large for a network, the size "
            "that makes up for it may be far from any rule, and a search finds it. A "
            "search costs many steps, though, which could have been training. The "
            "paper's own margins are a twentieth to half a point after 200 epochs, "
            "from one run of each.",
        )

    def figure(self, rows: Sequence[Row]) -> Figure:
        """Accuracy by epoch."""
        networks = self.settings.networks
        figure, axes = panels(len(networks))
        for panel, network in zip(axes, networks, strict=True):
            series = {
                start: by_epoch(
                    of(rows, network=network, start=start), self.settings.epochs
                )
                for start in self.settings.schemes(network)
            }
            ranges(panel, series, 100)
            furnish_accuracy(panel, network, "epoch")
        legend(figure, axes[0], columns=5)
        return figure


def _paired(rows: Sequence[Row], start: str) -> np.ndarray:
    """The gain over Kaiming, seed by seed."""
    pairs = zip(of(rows, start=start), of(rows, start=KAIMING), strict=True)
    return np.array([accuracy(one) - accuracy(base) for one, base in pairs])


def _mean_and_error(values: np.ndarray) -> tuple[float, float]:
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.inf
    return float(values.mean()), float(error)


def _gain(values: np.ndarray) -> str:
    mean, error = (100 * value for value in _mean_and_error(values))
    return f"{mean:+.1f} +- {error:.1f}" if len(values) > 1 else f"{mean:+.1f}"


def _seconds(rows: Sequence[Row]) -> str:
    return f"{np.median([row['initialization_seconds'] for row in rows]):.0f}"


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """The command."""
    return command(ZhangTables, arguments)


if __name__ == "__main__":
    main()
