"""What is shown while runs are running."""

import collections
import contextlib
import datetime
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from keras_convinit._printable import escape_unprintable
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
        # Names are as they are: no markup, no emoji.
        TextColumn("{task.description}", markup=False),
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
            run = f"{started}/{len(runs)} {escape_unprintable(name)}"
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


class TrainingProgress(keras.callbacks.Callback):
    """Tells of one training: how long it is, where it is, how long it will yet take.

    A line for each epoch; on a terminal a bar below them for what is in between. It
    looks at the clock and at nothing that has to be waited for. As a context, it takes
    the bar away however the training ends.

    Args:
        console: Where to tell it.
        batch_size: Images of a step.
        clock: Gives seconds.

    Example:
        >>> from rich.console import Console
        >>> from keras_convinit.lab.progress import TrainingProgress
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> x, y = np.ones((8, 8)), np.ones((8, 1))
        >>> with TrainingProgress(Console(quiet=True), batch_size=4) as progress:
        ...     history = model.fit(x, y, batch_size=4, verbose=0, callbacks=[progress])
        >>> progress.remaining()
        0.0
    """

    def __init__(
        self,
        console: Console,
        batch_size: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__()
        self._console = console
        self._batch_size = batch_size
        self._clock = clock
        self._bar: Progress | None = None
        # Steps until now, those of earlier starts, and of which time is counted: not
        # the first of this start, which compiles.
        self._done = self._counted = 0
        self._began: float | None = None
        self._epoch_began = 0.0

    def __enter__(self) -> "TrainingProgress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def _total(self) -> int:
        return int(self.params["epochs"] * self.params["steps"])

    def remaining(self) -> float | None:
        """Seconds until the end, at the speed until now; None for not known yet."""
        if self._began is None or self._done == self._counted:
            return None
        speed = (self._clock() - self._began) / (self._done - self._counted)
        return speed * (self._total - self._done)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Says at the first one what there is to do."""
        self._epoch_began = self._clock()
        epochs, steps = self.params["epochs"], self.params["steps"]
        if self._bar is None and self._began is None:
            self._done = epoch * steps
            self._say(
                f"Epochs {epoch + 1} to {epochs}, each of {steps} steps of "
                f"{self._batch_size} images. The first step may take longer."
            )
            if self._console.is_terminal:
                self._bar = Progress(
                    TextColumn("{task.description}"),
                    BarColumn(bar_width=None),
                    TaskProgressColumn(),
                    console=self._console,
                    transient=True,
                )
                self._bar.add_task("compiling", total=self._total)
                self._bar.start()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Moves the bar on."""
        self._done += 1
        if self._began is None:
            self._began, self._counted = self._clock(), self._done
        if self._bar is not None:
            steps = self.params["steps"]
            epoch, step = divmod(self._done - 1, steps)
            text = f"epoch {epoch + 1}, step {step + 1} of {steps}"
            left = self.remaining()
            if left is not None:
                seconds = max(left / max(self._total - self._done, 1), 1e-9)
                text += f", {self._batch_size / seconds:.0f} images/s"
                text += f", {duration(left)} to go"
            (task,) = self._bar.task_ids
            self._bar.update(task, completed=self._done, description=text)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Tells what an epoch brought."""
        logs = logs or {}
        found = [
            f"{name} {logs[key]:.4g}"
            for name, key in (
                ("loss", "loss"),
                ("accuracy", "accuracy"),
                ("held-out accuracy", "val_accuracy"),
            )
            if key in logs
        ]
        found.append(duration(self._clock() - self._epoch_began))
        left = self.remaining()
        if left and self._done < self._total:
            found.append(f"{duration(left)} to go")
        self._say(f"Epoch {epoch + 1} of {self.params['epochs']}: {', '.join(found)}")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """A time for people: 42 s, 12 min, 3 h 20 min, 2 days 5 h.

    Args:
        seconds: The time in seconds.

    Returns:
        It in the two largest units that it has.

    Example:
        >>> from keras_convinit.lab.progress import duration
        >>> duration(12_000)
        '3 h 20 min'
    """
    if seconds < 1:
        return "less than 1 s"
    whole = datetime.timedelta(seconds=round(seconds))
    hours, rest = divmod(whole.seconds, 3600)
    if whole.days:
        return f"{whole.days} day{'s' * (whole.days > 1)} {hours} h"
    if hours:
        return f"{hours} h {rest // 60} min"
    return f"{rest // 60} min" if rest >= 120 else f"{rest} s"
