"""Norms of hidden activations and of gradients by depth: Arpit et al. 2019, figure 1.

    python examples/reproduce/arpit_figure1.py

A network of 20 dense layers and one of 40 residual blocks, at initialization, on 1,000
points from N(0, I) in R^500; hidden widths drawn from about 200 (150 to 249) and about
1,000 (950 to 1,049). Weights are normalized, with one of three initializations: rows
of He's law with gain 1, and the paper's gains on orthogonal and on He's directions.
The paper predicts a ratio of 1 at every layer of the dense network; for the residual
one (1 + 1/40)^(b/2) at block b, up to 1.639, from the sum of 40 scaled branches.

Takes half a minute and about 1 GB, at full size.
"""

from collections.abc import Sequence

import keras
import numpy as np
from command import command
from experiment import AbstractExperiment, Case, Finding, Row, Table
from matplotlib.figure import Figure
from norm_networks import NETWORKS, Settings, Start
from norm_panels import norm_panels

from keras_convinit.lab.progress import AfterStep

FULL = Settings(1000, 500, 20, 40, (200, 1000), 50, 5)
SCALES = {
    "smoke": Settings(40, 100, 3, 4, (150,), 50, 1),
    "cpu": FULL,
    "paper": FULL,
}


PROPOSED = "proposed, orthogonal"
STARTS = {
    "He, gain 1": Start("he_normal", proposed=False),
    PROPOSED: Start("orthogonal", proposed=True),
    "proposed, He": Start("he_normal", proposed=True),
}

DIRECTIONS = ("forward", "backward")


class ArpitFigure1(AbstractExperiment):
    """Ratios of norms by depth."""

    name = "arpit_figure1"
    title = "Norms of activations and gradients by depth"
    source = "Arpit et al. 2019, figure 1"
    claim = (
        "With the proposed gains the norms of activations and gradients stay what they "
        "are through dense layers, and through all blocks of a residual network grow "
        "by a factor between sqrt(2) and sqrt(e)."
    )
    scales = SCALES

    def cases(self) -> list[Case]:
        """Seeds first; network by network."""
        return [
            {"seed": seed, "network": network, "width": width, "start": start}
            for seed in range(self.settings.seeds)
            for network in NETWORKS
            for width in self.settings.widths
            for start in STARTS
        ]

    def run(self, case: Case, after_step: AfterStep) -> Row:
        """Mean and standard deviation over the samples, at each depth."""
        settings = self.settings
        keras.utils.set_random_seed(case["seed"])
        generator = np.random.default_rng(case["seed"])
        inputs = generator.standard_normal((settings.samples, settings.inputs))
        network, start = NETWORKS[case["network"]], STARTS[case["start"]]
        ratios = network(
            settings, start, case["width"], inputs.astype("float32"), generator
        )
        after_step(0.0)
        return {
            direction: {
                "mean": [_digits(row.mean()) for row in rows],
                "deviation": [_digits(row.std()) for row in rows],
            }
            for direction, rows in zip(DIRECTIONS, ratios, strict=True)
        }

    def predicted(self, network: str, direction: str) -> np.ndarray:
        """The ratio at each depth: theorems 1, 2 and 7, the last with its root."""
        if network == "dense":
            layers = self.settings.layers
            return np.ones(layers if direction == "forward" else layers - 1)
        blocks = self.settings.blocks
        growth = (1 + 1 / blocks) ** (np.arange(1, blocks + 1) / 2)
        return growth if direction == "forward" else growth[:-1][::-1]

    def table(self, rows: Sequence[Row]) -> Table:
        """The last ratios beside the predictions."""
        return Table(
            ("network, width, start", *DIRECTIONS, "predicted"),
            tuple(
                (
                    f"{network}, about {width}, {start}",
                    *(_text(_ends(some, direction)) for direction in DIRECTIONS),
                    " and ".join(
                        f"{self.predicted(network, direction)[_end(direction)]:.3f}"
                        for direction in DIRECTIONS
                    ),
                )
                for (network, width, start), some in _groups(rows).items()
            ),
        )

    def finding(self, rows: Sequence[Row]) -> Finding:
        """How far the ratios at the end are from the predicted ones."""
        errors, within, others = [], [], []
        for (network, _, start), some in _groups(rows).items():
            if not STARTS[start].proposed:
                others += list(_ends(some, "forward"))
                continue
            for direction in DIRECTIONS:
                expected = self.predicted(network, direction)[_end(direction)]
                ends = _ends(some, direction)
                error = abs(ends.mean() / expected - 1)
                errors.append(error)
                within.append(error < 0.1 + 3 * _standard_error(ends) / expected)
        verdict = "confirmed" if all(within) else "contradicted"
        if any(within) and not all(within):
            verdict = "partly"
        return Finding(
            verdict,
            "With the proposed gains the mean ratios at the end are within "
            f"{100 * max(errors):.0f} % of the predicted ones, and all of them within "
            "10 % and three standard errors, forwards and backwards: "
            f"{sum(within)} of {len(within)}. With gain 1 they are between "
            f"{min(others):.2g} and {max(others):.2g} forwards.",
            "The gains do what the theorems say, whatever law the directions have. "
            "At a finite width the ratio of a dense network is a random number, and "
            "the more so the narrower and deeper it is: the theorems are about its "
            "mean.",
        )

    def figure(self, rows: Sequence[Row]) -> Figure:
        """Four panels: dense and residual, forwards and backwards."""
        return norm_panels(rows, self.predicted)


def _end(direction: str) -> int:
    """Where a signal ends: the error signal at the first layer."""
    return -1 if direction == "forward" else 0


def _groups(rows: Sequence[Row]) -> dict[tuple[str, int, str], list[Row]]:
    """Runs that differ in their seed alone."""
    groups: dict[tuple[str, int, str], list[Row]] = {}
    for row in rows:
        case = row["case"]
        key = case["network"], case["width"], case["start"]
        groups.setdefault(key, []).append(row)
    return groups


def _ends(rows: Sequence[Row], direction: str) -> np.ndarray:
    """The mean ratios at the end, one for each seed."""
    return np.array([row[direction]["mean"][_end(direction)] for row in rows])


def _standard_error(values: np.ndarray) -> float:
    return values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0


def _text(ends: np.ndarray) -> str:
    return f"{ends.mean():.4g} ({ends.min():.3g} to {ends.max():.3g})"


def _digits(value: float) -> float:
    return float(f"{value:.6g}")


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """The command."""
    return command(ArpitFigure1, arguments)


if __name__ == "__main__":
    main()
