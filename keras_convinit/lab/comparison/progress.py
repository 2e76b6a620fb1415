"""What is shown while runs are running."""

import collections
import contextlib
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from keras_convinit.lab.comparison.experiment import Task, TaskObserver
from keras_convinit.lab.comparison.summary import WINDOW
from keras_convinit.lab.comparison.training import Observer, steps
from keras_convinit.lab.data import ImageDataset


@contextlib.contextmanager
def shown_progress(
    console: Console, tasks: Sequence[Task], datasets: dict[str, ImageDataset]
) -> Iterator[TaskObserver]:
    """Shows one bar for all steps of all tasks.

    Args:
        console: Where to show it.
        tasks: What is going to be run.
        datasets: Name of a story -> its images.

    Yields:
        What to call before each task; it gives what to call after each step.
    """
    lengths = [
        steps(task.story.training, len(datasets[task.story.name].train_images))
        for task in tasks
    ]
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True),
        console=console,
    )
    with progress:
        bar = progress.add_task("", total=sum(lengths))
        started = 0

        def observe(task: Task) -> Observer:
            nonlocal started
            # A run that diverged took fewer steps than it might have.
            progress.update(bar, completed=sum(lengths[:started]))
            started += 1
            run = f"{started}/{len(tasks)} {task.contender.label}, seed {task.seed}"
            progress.update(bar, description=run)
            recent: collections.deque[float] = collections.deque(maxlen=WINDOW)

            def after_step(loss: float, accuracy: float) -> None:
                recent.append(accuracy)
                running = 100 * sum(recent) / len(recent)
                description = f"{run}: {running:3.0f} % right"
                progress.update(bar, advance=1, description=description)

            return after_step

        yield observe
        progress.update(bar, completed=sum(lengths))
