"""How deep fully connected networks train: Arpit et al. 2019, figure 2.

    python examples/reproduce/arpit_figure2.py --scale cpu

Weight-normalized ReLU networks of 2 to 200 layers on MNIST (from TFDS_DATA_DIR, or
downloaded). They start from the paper's gains, as PyTorch does (gains of the norms of
the directions, which are orthogonal or He's), or from the first batch. The paper's code
has plain SGD, for 150 epochs; at the scale of a small machine momentum makes up for
some of the epochs that are missing.
"""

import dataclasses
from collections.abc import Sequence

from charts import furnish_accuracy, legend, panels, ranges, ticks
from command import command
from experiment import Case, Finding, Row, Table
from matplotlib.figure import Figure
from runs import best, of, percent, spread, values
from trained import AbstractTrainings
from training import Course, Trainer

from keras_convinit.lab import data
from keras_convinit.lab.recipes import Optimizer, Schedule

PROPOSED = "proposed"
SCHEMES = {
    PROPOSED: "arpit",
    "PyTorch default, orthogonal": "kernel:direction=orthogonal",
    "PyTorch default, He": "kernel:direction=he_normal",
    "data-dependent": "data_dependent",
}
# As much as tells that something was learnt.
LEARNT = 0.5


@dataclasses.dataclass(frozen=True)
class Settings:
    """How large everything is.

    Args:
        dataset: Name of the images.
        limit: Training images, and held-out ones, at most.
        width: Units of a hidden layer.
        depths: Layers with weights.
        learning_rates: The grid.
        momentum: Of SGD: none in the paper's code.
        epochs: Of each run.
        batch_size: Images in a step.
        schedule: The learning rate's way.
        seeds: Runs of each.
    """

    dataset: str
    limit: int | None
    width: int
    depths: tuple[int, ...]
    learning_rates: tuple[float, ...]
    momentum: float
    epochs: int
    batch_size: int
    schedule: Schedule
    seeds: int


SCALES = {
    "smoke": Settings("digits", 200, 16, (2, 4), (0.1,), 0.9, 1, 50, Schedule(), 1),
    "cpu": Settings(
        "mnist",
        6400,
        512,
        (2, 10, 20, 50, 100, 200),
        (0.003, 0.0003),
        0.9,
        3,
        64,
        Schedule(),
        3,
    ),
    "paper": Settings(
        "mnist",
        None,
        512,
        (2, 10, 20, 50, 100, 200),
        (0.1, 0.01, 0.001),
        0.0,
        150,
        128,
        Schedule("steps", ((1 / 3, 0.1), (2 / 3, 0.1))),
        5,
    ),
}


class ArpitFigure2(AbstractTrainings):
    """Accuracy of MLPs by depth."""

    name = "arpit_figure2"
    title = "Fully connected networks by depth"
    source = "Arpit et al. 2019, figure 2"
    claim = (
        "With the proposed gains weight-normalized MLPs of up to 200 layers train, and "
        "at larger learning rates; as PyTorch starts them and with data-dependent "
        "gains they fail as depth grows."
    )
    scales = SCALES

    def cases(self) -> list[Case]:
        """Seeds first; one network after the other."""
        return [
            {"seed": seed, "depth": depth, "start": start, "learning_rate": rate}
            for seed in range(self.settings.seeds)
            for depth in self.settings.depths
            for start in SCHEMES
            for rate in self.settings.learning_rates
        ]

    def trainer(self, case: Case) -> Trainer:
        """SGD."""
        del case
        settings = self.settings
        images = data.load(settings.dataset, settings.limit)
        return Trainer(
            images, settings.batch_size, Optimizer(1.0, momentum=settings.momentum)
        )

    def network(self, case: Case) -> str:
        """An MLP with weight normalization."""
        return f"mlp:{case['depth']},width={self.settings.width},normalization=weight"

    def scheme(self, case: Case) -> str:
        """The scheme behind the label."""
        return SCHEMES[case["start"]]

    def course(self, case: Case) -> Course:
        """The grid's learning rate."""
        settings = self.settings
        return Course(case["learning_rate"], settings.epochs, settings.schedule)

    def table(self, rows: Sequence[Row]) -> Table:
        """Depths by starts, each at its best learning rate."""
        return Table(
            ("layers", *SCHEMES),
            tuple(
                (str(depth), *(_cell(of(rows, depth=depth, start=s)) for s in SCHEMES))
                for depth in self.settings.depths
            ),
        )

    def finding(self, rows: Sequence[Row]) -> Finding:
        """Down to which depth each start learns, and at which rates."""
        deepest = {start: self._deepest(of(rows, start=start)) for start in SCHEMES}
        rates = {start: self._rates(of(rows, start=start)) for start in SCHEMES}
        reached = "; ".join(
            f"{start}: {deepest[start] or 'no'} layers" for start in SCHEMES
        )
        others = [deepest[start] for start in SCHEMES if start != PROPOSED]
        whole = deepest[PROPOSED] == max(self.settings.depths)
        if len(set(deepest.values())) == 1:
            verdict = "not at this scale"
        elif whole and all(deepest[PROPOSED] > other for other in others):
            verdict = "confirmed"
        elif deepest[PROPOSED] > min(others):
            verdict = "partly"
        else:
            verdict = "contradicted"
        largest = "; ".join(
            f"{start}: {f'{rates[start]:g}' if rates[start] else 'none'}"
            for start in SCHEMES
        )
        return Finding(
            verdict,
            f"Deepest network that reaches {100 * LEARNT:.0f} % held-out accuracy in "
            f"the mean over seeds, at its best rate: {reached}. Largest rate at which "
            f"that deepest network does: {largest}.",
            "The gains of the norms of He's directions are those of the paper wherever "
            "two layers have one width, but for chance in each of them, and so come "
            "close to it here: what fails is weight normalization of orthogonal "
            "directions without the factor sqrt(2). Use the gains of the paper, "
            "whatever the directions.",
        )

    def _deepest(self, rows: Sequence[Row]) -> int:
        depths = [
            depth
            for depth in self.settings.depths
            if spread(best(of(rows, depth=depth), "learning_rate")[1]).mean >= LEARNT
        ]
        return max(depths, default=0)

    def _rates(self, rows: Sequence[Row]) -> float:
        some = of(rows, depth=self._deepest(rows))
        rates = [
            rate
            for rate in self.settings.learning_rates
            if (found := spread(of(some, learning_rate=rate))) and found.mean >= LEARNT
        ]
        return max(rates, default=0.0)

    def figure(self, rows: Sequence[Row]) -> Figure:
        """A panel for each learning rate."""
        rates = self.settings.learning_rates
        figure, axes = panels(len(rates))
        for panel, rate in zip(axes, rates, strict=True):
            series = {
                start: values(
                    of(rows, start=start, learning_rate=rate),
                    "depth",
                    self.settings.depths,
                )
                for start in SCHEMES
            }
            ranges(panel, series, 100)
            furnish_accuracy(panel, f"learning rate {rate:g}", "layers")
            ticks(panel, self.settings.depths)
        legend(figure, axes[0])
        return figure


def _cell(rows: Sequence[Row]) -> str:
    rate, runs = best(rows, "learning_rate")
    return f"{percent(runs)} at {rate:g}"


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """The command."""
    return command(ArpitFigure2, arguments)


if __name__ == "__main__":
    main()
