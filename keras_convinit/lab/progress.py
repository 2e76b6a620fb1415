"""What is shown while runs are running."""

import collections
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from keras_convinit.lab.over_seeds import WINDOW

# Called after each step, with the accuracy of its batch.
AfterStep = Callable[[float], None]


@contextlib.contextmanager
def shown_progress(
    console: Console, runs: Sequence[tuple[str, int]]
) -> Iterator[Callable[[], AfterStep]]:
    """Shows one bar for all steps of all runs.

    Args:
        console: Where to show it.
        runs: What each is called, and how many steps it has, in their order.

    Yields:
        What to call before each run; it gives what to call after each of its steps.
    """
    lengths = [length for _, length in runs]
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True),
        console=console,
    )
    with _without_retracing(), progress:
        bar = progress.add_task("", total=sum(lengths))
        started = 0

        def begin() -> AfterStep:
            nonlocal started
            # A run that ended early took fewer steps than it might have.
            progress.update(bar, completed=sum(lengths[:started]))
            name, _ = runs[started]
            started += 1
            run = f"{started}/{len(runs)} {escape(name)}"
            progress.update(bar, description=run)
            recent: collections.deque[float] = collections.deque(maxlen=WINDOW)

            def after_step(accuracy: float) -> None:
                recent.append(accuracy)
                running = 100 * sum(recent) / len(recent)
                description = f"{run}: {running:3.0f} % right"
                progress.update(bar, advance=1, description=description)

            return after_step

        yield begin
        progress.update(bar, completed=sum(lengths))


@contextlib.contextmanager
def _without_retracing() -> Iterator[None]:
    """Keeps back TensorFlow's advice not to trace programs again.

    Every run has a model of its own, and so programs of its own.
    """

    def is_other(record: logging.LogRecord) -> bool:
        return "triggered tf.function retracing" not in record.getMessage()

    logger = logging.getLogger("tensorflow")
    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)
