"""The finished runs of a comparison in a file that only ever grows."""

import contextlib
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from keras_convinit.lab.comparison.run import Run
from keras_convinit.lab.differences import changed
from keras_convinit.lab.errors import LabError
from keras_convinit.lab.files import write_text

# Changed when a file of an earlier version could be misunderstood.
FORMAT = 1
BEGINNING = b'{"format": '


class Journal:
    """One line of JSON for what all runs have in common, and one for each run.

    A run is written when it is finished, and is on the disk when the next one begins;
    what is there already is never written again. So a computer that stops in between
    can spoil the last line at most, and that is told by its missing end.

    Args:
        path: The file, which is made if it is not there.
        settings: What all runs have in common.

    Attributes:
        runs: The finished runs.
        note: What was found to be amiss, in one line; empty if nothing was.

    Raises:
        LabError: The file has other settings, is damaged, or cannot be used.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        self.note = ""
        self.runs: list[Run] = []
        settings = json.loads(json.dumps(settings))
        lines = self._lines()
        if not lines:
            about = {"format": FORMAT, "settings": settings}
            write_text(path, json.dumps(about, allow_nan=False) + "\n")
            return
        earlier = self._parsed(1, lines[0], _settings)
        changes = changed(earlier, settings)
        if changes:
            raise LabError(
                f"{path} was made with other settings: {'; '.join(changes)}. Repeat "
                "the options it was made with, or choose another --output."
            )
        self.runs = [
            self._parsed(number, line, Run.from_dict)
            for number, line in enumerate(lines[1:], 2)
        ]

    def append(self, run: Run) -> None:
        """Adds a finished run.

        Raises:
            LabError: It cannot be written. All that was there before still is.
        """
        line = json.dumps(dataclasses.asdict(run), allow_nan=False) + "\n"
        size = 0
        try:
            size = self.path.stat().st_size
            with self.path.open("ab") as file:
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with contextlib.suppress(LabError):
                self._cut(size)
            raise LabError(
                f"{self.path} cannot be written ({error.strerror or error}). The "
                f"{len(self.runs)} runs that were finished before are still there: "
                "make room, and start again with the same command."
            ) from error
        self.runs.append(run)

    def _lines(self) -> list[str]:
        """The whole lines; half a line at the end is cut off."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unreadable(str(error.strerror or error)) from error
        whole = content[: content.rfind(b"\n") + 1]
        if not whole and content and not content.startswith(BEGINNING):
            raise self._unreadable("it begins otherwise")
        if len(whole) < len(content):
            self.note = (
                f"The last line of {self.path} was not written to its end, as the "
                "program was ended: that run is done again."
            )
            self._cut(len(whole))
        try:
            return whole.decode().splitlines()
        except UnicodeDecodeError as error:
            raise self._unreadable(str(error)) from error

    def _cut(self, size: int) -> None:
        try:
            os.truncate(self.path, size)
        except OSError as error:
            raise self._unreadable(str(error.strerror or error)) from error

    def _parsed(self, number: int, line: str, make: Any) -> Any:
        try:
            return make(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._unreadable(
                f"line {number}: {type(error).__name__}: {error}"
            ) from error

    def _unreadable(self, reason: str) -> LabError:
        return LabError(
            f"{self.path} is not a file of runs, or is damaged ({reason}). It is left "
            "as it is: mend it or delete the line, or choose another --output."
        )


def _settings(about: dict[str, Any]) -> Any:
    if about["format"] != FORMAT:
        raise ValueError("another version of the program wrote it")
    return about["settings"]
