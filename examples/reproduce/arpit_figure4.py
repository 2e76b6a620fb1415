"""Which share of the seeds does not diverge: Arpit et al. 2019, figure 4.

    python examples/reproduce/arpit_figure4.py --scale cpu

A wide residual network on CIFAR-10 (from TFDS_DATA_DIR, or downloaded), with weight
normalization and SGD with momentum, many seeds, with a quadratic warm-up of the
learning rate and without, over learning rates. A run diverges when its loss is NaN or
infinite. At the scale of a small machine the network is WRN-28-1 on maps of half the
size, for sixty steps.
"""

import dataclasses
from collections.abc import Sequence

from charts import legend, panels, ticks
from command import command
from experiment import Case, Finding, Row, Table
from matplotlib.figure import Figure
from runs import diverged, of
from trained import AbstractTrainings
from training import Course, Trainer

from keras_convinit.lab import data
from keras_convinit.lab.curves import furnish, style
from keras_convinit.lab.data.augmentation import CropFlip
from keras_convinit.lab.recipes import Optimizer, Schedule
from keras_convinit.lab.recipes.schedule import WarmUp

PROPOSED = "proposed"
# Scheme, and whether branches are scaled: only the paper's gains have it so.
STARTS = {
    PROPOSED: ("arpit", True),
    "Hanin": ("hanin", False),
    "data-dependent": ("data_dependent", False),
    "PyTorch default": ("kernel:direction=he_normal", False),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """How large everything is.

    Args:
        dataset: Name of the images.
        limit: Training images, and held-out ones, at most.
        network: Without normalization and scale, see `models.from_spec`.
        learning_rates: The grid.
        epochs: Of each run.
        batch_size: Images in a step.
        padding: Of the random crops.
        seeds: Runs of each.
    """

    dataset: str
    limit: int | None
    network: str
    learning_rates: tuple[float, ...]
    epochs: int
    batch_size: int
    padding: int
    seeds: int


SCALES = {
    "smoke": Settings("digits", 100, "wide_resnet:10,k=1", (0.1, 1e9), 1, 50, 1, 1),
    "cpu": Settings(
        "cifar10",
        1920,
        "wide_resnet:28,k=1,stem_stride=2",
        (0.003, 0.03, 0.1, 0.3),
        1,
        32,
        4,
        20,
    ),
    "paper": Settings(
        "cifar10",
        None,
        "wide_resnet:40,k=10",
        (0.001, 0.01, 0.1, 0.5, 1.0),
        3,
        128,
        4,
        20,
    ),
}


class ArpitFigure4(AbstractTrainings):
    """The share of seeds that do not diverge."""

    name = "arpit_figure4"
    title = "Which share of the seeds survives"
    source = "Arpit et al. 2019, figure 4"
    claim = (
        "The proposed initialization diverges for fewer seeds, and at larger learning "
        "rates, than the others, and a warm-up helps."
    )
    scales = SCALES

    def cases(self) -> list[Case]:
        """Seeds first."""
        return [
            {"seed": seed, "start": start, "warm_up": warm_up, "learning_rate": rate}
            for seed in range(self.settings.seeds)
            for start in STARTS
            for warm_up in (False, True)
            for rate in self.settings.learning_rates
        ]

    def trainer(self, case: Case) -> Trainer:
        """SGD with momentum and weight decay."""
        del case
        settings = self.settings
        return Trainer(
            data.load(settings.dataset, settings.limit),
            settings.batch_size,
            Optimizer(1.0, weight_decay=5e-4),
            [CropFlip(settings.padding)],
            held_out=settings.batch_size,
        )

    def network(self, case: Case) -> str:
        """With weight normalization, and scaled for the paper's gains."""
        _, scaled = STARTS[case["start"]]
        return f"{self.settings.network},normalization=weight,scaled={scaled}"

    def scheme(self, case: Case) -> str:
        """The scheme behind the label."""
        return STARTS[case["start"]][0]

    def course(self, case: Case) -> Course:
        """The warm-up, where there is one, takes a third of the run."""
        epochs = self.settings.epochs
        warm_up = WarmUp(epochs / 3, "quadratic") if case["warm_up"] else None
        return Course(case["learning_rate"], epochs, Schedule(warm_up=warm_up))

    def table(self, rows: Sequence[Row]) -> Table:
        """Shares by learning rate."""
        rates = self.settings.learning_rates
        return Table(
            ("not diverged at", *(f"{rate:g}" for rate in rates)),
            tuple(
                (
                    _label(start, warm_up),
                    *(
                        _cell(
                            of(rows, start=start, warm_up=warm_up, learning_rate=rate)
                        )
                        for rate in rates
                    ),
                )
                for start in STARTS
                for warm_up in (False, True)
            ),
        )

    def finding(self, rows: Sequence[Row]) -> Finding:
        """Whether the proposed start survives more often, and the warm-up helps."""
        shares = {
            (start, warm_up): _share(of(rows, start=start, warm_up=warm_up))
            for start in STARTS
            for warm_up in (False, True)
        }
        others = [start for start in STARTS if start != PROPOSED]
        ahead = [
            shares[PROPOSED, warm_up] > shares[start, warm_up]
            for start in others
            for warm_up in (False, True)
        ]
        helps = [shares[start, True] > shares[start, False] for start in STARTS]
        harms = [shares[start, True] < shares[start, False] for start in STARTS]
        if all(share == 1 for share in shares.values()):
            verdict = "not at this scale"
        elif all(ahead) and any(helps) and not any(harms):
            verdict = "confirmed"
        elif any(ahead) or any(helps):
            verdict = "partly"
        else:
            verdict = "contradicted"
        said = "; ".join(
            f"{start} {100 * shares[start, False]:.0f} % without and "
            f"{100 * shares[start, True]:.0f} % with warm-up"
            for start in STARTS
        )
        return Finding(
            verdict,
            f"Runs that do not diverge, over all learning rates: {said}.",
            "A network whose branches start small survives a rate that is too large "
            "for it at first. Take a warm-up where the rate is near its limit.",
        )

    def figure(self, rows: Sequence[Row]) -> Figure:
        """Shares by learning rate, without and with warm-up."""
        figure, axes = panels(2)
        for panel, warm_up in zip(axes, (False, True), strict=True):
            for number, start in enumerate(STARTS):
                some = of(rows, start=start, warm_up=warm_up)
                shares = {
                    rate: 100 * _share(of(some, learning_rate=rate))
                    for rate in self.settings.learning_rates
                }
                look = style(number, start)
                panel.plot(list(shares), list(shares.values()), marker="o", **look)
            panel.set_title("with warm-up" if warm_up else "without", fontsize=10)
            panel.set_xlabel("learning rate")
            panel.set_ylabel("runs that do not diverge, %")
            panel.set_ylim(-4, 104)
            ticks(panel, self.settings.learning_rates)
            furnish(panel)
        legend(figure, axes[0])
        return figure


def _label(start: str, warm_up: bool) -> str:
    return f"{start}, warm-up" if warm_up else start


def _share(rows: Sequence[Row]) -> float:
    return 1 - diverged(rows) / len(rows)


def _cell(rows: Sequence[Row]) -> str:
    return f"{len(rows) - diverged(rows)} of {len(rows)}"


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """The command."""
    return command(ArpitFigure4, arguments)


if __name__ == "__main__":
    main()
