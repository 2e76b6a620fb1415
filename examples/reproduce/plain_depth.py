"""How deep plain and residual networks train, from every scheme. Ours, not a paper's.

    python examples/reproduce/plain_depth.py --scale cpu

Convolutional networks without shortcuts and with them, without normalisation, with
batch and with weight normalisation, on scikit-learn's digits, which are bundled, and
plain ones on CIFAR-10 (from TFDS_DATA_DIR, or downloaded). Every scheme that takes such
a network has its turn; networks without normalisation have their gradient clipped to
norm 1, for all schemes alike. The learning rate is one for all, so that a scheme that
would like another one is at a disadvantage.
"""

import dataclasses
from collections.abc import Sequence

from charts import furnish_accuracy, panels, ranges
from command import command
from experiment import Case, Finding, Row, Table
from matplotlib.figure import Figure
from trained import AbstractTrainings, accuracy, of, spread
from training import AS_MADE, Course, Trainer

from keras_convinit.lab import data
from keras_convinit.lab.recipes import Optimizer

GLOROT = "glorot_uniform"
# The gain that ReLU asks for.
ORTHOGONAL, DELTA = "orthogonal:gain=1.4142", "delta_orthogonal"
NO_DATA = (GLOROT, "he_normal", ORTHOGONAL, DELTA, "zhang_forward", "zhang_backward")
SEARCHES = (
    "metainit:steps=20,batch_size=32",
    "gradinit:iterations=40,batch_size=32",
)
PLAIN, RESIDUAL = "plain", "residual"
NONE, BATCH, WEIGHT = "no normalisation", "batch normalisation", "weight normalisation"
# What trains what: by kind of network and normalisation.
SCHEMES = {
    (PLAIN, NONE): (*NO_DATA, "lsuv", *SEARCHES),
    (PLAIN, BATCH): (GLOROT, "he_normal", "auto", "zhang_backward:gamma=0.4"),
    (PLAIN, WEIGHT): ("arpit", "kernel:direction=he_normal", "data_dependent"),
    (RESIDUAL, NONE): (GLOROT, "he_normal", "auto", "fixup", "lsuv", *SEARCHES),
    (RESIDUAL, BATCH): (GLOROT, "he_normal", "auto"),
    (RESIDUAL, WEIGHT): (
        "arpit",
        "hanin",
        "kernel:direction=he_normal",
        "data_dependent",
    ),
}
ARGUMENTS = {NONE: "None", BATCH: "batch", WEIGHT: "weight"}
# As much as tells that something was learnt, above the share of one class.
LEARNT = 0.1


@dataclasses.dataclass(frozen=True)
class Images:
    """Images, and the networks for them.

    Args:
        dataset: Their name.
        limit: Training images, and held-out ones, at most.
        width: Channels of a convolution.
        strides: Of the first convolutions of a plain network, and of the stem.
        depths: Convolutions of a network, about.
        kinds: With shortcuts, without, or both.
        epochs: Of each run.
        batch_size: Images in a step.
        learning_rate: Of all schemes.
    """

    dataset: str
    limit: int | None
    width: int
    strides: tuple[int, ...]
    depths: tuple[int, ...]
    kinds: tuple[str, ...]
    epochs: int
    batch_size: int
    learning_rate: float


@dataclasses.dataclass(frozen=True)
class Settings:
    """How large everything is.

    Args:
        images: What to train on.
        seeds: Runs of each.
    """

    images: tuple[Images, ...]
    seeds: int


BOTH = (PLAIN, RESIDUAL)
SCALES = {
    "smoke": Settings((Images("digits", 96, 2, (), (4,), (PLAIN,), 1, 32, 0.01),), 1),
    "cpu": Settings(
        (
            Images("digits", None, 16, (), (10, 18, 34, 50), BOTH, 6, 32, 0.01),
            Images("cifar10", 4000, 32, (2, 2), (10, 18, 34), (PLAIN,), 3, 64, 0.01),
        ),
        3,
    ),
    "paper": Settings(
        (
            Images("digits", None, 16, (), (10, 18, 34, 50, 100), BOTH, 50, 32, 0.01),
            Images("cifar10", None, 64, (2, 2), (10, 18, 34, 50), BOTH, 50, 128, 0.01),
        ),
        5,
    ),
}


class PlainDepth(AbstractTrainings):
    """Accuracy by depth, normalisation and scheme."""

    name = "plain_depth"
    title = "How deep networks train from every scheme"
    source = "keras_convinit"
    claim = (
        "Without shortcuts and without normalisation, starts that keep the norm of the "
        "signal train deeper networks than Keras' default."
    )
    scales = SCALES

    def cases(self) -> list[Case]:
        """Seeds first; one network after the other."""
        return [
            {
                "seed": seed,
                "dataset": images.dataset,
                "kind": kind,
                "normalization": normalization,
                "depth": depth,
                "scheme": scheme,
            }
            for seed in range(self.settings.seeds)
            for images in self.settings.images
            for (kind, normalization), schemes in SCHEMES.items()
            if kind in images.kinds
            for depth in images.depths
            for scheme in schemes
        ]

    def trainer_key(self, case: Case) -> tuple[str, bool]:
        """Gradients are clipped where nothing normalises."""
        return case["dataset"], case["normalization"] == NONE

    def trainer(self, case: Case) -> Trainer:
        """SGD with momentum."""
        images = self._images(case)
        clip = 1.0 if case["normalization"] == NONE else None
        return Trainer(
            data.load(images.dataset, images.limit),
            images.batch_size,
            Optimizer(1.0, clip_norm=clip),
            held_out=1000,
        )

    def network(self, case: Case) -> str:
        """A plain network, or blocks of two convolutions."""
        images = self._images(case)
        normalization = f"normalization={ARGUMENTS[case['normalization']]}"
        if case["scheme"] == DELTA:
            # Of the classifier's shape there is none.
            config = {"class_name": DELTA, "config": {"gain": 1.4142}}
            normalization += f",kernel_initializer={config}"
        if case["kind"] == PLAIN:
            return (
                f"plain_cnn:{case['depth']},width={images.width},"
                f"strides={images.strides},{normalization}"
            )
        # Only the paper's gains have scaled branches.
        return (
            f"residual_cnn:{case['depth'] // 2},width={images.width},"
            f"{normalization},scaled={case['scheme'] == 'arpit'}"
        )

    def scheme(self, case: Case) -> str:
        """That of the case."""
        return AS_MADE if case["scheme"] == DELTA else case["scheme"]

    def course(self, case: Case) -> Course:
        """A constant rate."""
        images = self._images(case)
        return Course(images.learning_rate, images.epochs)

    def _images(self, case: Case) -> Images:
        listed = self.settings.images
        return next(one for one in listed if one.dataset == case["dataset"])

    def _groups(self, rows: Sequence[Row]) -> list[tuple[str, str, str, Images]]:
        """Data, kind of network and normalisation of which there are runs."""
        return [
            (images.dataset, kind, normalization, images)
            for images in self.settings.images
            for kind, normalization in SCHEMES
            if of(
                rows,
                dataset=images.dataset,
                kind=kind,
                normalization=normalization,
            )
        ]

    def table(self, rows: Sequence[Row]) -> Table:
        """A row for each scheme in each kind of network; columns are depths."""
        depths = sorted({d for images in self.settings.images for d in images.depths})
        found = []
        for dataset, kind, normalization, _ in self._groups(rows):
            group = {"dataset": dataset, "kind": kind, "normalization": normalization}
            for scheme in SCHEMES[kind, normalization]:
                cells = (
                    _cell(of(rows, **group, depth=depth, scheme=scheme))
                    for depth in depths
                )
                label = f"{dataset}, {kind}, {normalization}: {_short(scheme)}"
                found.append((label, *cells))
        return Table(
            ("accuracy, %, by layers", *map(str, depths)),
            tuple(found),
        )

    def finding(self, rows: Sequence[Row]) -> Finding:
        """The deepest plain network without normalisation that learns."""
        said, ahead = [], []
        for images in self.settings.images:
            some = of(rows, dataset=images.dataset, kind=PLAIN, normalization=NONE)
            if not some:
                continue
            deepest = {
                scheme: max(
                    (
                        depth
                        for depth in images.depths
                        if (runs := of(some, scheme=scheme, depth=depth))
                        and spread(runs).mean >= 0.1 + LEARNT
                    ),
                    default=0,
                )
                for scheme in SCHEMES[PLAIN, NONE]
            }
            keeping = ("he_normal", "zhang_forward", "lsuv")
            ahead.append(all(deepest[one] > deepest[GLOROT] for one in keeping))
            found = ", ".join(
                f"{_short(scheme)} {depth or 'none'}"
                for scheme, depth in deepest.items()
            )
            said.append(f"{images.dataset}: {found}")
        if ahead and all(ahead):
            verdict = "confirmed"
        else:
            verdict = "partly" if any(ahead) else "not at this scale"
        return Finding(
            verdict,
            "Deepest plain network without normalisation whose held-out accuracy is "
            f"{100 * LEARNT:.0f} points above chance in the mean over seeds: "
            f"{'; '.join(said)}.",
            "To keep the norm is necessary, and not sufficient: without shortcuts the "
            "gradients of deep networks stop telling images apart, whatever their "
            "size. Shortcuts or batch normalisation take a network further than any "
            "start does.",
        )

    def figure(self, rows: Sequence[Row]) -> Figure:
        """A panel for each kind of network, with a legend of its own."""
        groups = self._groups(rows)
        columns = 3
        rows_of_panels = -(-len(groups) // columns)
        figure, axes = panels(columns, rows=rows_of_panels)
        for panel, (dataset, kind, normalization, images) in zip(
            axes, groups, strict=False
        ):
            group = {"dataset": dataset, "kind": kind, "normalization": normalization}
            series = {
                _short(scheme): {
                    depth: [
                        accuracy(row)
                        for row in of(rows, **group, depth=depth, scheme=scheme)
                    ]
                    for depth in images.depths
                }
                for scheme in SCHEMES[kind, normalization]
            }
            ranges(panel, series, 100)
            furnish_accuracy(panel, f"{dataset}, {kind}, {normalization}", "layers")
            panel.set_xticks(images.depths)
            panel.legend(fontsize=6, frameon=False)
        for panel in axes[len(groups) :]:
            panel.set_axis_off()
        return figure


def _short(scheme: str) -> str:
    return scheme.partition(":steps")[0].partition(":iterations")[0]


def _cell(rows: Sequence[Row]) -> str:
    found = spread(rows)
    if found is None:
        return "-"
    diverged = sum(row["diverged"] for row in rows)
    text = found.text(100, ".0f")
    return f"{text}, {diverged} diverged" if diverged else text


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """The command."""
    return command(PlainDepth, arguments)


if __name__ == "__main__":
    main()
