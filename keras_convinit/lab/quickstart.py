"""The main job: what an initialization decides, in a few minutes on two CPU cores.

How its settings were chosen: with seeds 100 and 101, which are not among those shown.
The plain network is the CNN of Arpit et al., 18 layers deep, and as narrow as a CPU
wants it; batches of 32 and momentum 0.9 are what most would begin with. As is usual
without normalization, the gradient is clipped to norm 1; otherwise whoever learns is
thrown back again and again. Learning rates 0.01, 0.03 and 0.1 were tried with all four.
At 0.01 and 0.03 all runs learn but those of `glorot_uniform`, at 0.1 none of
`he_normal` does and half of the others; `glorot_uniform` stays at chance at all three,
and at 0.3 and 1 too. The residual network takes over all of that. Without the clipping,
its first two contenders end in numbers that are not finite at their first step.
"""

import dataclasses
from pathlib import Path
from typing import Any

from rich.console import Console

from keras_convinit._checks import check_positive
from keras_convinit._interruption import defer_interruption
from keras_convinit.lab import data
from keras_convinit.lab.checks import one_of, whole
from keras_convinit.lab.files import write_whole
from keras_convinit.lab.ownership import owned
from keras_convinit.lab.progress import shown_progress
from keras_convinit.lab.say import say
from keras_convinit.lab.stories.experiment import Task, carry_out, pending
from keras_convinit.lab.stories.figure import results_figure
from keras_convinit.lab.stories.results import AGAIN, Results, Run
from keras_convinit.lab.stories.story import Contender, Story, Training
from keras_convinit.lab.stories.table import results_table
from keras_convinit.lab.stories.training import Observer, steps
from keras_convinit.lab.versions import versions

INITIALIZERS = ("glorot_uniform", "he_normal", "zhang_forward", "zhang_backward")


@dataclasses.dataclass(frozen=True)
class Options:
    """What the command line may change.

    Args:
        dataset: Name of the data set.
        seeds: How many runs there are of each contender, with seeds 0, 1, ...
        epochs: Times that every training image is seen.
        depth: Layers with weights.
        width: Channels of every convolution.
        blocks: Residual blocks of the residual network.
        residual_epochs: Its epochs; it is three times as deep, and learns sooner.
        learning_rate: The same for all contenders.
        limit: How many training images, and how many held-out ones, at most.
        output: Folder for the results.

    Raises:
        ValueError: An option is not what it must be.
    """

    dataset: str = "digits"
    seeds: int = 3
    epochs: int = 8
    depth: int = 18
    width: int = 16
    blocks: int = 25
    residual_epochs: int = 2
    learning_rate: float = 0.03
    limit: int = 5000
    output: Path = Path()

    def __post_init__(self) -> None:
        one_of("dataset", self.dataset, data.DATASETS)
        whole("seeds", self.seeds, 1)
        whole("epochs", self.epochs, 1)
        whole("depth", self.depth, 2)
        whole("width", self.width, 1)
        whole("blocks", self.blocks, 1)
        whole("residual_epochs", self.residual_epochs, 1)
        check_positive("learning_rate", self.learning_rate)
        whole("limit", self.limit, 1)


def stories(options: Options) -> tuple[Story, ...]:
    """What the quickstart compares."""
    return plain_story(options), residual_story(options)


def plain_story(options: Options) -> Story:
    """A deep plain network without normalization, from four initializations."""
    # Maps of 8x8, or 7x7 for MNIST, in all layers but the first, whatever the images.
    strides = [] if options.dataset == "digits" else [2, 2]
    network = {
        "depth": options.depth,
        "width": options.width,
        "strides": strides,
        # The same for all, so that they differ in nothing but the convolutions.
        "classifier_initializer": {
            "class_name": "zhang_forward",
            "config": {"activation": "linear"},
        },
    }
    return Story(
        name="plain",
        title=f"Plain ReLU network of {options.depth} layers, no normalization",
        dataset=options.dataset,
        limit=options.limit,
        contenders=tuple(
            Contender(name, "plain_cnn", {**network, "kernel_initializer": name})
            for name in INITIALIZERS
        ),
        training=_training(options, options.epochs),
    )


def residual_story(options: Options) -> Story:
    """A deep residual network, without normalization of its signal and with it."""
    weight_norm = {"normalization": "weight"}
    contenders: dict[str, dict[str, Any]] = {
        "he_normal": {},
        "naive weight norm": {**weight_norm, "gain_mode": "kernel"},
        "paper's gains": {
            **weight_norm,
            "kernel_initializer": "orthogonal",
            "scaled": True,
        },
        "batch norm": {"normalization": "batch"},
    }
    network = {
        "blocks": options.blocks,
        "width": options.width,
        # Maps of 4x4 from the digits, 7x7 from MNIST and 8x8 from CIFAR.
        "stem_stride": 2 if options.dataset == "digits" else 4,
    }
    return Story(
        name="residual",
        title=f"Residual network of {options.blocks} blocks",
        dataset=options.dataset,
        limit=options.limit,
        contenders=tuple(
            Contender(label, "residual_cnn", {**network, **arguments})
            for label, arguments in contenders.items()
        ),
        training=_training(options, options.residual_epochs),
        watched="block",
    )


def _training(options: Options, epochs: int) -> Training:
    return Training(
        epochs=epochs,
        batch_size=32,
        learning_rate=options.learning_rate,
        momentum=0.9,
        clip_norm=1.0,
    )


@defer_interruption()
def quickstart(options: Options, resume: bool, console: Console) -> bool:
    """Runs the comparison, shows it and writes it down.

    `quickstart.json` is written after every run, `quickstart.png` at the end or at an
    interruption, which `resume` takes up again.

    Args:
        options: What to run.
        resume: Whether to take over the finished runs that lie in the output folder.
        console: Where to show it.

    Returns:
        Whether it got to the end: false for an interruption from the keyboard.

    Raises:
        LabError: The data cannot be had, the folder cannot be written to, or what lies
            there cannot be resumed.
    """
    with owned(options.output) as folder:
        return _carried_out(options, resume, console, folder / "quickstart.json")


def _carried_out(options: Options, resume: bool, console: Console, path: Path) -> bool:
    results = Results(stories(options), versions())
    if resume and path.exists():
        earlier = Results.load(path)
        results.check_continues(earlier, path)
        results = earlier
        say(console, f"{len(results.runs)} runs are taken over from {path}.")

    complete = True
    try:
        datasets = {
            story.name: data.load(story.dataset, story.limit)
            for story in results.stories
        }
        tasks = pending(results, range(options.seeds))
        runs = [
            (
                f"{task.contender.label}, seed {task.seed}",
                steps(task.story.training, len(datasets[task.story.name].train_images)),
            )
            for task in tasks
        ]
        with shown_progress(console, runs) as begin:

            def observe(task: Task) -> Observer:
                after_step = begin()
                return lambda loss, accuracy: after_step(accuracy)

            for grown in carry_out(results, tasks, datasets, path, observe):
                results = grown
                say(console, _line(results.runs[-1]))
    except KeyboardInterrupt:
        complete = False
    if results.runs:
        _show(results, path, console)
    if not complete:
        say(
            console,
            f"Interrupted after {len(results.runs)} runs. "
            "To continue: the same command with --resume.",
        )
    return complete


def _line(run: Run) -> str:
    end = "diverged" if run.diverged else f"{100 * run.held_out_accuracy:.1f} %"
    return f"{run.contender}, seed {run.seed}: {end} ({run.seconds:.0f} s)"


def _show(results: Results, path: Path, console: Console) -> None:
    picture = path.with_suffix(".png")
    # First, as it cannot fail for a full disk.
    console.print(results_table(results))
    figure = results_figure(results)
    write_whole(
        picture, lambda file: figure.savefig(file, format="png", dpi=150), AGAIN
    )
    say(console, f"Figure: {picture}", f"Numbers: {path}")
