"""How deep plain and residual networks train, from every scheme. Ours, not a paper's.

    python examples/reproduce/plain_depth.py --scale cpu

Convolutional networks without shortcuts and with them, without normalization, with
batch and with weight normalization, on scikit-learn's digits, which are bundled, and
plain ones on CIFAR-10 (from TFDS_DATA_DIR, or downloaded). Every scheme that takes such
a network has its turn; networks without normalization have their gradient clipped to
norm 1, for all schemes alike. The learning rate is one for all, so that a scheme that
would like another one is at a disadvantage.
"""

from collections.abc import Iterator, Sequence

from charts import furnish_accuracy, panels, ranges
from command import command
from depth_grid import (
    ARGUMENTS,
    DELTA,
    GLOROT,
    LOOKS,
    NONE,
    PLAIN,
    SCALES,
    SCHEMES,
    SQRT_2,
    Images,
)
from experiment import Case, Finding, Row, Table
from matplotlib.figure import Figure
from runs import and_diverged, of, percent, spread, values
from trained import AbstractTrainings
from training import AS_MADE, Course, Trainer

from keras_convinit.lab import data
from keras_convinit.lab.recipes import Optimizer

# As much as tells that something was learnt, above the share of one class.
LEARNT = 0.1
# Starts that keep the norm of the signal.
KEEPING = ("he_normal", "zhang_forward", "lsuv")


class PlainDepth(AbstractTrainings):
    """Accuracy by depth, normalization and scheme."""

    name = "plain_depth"
    title = "How deep networks train from every scheme"
    source = "keras_convinit"
    claim = (
        "Without shortcuts and without normalization, starts that keep the norm of the "
        "signal train deeper networks than Keras' default."
    )
    scales = SCALES

    def cases(self) -> list[Case]:
        """Seeds first; one network after the other."""
        return [
            {"seed": seed, **group, "depth": depth, "scheme": scheme}
            for seed in range(self.settings.seeds)
            for images, group, schemes in self._groups()
            for depth in images.depths
            for scheme in schemes
        ]

    def trainer_key(self, case: Case) -> tuple[str, bool]:
        """Gradients are clipped where nothing normalizes."""
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
            config = {"class_name": DELTA, "config": {"gain": SQRT_2}}
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

    def _groups(self) -> Iterator[tuple[Images, dict[str, str], tuple[str, ...]]]:
        """Images, kinds of networks on them, and the schemes that train these."""
        for images in self.settings.images:
            for (kind, normalization), schemes in SCHEMES.items():
                if kind in images.kinds:
                    group = {
                        "dataset": images.dataset,
                        "kind": kind,
                        "normalization": normalization,
                    }
                    yield images, group, schemes

    def table(self, rows: Sequence[Row]) -> Table:
        """A row for each scheme in each kind of network; columns are depths."""
        depths = sorted({d for images in self.settings.images for d in images.depths})
        found = []
        for _, group, schemes in self._groups():
            for scheme in schemes:
                some = of(rows, **group, scheme=scheme)
                cells = (_cell(of(some, depth=depth)) for depth in depths)
                label = f"{', '.join(group.values())}: {_short(scheme)}"
                found.append((label, *cells))
        return Table(
            ("accuracy, %, by layers", *map(str, depths)),
            tuple(found),
        )

    def finding(self, rows: Sequence[Row]) -> Finding:
        """The deepest plain network without normalization that learns."""
        said, ahead, behind = [], [], []
        for images in self.settings.images:
            some = of(rows, dataset=images.dataset, kind=PLAIN, normalization=NONE)
            deepest = {
                scheme: max(
                    (
                        depth
                        for depth in images.depths
                        if spread(of(some, scheme=scheme, depth=depth)).mean
                        >= 0.1 + LEARNT
                    ),
                    default=0,
                )
                for scheme in SCHEMES[PLAIN, NONE]
            }
            ahead.append(all(deepest[one] > deepest[GLOROT] for one in KEEPING))
            behind.append(all(deepest[one] < deepest[GLOROT] for one in KEEPING))
            found = ", ".join(
                f"{_short(scheme)} {depth or 'none'}"
                for scheme, depth in deepest.items()
            )
            said.append(f"{images.dataset}: {found}")
        if all(ahead):
            verdict = "confirmed"
        elif all(behind):
            verdict = "contradicted"
        else:
            verdict = "partly" if any(ahead) else "not at this scale"
        return Finding(
            verdict,
            "Deepest plain network without normalization whose held-out accuracy is "
            f"{100 * LEARNT:.0f} points above chance in the mean over seeds: "
            f"{'; '.join(said)}.",
            "To keep the norm is necessary, and not sufficient: without shortcuts the "
            "gradients of deep networks stop telling images apart, whatever their "
            "size, and at the last depth that learns at all seeds decide whether it "
            "does. Shortcuts take a network further than any start. Where channels "
            "grow, starts that keep the whole norm make the single values smaller "
            "(delta-orthogonal, the backward rule, the gains of weight normalization: "
            "on digits, with one channel, four times at the first convolution); there "
            "they learn later than He's.",
        )

    def figure(self, rows: Sequence[Row]) -> Figure:
        """A panel for each kind of network, with a legend of its own."""
        groups = list(self._groups())
        looks = [_short(scheme) for scheme in LOOKS]
        columns = 3
        figure, axes = panels(columns, height=4.4, rows=-(-len(groups) // columns))
        for panel, (images, group, schemes) in zip(axes, groups, strict=False):
            series = {
                _short(scheme): values(
                    of(rows, **group, scheme=scheme), "depth", images.depths
                )
                for scheme in schemes
            }
            ranges(panel, series, 100, order=looks)
            furnish_accuracy(panel, ", ".join(group.values()), "layers")
            panel.set_xticks(images.depths)
            # Below: of up to nine curves one would always be in its way.
            panel.legend(
                loc="upper center",
                bbox_to_anchor=(0.5, -0.14),
                ncols=3,
                fontsize=7,
                frameon=False,
            )
        for panel in axes[len(groups) :]:
            panel.set_axis_off()
        return figure


def _short(scheme: str) -> str:
    return scheme.partition(":steps")[0].partition(":iterations")[0]


def _cell(rows: Sequence[Row]) -> str:
    return and_diverged(percent(rows, ".0f"), rows)


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """The command."""
    return command(PlainDepth, arguments)


if __name__ == "__main__":
    main()
