"""Carries out a comparison, from what people typed to a page."""

import io
import math
from collections.abc import Sequence
from pathlib import Path

import keras
from rich.console import Console

from keras_convinit._interruption import check_interruption, defer_interruption
from keras_convinit.lab.comparison.data_source import images_of
from keras_convinit.lab.comparison.figure import comparison_figure
from keras_convinit.lab.comparison.images import AbstractImages
from keras_convinit.lab.comparison.journal import Journal
from keras_convinit.lab.comparison.model import ModelSource
from keras_convinit.lab.comparison.page import comparison_page
from keras_convinit.lab.comparison.plan import Case, Plan
from keras_convinit.lab.comparison.ranking import THRESHOLD, Ranking, ranked
from keras_convinit.lab.comparison.run import Run, Runner
from keras_convinit.lab.comparison.table import ranking_table
from keras_convinit.lab.compatibility import check_classes, check_images
from keras_convinit.lab.errors import LabError
from keras_convinit.lab.files import write_text, write_whole
from keras_convinit.lab.model_source import checksum
from keras_convinit.lab.ownership import owned
from keras_convinit.lab.progress import shown_progress
from keras_convinit.lab.say import say
from keras_convinit.lab.versions import versions

RUNS = "runs.jsonl"
FIGURE = "compare.png"
PAGE = "report.html"


@defer_interruption()
def compare(
    plan: Plan,
    output: Path,
    console: Console,
    *,
    threshold: float = THRESHOLD,
    command: str = "",
) -> Ranking | None:
    """Runs whatever of a plan is not finished, shows all of it and writes it down.

    `runs.jsonl` grows with every run; `compare.png` and `report.html` are written at
    the end, or at an interruption.

    Args:
        plan: What to compare.
        output: Folder for these. Runs that an earlier start left there are taken over.
        console: Where to show it.
        threshold: The training accuracy, in the mean over 20 steps, to which steps are
            counted.
        command: With which it was started, for the page.

    Returns:
        The ranking; None for an interruption from the keyboard.

    Raises:
        LabError: Model or data cannot be had or do not fit, the folder cannot be used
            or belongs to another comparison. What was finished is still there.

    Example:
        >>> import pathlib
        >>> from rich.console import Console
        >>> from keras_convinit.lab.comparison.compare import compare
        >>> from keras_convinit.lab.comparison.plan import Plan
        >>> plan = Plan(
        ...     "mlp:2,width=4", "digits", ("he_normal",), (0.1,), seeds=1, epochs=1
        ... )
        >>> found = compare(plan, pathlib.Path("compared"), Console(quiet=True))
        >>> found.best[0].scheme
        'he_normal'
    """
    with owned(output):
        return _compared(plan, output, console, threshold, command)


def _compared(
    plan: Plan, output: Path, console: Console, threshold: float, command: str
) -> Ranking | None:
    images = images_of(plan)
    sample = images.sample
    source = ModelSource(
        plan.model,
        plan.imports,
        input_shape=sample.train_images.shape[1:],
        num_classes=sample.num_classes,
    )
    settings = {
        **plan.settings(),
        "images": images.counts,
        "parameters": _checked(source, images),
        # Other layers may have as many.
        "checksum": checksum(plan.model),
        "versions": versions(),
    }
    journal = Journal(output / RUNS, settings)
    for note in journal.notes:
        say(console, note)
    wanted = plan.cases()
    finished = {run.case for run in journal.runs}
    pending = [case for case in wanted if case not in finished]
    if len(pending) < len(wanted):
        taken = len(wanted) - len(pending)
        say(console, f"{taken} of {len(wanted)} runs are taken over from {output}.")

    runner = Runner(plan, source, images)
    steps = plan.epochs * images.steps_per_epoch
    complete = not pending or _carried_out(runner, journal, pending, steps, console)
    ranking = ranked(plan, journal.runs, threshold)
    if any(row.runs for row in ranking.best):
        console.print(ranking_table(ranking, threshold))
        # What a data set of the user's own has, whatever the options say.
        used = {**settings, "batch_size": images.batch_size}
        _write(plan, ranking, journal.runs, output, threshold, command, used)
        say(console, f"Report: {output / PAGE}")
        say(console, f"Figure: {output / FIGURE}")
        say(console, f"Numbers: {output / RUNS}")
        others = len({run.case for run in journal.runs} - set(wanted))
        if others:
            say(
                console,
                f"{others} more runs of {RUNS} are not shown: to rank them too, name "
                "their schemes, learning rates and seeds as well.",
            )
    if complete:
        return ranking
    count = len({run.case for run in journal.runs} & set(wanted))
    say(
        console,
        f"Interrupted after {count} of {len(wanted)} runs, which are kept. "
        "To go on: the same command.",
    )
    return None


def _carried_out(
    runner: Runner,
    journal: Journal,
    pending: Sequence[Case],
    steps: int,
    console: Console,
) -> bool:
    """Runs what is pending; false for an interruption from the keyboard."""
    try:
        with shown_progress(console, [(str(c), steps) for c in pending]) as begin:
            for case in pending:
                check_interruption()
                journal.append(runner(case, begin()))
                say(console, _line(journal.runs[-1]))
    except KeyboardInterrupt:
        return False
    return True


def _checked(source: ModelSource, images: AbstractImages) -> int:
    """Makes sure that the model is one for the images; counts its parameters."""
    model = source()
    check_images(model, images.sample)
    images.meet(model.outputs[0].shape[-1] or 0)
    check_classes(model, images.sample)
    some, _ = images.batch()
    outputs = keras.ops.convert_to_numpy(model(some[:2], training=False))
    if (outputs >= 0).all() and abs(outputs.sum(axis=-1) - 1).max() < 1e-5:
        raise LabError(
            "MODEL must end in logits, or in a softmax as its last layer, which is "
            f"taken away. Received: {source.source!r}, whose outputs are probabilities"
        )
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


def _write(
    plan: Plan,
    ranking: Ranking,
    runs: list[Run],
    output: Path,
    threshold: float,
    command: str,
    settings: dict[str, object],
) -> None:
    picture = io.BytesIO()
    comparison_figure(plan, ranking, runs).savefig(picture, format="png", dpi=110)
    figure = picture.getvalue()
    write_whole(output / FIGURE, lambda file: file.write(figure))
    page = comparison_page(
        plan,
        ranking,
        runs,
        figure=figure,
        threshold=threshold,
        command=command,
        settings=settings,
    )
    write_text(output / PAGE, page)


def _line(run: Run) -> str:
    if run.beginning.refusal is not None:
        end = "refused"
    elif run.record.diverged:
        end = f"diverged in epoch {len(run.record.epochs)}"
    else:
        end = f"{100 * run.accuracy:.1f} % ({run.record.seconds:.0f} s)"
    return f"{run.case}: {end}"
