import io
import itertools
import logging

import pytest
from rich.console import Console

from keras_convinit.lab.progress import TrainingProgress, duration, shown_progress

pytestmark = pytest.mark.once

ADVICE = "5 out of the last 11 calls to <function> triggered tf.function retracing."


def test_advice_about_tracing_is_kept_back_and_nothing_else(caplog):
    logger = logging.getLogger("tensorflow")
    with shown_progress(Console(quiet=True), [("a run", 1)]) as begin:
        begin()(0.5)
        logger.warning(ADVICE)
        logger.warning("a disk is full")
    assert caplog.messages == ["a disk is full"]
    logger.warning(ADVICE)
    assert caplog.messages[-1] == ADVICE


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.2, "less than 1 s"),
        (42, "42 s"),
        (119.4, "119 s"),
        (120, "2 min"),
        (3599, "59 min"),
        (12_000, "3 h 20 min"),
        (86_400 + 7300, "1 day 2 h"),
        (10 * 86_400, "10 days 0 h"),
    ],
)
def test_times_are_told_in_units_for_people(seconds, expected):
    assert duration(seconds) == expected


def told(first_epoch=0, terminal=False):
    """What a training of 3 epochs of 5 steps tells, whose steps take 2 s each."""
    seconds = itertools.count(0, 2)
    console = Console(
        file=io.StringIO(), force_terminal=terminal, width=100, no_color=True
    )
    now = [0.0]
    with TrainingProgress(console, 32, clock=lambda: now[0]) as progress:
        progress.set_params({"epochs": 3, "steps": 5})
        next(seconds)
        for epoch in range(first_epoch, 3):
            progress.on_epoch_begin(epoch)
            for step in range(5):
                now[0] = next(seconds)
                progress.on_train_batch_end(step)
            progress.on_epoch_end(epoch, {"loss": 0.5, "val_accuracy": 0.25})
    return console.file.getvalue()


def test_a_training_tells_how_long_it_is_and_what_is_left():
    assert told().splitlines() == [
        "Epochs 1 to 3, each of 5 steps of 32 images. The first step may take longer.",
        "Epoch 1 of 3: loss 0.5, held-out accuracy 0.25, 10 s, 20 s to go",
        "Epoch 2 of 3: loss 0.5, held-out accuracy 0.25, 10 s, 10 s to go",
        "Epoch 3 of 3: loss 0.5, held-out accuracy 0.25, 10 s",
    ]


def test_a_training_that_goes_on_does_not_count_what_was_done_before():
    first, *others = told(first_epoch=1).splitlines()
    assert first.startswith("Epochs 2 to 3, each of 5 steps")
    assert others[0].endswith("10 s, 10 s to go")
    assert len(others) == 2


def test_on_a_terminal_steps_move_a_bar():
    shown = told(terminal=True)
    assert "\x1b[" in shown
    assert "Epoch 2 of 3: loss 0.5" in shown
    assert "\x1b[" not in told()
