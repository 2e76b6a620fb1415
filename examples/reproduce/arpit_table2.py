"""How sharply the loss curves before the first step: Arpit et al. 2019, table 2.

    python examples/reproduce/arpit_table2.py --scale cpu

The largest magnitude of an eigenvalue of the Hessian, for weight-normalized residual
networks at initialization, on CIFAR-10 (from TFDS_DATA_DIR, or downloaded). The paper
takes a tenth of the training images; at the scale of a small machine there are fewer,
the same for all starts.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence

import keras
import numpy as np
from charts import legend, panels
from command import command
from experiment import AbstractExperiment, Case, Finding, Row, Table
from matplotlib.figure import Figure
from runs import of, spread

from keras_convinit import hessian_norm, initialize
from keras_convinit.lab import data, models
from keras_convinit.lab.curves import furnish, style
from keras_convinit.lab.progress import AfterStep
from keras_convinit.lab.scheme_source import scheme_from

LOSS = keras.losses.CategoricalCrossentropy(from_logits=True)
PROPOSED = "proposed"
# Scheme, and whether branches are scaled: only the paper's gains have it so.
STARTS = {
    PROPOSED: ("arpit", True),
    "data-dependent": ("data_dependent", False),
    "PyTorch default, orthogonal": ("kernel:direction=orthogonal", False),
    "Hanin": ("hanin", False),
    "PyTorch default, He": ("kernel:direction=he_normal", False),
}
# From the flattest to the sharpest in the paper, which does not say of which law its
# directions are: with He's, PyTorch's default lets the signal grow without bounds.
ORDER = (PROPOSED, "data-dependent", "PyTorch default, orthogonal", "Hanin")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How large everything is.

    Args:
        dataset: Name of the images.
        samples: Training images that the loss is a mean over.
        networks: See `models.from_spec`.
        batch_size: Images at a time.
        tolerance: Of the eigenvalue, relative.
        seeds: Runs of each.
    """

    dataset: str
    samples: int
    networks: tuple[str, ...]
    batch_size: int
    tolerance: float
    seeds: int


SCALES = {
    "smoke": Settings("digits", 16, ("resnet_cifar:8,width=2",), 16, 0.05, 1),
    "cpu": Settings(
        "cifar10", 128, ("resnet_cifar:56", "wide_resnet:40,k=2"), 64, 0.01, 3
    ),
    "paper": Settings(
        "cifar10",
        5000,
        ("resnet_cifar:56", "resnet_cifar:110", "wide_resnet:40,k=10"),
        250,
        0.001,
        3,
    ),
}


class ArpitTable2(AbstractExperiment):
    """Spectral norms of Hessians."""

    name = "arpit_table2"
    title = "The spectral norm of the Hessian at initialization"
    source = "Arpit et al. 2019, table 2"
    claim = (
        "Before the first step the spectral norm of the loss's Hessian is smallest "
        "with the proposed initialization, then come the data-dependent one, "
        "PyTorch's, and Hanin's."
    )
    scales = SCALES

    @functools.cached_property
    def _images(self) -> data.ImageDataset:
        return data.load(self.settings.dataset, self.settings.samples)

    def cases(self) -> list[Case]:
        """Seeds first; one network after the other."""
        return [
            {"seed": seed, "network": network, "start": start}
            for seed in range(self.settings.seeds)
            for network in self.settings.networks
            for start in STARTS
        ]

    def run(self, case: Case, after_step: AfterStep) -> Row:
        """Initializes and measures, on the first images."""
        images = self._images
        x = images.standardized(images.train_images)
        y = np.eye(images.num_classes, dtype="float32")[images.train_labels]
        scheme, scaled = STARTS[case["start"]]
        keras.utils.set_random_seed(case["seed"])
        model = models.from_spec(
            f"{case['network']},normalization=weight,scaled={scaled}",
            input_shape=x.shape[1:],
            num_classes=images.num_classes,
        )
        initialize(model, scheme_from(scheme), x, seed=case["seed"])
        try:
            found = hessian_norm(
                model,
                x,
                y,
                LOSS,
                batch_size=self.settings.batch_size,
                tolerance=self.settings.tolerance,
                seed=case["seed"],
            )
        except ValueError as error:
            # Where a loss is not finite there is nothing to derive.
            outputs = model(x[: self.settings.batch_size])
            if np.isfinite(keras.ops.convert_to_numpy(outputs)).all():
                raise
            return {"log10": None, "refusal": str(error)}
        after_step(0.0)
        return {
            "log10": round(found.log10, 4),
            "eigenvalue": found.eigenvalue,
            "residual": found.residual,
            "iterations": found.iterations,
            "converged": found.converged,
        }

    def table(self, rows: Sequence[Row]) -> Table:
        """Decimal logarithms by network and start."""
        return Table(
            ("log10 of the norm", *STARTS),
            tuple(
                (network, *(_cell(of(rows, network=network, start=s)) for s in STARTS))
                for network in self.settings.networks
            ),
        )

    def finding(self, rows: Sequence[Row]) -> Finding:
        """Whether the order is that of the paper."""
        said, ordered, first = [], [], []
        for network in self.settings.networks:
            means = {s: _mean(of(rows, network=network, start=s)) for s in STARTS}
            order = sorted(means, key=means.__getitem__)
            ordered.append([start for start in order if start in ORDER] == [*ORDER])
            first.append(order[0] == PROPOSED)
            found = " < ".join(f"{start} ({means[start]:.2f})" for start in order)
            said.append(f"{network}: {found}")
        if all(ordered):
            verdict = "confirmed"
        else:
            verdict = "partly" if any(ordered) or all(first) else "contradicted"
        return Finding(
            verdict,
            f"log10 in the mean over seeds: {'; '.join(said)}.",
            "Where the signal grows through the blocks the curvature grows with it, "
            "and a learning rate that suits one start is far too large for another. "
            "Hanin's factors bound what a stage adds, however deep it is; with "
            "PyTorch's gains every block adds as much as the one before, so that "
            "which of the two is sharper depends on the depth.",
        )

    def figure(self, rows: Sequence[Row]) -> Figure:
        """A point for each seed."""
        networks = self.settings.networks
        figure, axes = panels(len(networks))
        for panel, network in zip(axes, networks, strict=True):
            for number, start in enumerate(STARTS):
                values = [
                    10 ** row["log10"]
                    for row in of(rows, network=network, start=start)
                    if row["log10"] is not None
                ]
                look = {**style(number, start), "linestyle": "none"}
                panel.plot([number] * len(values), values, marker="o", **look)
            panel.set_yscale("log")
            panel.set_xticks([])
            panel.set_title(network, fontsize=10)
            panel.set_ylabel("spectral norm of the Hessian")
            furnish(panel)
        legend(figure, axes[0], columns=5)
        return figure


def _mean(rows: Sequence[Row]) -> float:
    values = [math.inf if row["log10"] is None else row["log10"] for row in rows]
    return float(np.mean(values))


def _cell(rows: Sequence[Row]) -> str:
    finite = [row for row in rows if row["log10"] is not None]
    found = spread(finite, lambda row: row["log10"])
    return "loss not finite" if found is None else found.text(1, ".2f")


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """The command."""
    return command(ArpitTable2, arguments)


if __name__ == "__main__":
    main()
