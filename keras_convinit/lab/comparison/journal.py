"""The finished runs of a comparison in a file that only ever grows."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_convinit.lab.comparison.plan import Case
from keras_convinit.lab.comparison.run import Run
from keras_convinit.lab.differences import changed
from keras_convinit.lab.errors import LabError
from keras_convinit.lab.files import unwritable, write_text
from keras_convinit.lab.plain_data import from_plain
from keras_convinit.lab.sealed import sealed, unsealed

# Changed when a file of an earlier version could be misunderstood.
FORMAT = 1
BEGINNING = b'{"format": '


class Journal:
    """One line of JSON for what all runs have in common, and one for each run.

    A run is written when it is finished, and is on the disk when the next one begins;
    what is there already is never written again. So a computer that stops in between
    can spoil the last line at most, and that is told by its missing end. Each line has
    a checksum; a run whose line is damaged, or changed by hand, does not count. A case
    that is there twice counts once.

    Args:
        path: The file, which is made if it is not there. Nobody else may write there.
        settings: What all runs have in common.

    Attributes:
        notes: What was found to be amiss, each in one line.

    Raises:
        LabError: The file has other settings, is none of runs, or cannot be used.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        self.notes: list[str] = []
        self._runs: dict[Case, Run] = {}
        settings = json.loads(json.dumps(settings))
        lines = self._lines()
        if not lines:
            about = {"format": FORMAT, "settings": settings}
            write_text(path, sealed(about) + "\n")
            return
        try:
            earlier = _parsed(lines[0], _settings)
        except ValueError as error:
            raise self._unreadable(f"line 1: {error}") from error
        changes = changed(earlier, settings)
        if changes:
            raise LabError(
                f"{path} was made with other settings: {'; '.join(changes)}. Repeat "
                "the options it was made with, or choose another --output."
            )
        for number, line in enumerate(lines[1:], 2):
            try:
                run = _parsed(line, lambda values: from_plain(Run, values))
            except ValueError as error:
                self.notes.append(
                    f"Line {number} of {path} does not count, nor is it removed: "
                    f"{error}. A run that is missing is done again."
                )
                continue
            self._runs.setdefault(run.case, run)

    @property
    def runs(self) -> list[Run]:
        """The finished runs, each case once."""
        return list(self._runs.values())

    def append(self, run: Run) -> None:
        """Adds a finished run.

        Raises:
            LabError: It cannot be written. All that was there before still is.
        """
        line = sealed(dataclasses.asdict(run)) + "\n"
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
            what = f"{self.path}, with {len(self._runs)} runs,"
            raise unwritable(what, error) from error
        self._runs[run.case] = run

    def _lines(self) -> list[bytes]:
        """The whole lines; half a line at the end is cut off."""
        if self.path.exists() and not (self.path.is_file() or self.path.is_dir()):
            raise self._unreadable("Not an ordinary file")
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
            self.notes.append(
                f"The last line of {self.path} was not written to its end, as the "
                "program was ended: that run is done again."
            )
            self._cut(len(whole))
        return whole.split(b"\n")[:-1]

    def _cut(self, size: int) -> None:
        try:
            os.truncate(self.path, size)
        except OSError as error:
            raise self._unreadable(str(error.strerror or error)) from error

    def _unreadable(self, reason: str) -> LabError:
        return LabError(
            f"{self.path} is not a file of runs, or is damaged ({reason}). It is left "
            "as it is: mend it or choose another --output."
        )


def _parsed(line: bytes, make: Callable[[dict[str, Any]], Any]) -> Any:
    return make(unsealed(line.decode()))


def _settings(about: dict[str, Any]) -> Any:
    if about.get("format") != FORMAT:
        raise ValueError("another version of the program wrote it")
    return about.get("settings")
