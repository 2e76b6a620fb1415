"""What the runs of stories brought, as plain data that goes into a file and back."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_convinit.lab.differences import changed
from keras_convinit.lab.errors import LabError
from keras_convinit.lab.files import read_text, write_text
from keras_convinit.lab.plain_data import Seconds, Share, from_plain
from keras_convinit.lab.sealed import sealed, unsealed
from keras_convinit.lab.stories.story import Story

# How a quickstart goes on that could not write.
AGAIN = "the same command with --resume"
# Changed when a file of an earlier version could be misunderstood.
FORMAT = 2


@dataclasses.dataclass(frozen=True)
class Run:
    """One training of one contender.

    Args:
        story: Name of the story.
        contender: Label of the contender.
        seed: All randomness of the run comes from it.
        held_out_accuracy: Share of the held-out images that the trained network
            classifies rightly; 0 for a diverged run, as Arpit et al. count it.
        diverged: Whether the loss stopped being finite, which ended the run.
        losses: Mean cross-entropy of each step's batch, as long as it was finite.
        accuracies: Share of each step's batch that was classified rightly.
        signal: Root mean square of the outputs of each watched layer at initialization,
            as a multiple of that of the images; None where it is not finite.
        error: Norm of the error signal there, as a multiple of that at the last.
        seconds: How long it took.
    """

    story: str
    contender: str
    seed: int
    held_out_accuracy: Share
    diverged: bool
    losses: tuple[float, ...]
    accuracies: tuple[Share, ...]
    signal: tuple[float | None, ...]
    error: tuple[float | None, ...]
    seconds: Seconds

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells it from the other runs."""
        return self.story, self.contender, self.seed


@dataclasses.dataclass(frozen=True)
class Results:
    """Stories and those of their runs that are finished.

    Args:
        stories: What is compared.
        versions: What it ran on: name -> version.
        runs: The finished runs.
    """

    stories: tuple[Story, ...]
    versions: Mapping[str, str]
    runs: tuple[Run, ...] = ()

    def with_run(self, run: Run) -> "Results":
        """These results and one more run."""
        return dataclasses.replace(self, runs=(*self.runs, run))

    def of(self, story: str, contender: str) -> tuple[Run, ...]:
        """The finished runs of a contender."""
        return tuple(
            run for run in self.runs if (run.story, run.contender) == (story, contender)
        )

    def save(self, path: Path) -> None:
        """Writes a JSON file; at no moment is there half of one."""
        values = {"format": FORMAT, **dataclasses.asdict(self)}
        write_text(path, sealed(values) + "\n", AGAIN)

    @classmethod
    def load(cls, path: Path) -> "Results":
        """Reads what `save` wrote.

        Raises:
            LabError: The file is not of that kind, is damaged, or was changed by hand.
        """
        try:
            values = unsealed(read_text(path))
            if values.pop("format", None) != FORMAT:
                raise ValueError("another version of the program wrote it")
            results = from_plain(cls, values)
            if len({run.key for run in results.runs}) < len(results.runs):
                raise ValueError("a run is there twice")
            return results
        except (OSError, ValueError) as error:
            raise LabError(
                f"{path} is not a file of results, or is damaged "
                f"({type(error).__name__}: {error}). Delete it or choose another "
                "--output, and start without --resume."
            ) from error

    def check_continues(self, earlier: "Results", path: Path) -> None:
        """Checks that runs to come and earlier ones may stand in one table.

        Args:
            earlier: Results from a file.
            path: That file.

        Raises:
            LabError: A setting or a version is another one; the message names them.
        """
        changes = changed(_settings(earlier), _settings(self))
        if changes:
            raise LabError(
                f"{path} was made with other settings: {'; '.join(changes)}. "
                "Repeat the options it was made with, choose another --output, or "
                "start anew without --resume."
            )


def _settings(results: Results) -> Any:
    """Stories and versions as they come back from a file."""
    stories = {story.name: dataclasses.asdict(story) for story in results.stories}
    return json.loads(json.dumps({**stories, "version of": dict(results.versions)}))
