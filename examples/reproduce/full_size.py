"""Recipes that were trained at full size: a chapter of RESULTS.md, and its picture.

Each folder in `results/gpu` holds the `result.json` of one run of
`python -m keras_convinit train`; the chapter has the commands.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from charts import furnish_accuracy, panels, ranges
from experiment import Table
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from runs import and_diverged

from keras_convinit.lab import recipes
from keras_convinit.lab.over_seeds import Spread
from keras_convinit.lab.training.result import RESULT, Result

TITLE = "Recipes at full size, on a GPU"
PICTURE = "full_size.png"
# Made while a constant divided the branches of their networks.
DIVIDED = {f"arpit2019-table1-resnet56-proposed_warmup-{seed}" for seed in range(3)}


@dataclasses.dataclass(frozen=True)
class Trained:
    """The runs of one recipe, which differ in their seed alone.

    Args:
        recipe: Its name: paper, table, network and start.
        results: One for each seed.
        folders: Where they lie.
    """

    recipe: str
    results: tuple[Result, ...]
    folders: tuple[str, ...]

    @property
    def network(self) -> str:
        """What is compared: all of the name but the start."""
        return self.recipe.rpartition("/")[0]

    @property
    def start(self) -> str:
        """The start."""
        return self.recipe.rpartition("/")[2]

    @property
    def accuracy(self) -> str:
        """Of the test images after the last epoch; diverged runs count as 0."""
        spread = Spread.of(result.test_accuracy for result in self.results)
        assert spread is not None
        rows = [{"diverged": result.diverged} for result in self.results]
        return and_diverged(spread.text(100, ".1f"), rows)

    def by_epoch(self) -> dict[float, list[float]]:
        """Accuracies of held-out images after each epoch, of what did not diverge."""
        found: dict[float, list[float]] = {}
        for result in self.results:
            for epoch in result.record.epochs if not result.diverged else ():
                if epoch.validation_accuracy is not None:
                    found.setdefault(epoch.number, []).append(epoch.validation_accuracy)
        return found


def trained_in(folder: Path) -> list[Trained]:
    """What lies in a folder, recipe by recipe in the order of the recipes.

    Raises:
        LabError: A result is damaged.
    """
    paths = sorted(path.parent for path in folder.glob(f"*/{RESULT}"))
    results = {path: Result.load(path) for path in paths}
    found = []
    for name in recipes.names():
        own = [path for path in paths if results[path].recipe == name]
        if own:
            folders = tuple(path.name for path in own)
            found.append(Trained(name, tuple(results[p] for p in own), folders))
    return found


def chapter(trained: Sequence[Trained], folder: Path, beside: Path) -> str:
    """The chapter as Markdown.

    Args:
        trained: What to tell.
        folder: Where the picture is.
        beside: Where the page will be, which the link to it is relative to.

    Returns:
        The chapter, with an empty line before it.
    """
    picture = (folder / PICTURE).relative_to(beside).as_posix()
    typed = "\n".join(commands(trained))
    return (
        f"\n## {TITLE}\n\n{words(trained)}\n\n![{TITLE}]({picture})\n\n"
        f"{table(trained).markdown()}\n\n"
        f"<details><summary>Commands</summary>\n\n```\n{typed}\n```\n\n</details>\n"
    )


def table(trained: Sequence[Trained]) -> Table:
    """A line for each recipe."""
    return Table(
        ("recipe", "epochs", "of the recipe's", "seeds", "test accuracy, %"),
        tuple(
            (
                one.recipe,
                _one(result.budget["epochs"] for result in one.results),
                str(recipes.get(one.recipe).epochs),
                str(len(one.results)),
                one.accuracy,
            )
            for one in trained
        ),
    )


def words(trained: Sequence[Trained]) -> str:
    """What was done, and who is ahead."""
    ahead, mixed = [], []
    for network in _networks(trained):
        own = [one for one in trained if one.network == network]
        best = max(own, key=lambda one: np.mean([r.test_accuracy for r in one.results]))
        ahead.append(f"{best.start} ({network})")
        if len({recipes.get(one.recipe).optimizer for one in own}) > 1:
            mixed.append(network)
    divided = [one.recipe for one in trained if DIVIDED.intersection(one.folders)]
    images = _one(r.budget["train_images"] for one in trained for r in one.results)
    machines = _one(result.machine for one in trained for result in one.results)
    return (
        "The networks, images, batches and augmentations of the papers, for fewer "
        "epochs than theirs, into which the schedule of the learning rate is fitted. "
        f"Training images: {images}; {machines}. Highest mean: {', '.join(ahead)}."
        + (
            f" Rows of {', '.join(mixed)} differ in their optimizers as well, as those "
            "of the paper do."
            if mixed
            else ""
        )
        + (
            f" Branches of {', '.join(divided)} were divided by a constant sqrt(B), "
            "where the networks now have it in gains that learn, as in the paper; "
            "these runs were not made again."
            if divided
            else ""
        )
    )


def commands(trained: Sequence[Trained]) -> list[str]:
    """What was typed."""
    return [
        f"KERAS_BACKEND={result.settings['version of']['backend']} "
        f"python -m keras_convinit train {one.recipe} "
        f"--seed {result.settings['seed']} "
        + "".join(f"--{k.replace('_', '-')} {v} " for k, v in result.overrides.items())
        + f"--output examples/reproduce/results/gpu/{folder}"
        for one in trained
        for result, folder in zip(one.results, one.folders, strict=True)
    ]


def figure(trained: Sequence[Trained]) -> Figure:
    """A panel for each network."""
    networks = _networks(trained)
    found, axes = panels(len(networks), width=5.0)
    starts = list(dict.fromkeys(one.start for one in trained))
    for panel, network in zip(axes, networks, strict=True):
        own = [one for one in trained if one.network == network]
        series = {
            one.start if one.by_epoch() else f"{one.start}: diverged": one.by_epoch()
            for one in own
        }
        order = [
            next((label for label in series if label.startswith(start)), start)
            for start in starts
        ]
        ranges(panel, series, 100, order)
        furnish_accuracy(panel, network, "epochs")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.legend(loc="center right", frameon=False, fontsize=8)
    return found


def _networks(trained: Iterable[Trained]) -> list[str]:
    return list(dict.fromkeys(one.network for one in trained))


def _one(values: Iterable[object]) -> str:
    return ", ".join(dict.fromkeys(map(str, values)))
