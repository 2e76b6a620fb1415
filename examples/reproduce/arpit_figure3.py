"""How deep convolutional and residual networks train: Arpit et al. 2019, figure 3.

    python examples/reproduce/arpit_figure3.py --scale cpu

Weight normalization on CIFAR-10 (from TFDS_DATA_DIR, or downloaded). On the left plain
CNNs of up to 100 layers; on the right residual networks with N blocks in each of three
stages, up to N = 1666, ten thousand layers, which run as stacks on maps of half the
size. At the scale of a small machine the deepest ones are given a few steps, which
tells whether their loss is finite and falls, and no more.
"""

import math
from collections.abc import Sequence

from charts import legend, panels, ranges, ticks
from cnn_depths import PLAIN, RESIDUAL, SCALES, Depth
from command import command
from experiment import Case, Finding, Row, Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from runs import and_diverged, diverged, of, values
from trained import AbstractTrainings
from training import Course, Trainer

from keras_convinit.lab import data
from keras_convinit.lab.curves import furnish
from keras_convinit.lab.over_seeds import Spread
from keras_convinit.lab.recipes import Optimizer

PROPOSED = "proposed"
# Scheme, and whether residual branches are scaled: only the paper's gains have it so.
STARTS = {
    PROPOSED: ("arpit", True),
    "PyTorch default, orthogonal": ("kernel:direction=orthogonal", False),
    "PyTorch default, He": ("kernel:direction=he_normal", False),
    "data-dependent": ("data_dependent", False),
    "Hanin": ("hanin", False),
}
KINDS = {PLAIN: "Plain CNN: layers", RESIDUAL: "Residual: N, 6 N + 4 layers"}
# A loss is that of chance, ln(classes), until it is so much below.
LEARNT = 0.02


class ArpitFigure3(AbstractTrainings):
    """The loss of CNNs and residual networks by depth."""

    name = "arpit_figure3"
    title = "Convolutional and residual networks by depth"
    source = "Arpit et al. 2019, figure 3"
    claim = (
        "With the proposed gains CNNs of 100 layers and residual networks of ten "
        "thousand train; other starts fail as depth grows."
    )
    scales = SCALES

    def cases(self) -> list[Case]:
        """Seeds first; one network after the other."""
        networks = [
            (kind, depth) for kind in KINDS for depth in getattr(self.settings, kind)
        ]
        seeds = max(depth.seeds for _, depth in networks)
        return [
            {"seed": seed, "kind": kind, "size": depth.size, "start": start}
            for seed in range(seeds)
            for kind, depth in networks
            for start in STARTS
            if seed < depth.seeds and (kind, start) != (PLAIN, "Hanin")
        ]

    def trainer_key(self, case: Case) -> int:
        """Networks with batches of one size share a trainer."""
        return self._depth(case).batch_size

    def trainer(self, case: Case) -> Trainer:
        """SGD with momentum and weight decay."""
        return Trainer(
            data.load(self.settings.dataset, self.settings.limit),
            self._depth(case).batch_size,
            Optimizer(1.0, weight_decay=1e-4),
            # The losses are looked at; the deepest networks are slow.
            held_out=self._depth(case).batch_size,
            kept=1,
        )

    def network(self, case: Case) -> str:
        """With weight normalization, and scaled for the paper's gains."""
        settings = self.settings
        if case["kind"] == PLAIN:
            return (
                f"plain_cnn:{case['size']},width={settings.width},"
                f"strides={settings.strides},normalization=weight"
            )
        _, scaled = STARTS[case["start"]]
        return (
            f"wide_resnet:{6 * case['size'] + 4},k=1,normalization=weight,"
            f"scaled={scaled},stem_stride={self._depth(case).stem_stride},"
            f"stacks={case['size'] >= settings.stacks_from}"
        )

    def scheme(self, case: Case) -> str:
        """The scheme behind the label."""
        return STARTS[case["start"]][0]

    def course(self, case: Case) -> Course:
        """A constant rate for some steps."""
        depth = self._depth(case)
        per_epoch = self._trainer(case).steps_per_epoch
        epochs = math.ceil(depth.steps / per_epoch)
        return Course(self.settings.learning_rate, epochs, steps=depth.steps)

    def _depth(self, case: Case) -> Depth:
        listed = getattr(self.settings, case["kind"])
        return next(depth for depth in listed if depth.size == case["size"])

    def table(self, rows: Sequence[Row]) -> Table:
        """The loss of the last steps, by network and start."""
        return Table(
            ("network", *STARTS),
            tuple(
                (
                    f"{kind} {depth.size}, {depth.steps} steps",
                    *(
                        _cell(of(rows, kind=kind, size=depth.size, start=start))
                        for start in STARTS
                    ),
                )
                for kind in KINDS
                for depth in getattr(self.settings, kind)
            ),
        )

    def finding(self, rows: Sequence[Row]) -> Finding:
        """The deepest network of each kind that learns in all runs."""
        said, ahead, behind, equal = [], [], [], []
        for kind in KINDS:
            deepest = {
                start: self._deepest(of(rows, kind=kind, start=start))
                for start in STARTS
            }
            others = [size for start, size in deepest.items() if start != PROPOSED]
            ahead.append(deepest[PROPOSED] > max(others))
            behind.append(deepest[PROPOSED] < max(others))
            equal.append(deepest[PROPOSED] >= max(others) > 0)
            found = ", ".join(
                f"{start} {size or 'none'}"
                for start, size in deepest.items()
                if of(rows, kind=kind, start=start)
            )
            said.append(f"{kind}: {found}")
        if all(ahead):
            verdict = "confirmed"
        elif all(behind):
            verdict = "contradicted"
        elif any(ahead) or all(equal):
            verdict = "partly"
        else:
            verdict = "not at this scale"
        return Finding(
            verdict,
            "Deepest network whose loss is finite and below that of chance by "
            f"{100 * LEARNT:.0f} % in the last steps of every run: {'; '.join(said)}.",
            "That the signal is kept makes a plain network trainable, not fast: its "
            "gradient still has to tell images apart through all layers. Residual "
            "branches that are scaled by their number leave the shortcut to do that, "
            "at any depth.",
        )

    def _deepest(self, rows: Sequence[Row]) -> int:
        sizes = dict.fromkeys(row["case"]["size"] for row in rows)
        return max(
            (size for size in sizes if all(map(_learnt, of(rows, size=size)))),
            default=0,
        )

    def figure(self, rows: Sequence[Row]) -> Figure:
        """A panel for each kind of network."""
        figure, axes = panels(len(KINDS))
        finite = [row for row in rows if not row["diverged"]]
        for panel, kind in zip(axes, KINDS, strict=True):
            sizes = [depth.size for depth in getattr(self.settings, kind)]
            series = {
                start: values(of(finite, kind=kind, start=start), "size", sizes, _loss)
                for start in STARTS
            }
            ranges(panel, series)
            _furnish(panel, KINDS[kind])
            ticks(panel, sizes)
        legend(figure, axes[1], columns=3)
        return figure


def _furnish(panel: Axes, across: str) -> None:
    chance = math.log(10)
    panel.axhline(chance, color="0.5", linewidth=0.8, linestyle=":", zorder=0)
    panel.set_xlabel(across)
    panel.set_ylabel(
        "training loss in the last steps\n(dotted: chance; no point: diverged)"
    )
    furnish(panel)


def _loss(row: Row) -> float:
    return row["loss"]


def _learnt(row: Row) -> bool:
    return not row["diverged"] and row["loss"] < (1 - LEARNT) * math.log(10)


def _cell(rows: Sequence[Row]) -> str:
    if not rows:
        return "-"
    losses = Spread.of(row["loss"] for row in rows if not row["diverged"])
    if losses is None:
        return f"diverged ({diverged(rows)} of {len(rows)})"
    return and_diverged(losses.text(1, ".2f"), rows)


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """The command."""
    return command(ArpitFigure3, arguments)


if __name__ == "__main__":
    main()
