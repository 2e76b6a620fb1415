"""Runs whatever of some stories is not finished yet, and keeps what is."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from keras_convinit.lab.data import ImageDataset
from keras_convinit.lab.stories import training
from keras_convinit.lab.stories.results import Results
from keras_convinit.lab.stories.story import Contender, Story


@dataclasses.dataclass(frozen=True)
class Task:
    """A run that is still to come."""

    story: Story
    contender: Contender
    seed: int


# Called before a run; gives what is called after each of its steps.
TaskObserver = Callable[[Task], training.Observer]


def pending(results: Results, seeds: Sequence[int]) -> list[Task]:
    """The runs that are not among the results, in the order to run them.

    Seeds come first, so that an interrupted comparison has about as many runs of one
    contender as of another.

    Args:
        results: The stories, and the runs that are finished.
        seeds: The seeds that every contender is to run with.

    Returns:
        The runs to come.
    """
    finished = {run.key for run in results.runs}
    return [
        Task(story, contender, seed)
        for seed in seeds
        for story in results.stories
        for contender in story.contenders
        if (story.name, contender.label, seed) not in finished
    ]


def carry_out(
    results: Results,
    tasks: Sequence[Task],
    datasets: dict[str, ImageDataset],
    path: Path,
    observe: TaskObserver,
) -> Iterator[Results]:
    """Runs the tasks one by one and saves the results after each.

    Args:
        results: What is there already.
        tasks: What to run.
        datasets: Name of a story -> its images.
        path: Where to save.
        observe: Called before each run, gives what is called after each of its steps.

    Yields:
        The results with one more run each time.
    """
    for task in tasks:
        run = training.run(
            task.story,
            task.contender,
            datasets[task.story.name],
            task.seed,
            observe(task),
        )
        results = results.with_run(run)
        results.save(path)
        yield results
