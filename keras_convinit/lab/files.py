"""Files of which there is never half: the old one or the new one."""

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from keras_convinit.lab.errors import LabError


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file beside its place, and puts it there when it is on the disk.

    Args:
        path: The place.
        write: Called with the open file.

    Raises:
        LabError: It cannot be written, as on a full disk. What lay there before still
            does.
    """
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        try:
            with unfinished.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise LabError(
            f"{path} cannot be written ({error.strerror or error}). What was finished "
            "before is still there: make room, and start again with the same command."
        ) from error


def write_text(path: Path, text: str) -> None:
    """Writes a text in the same way."""
    write_whole(path, lambda file: file.write(text.encode()))


def write_between(path: Path, begin: str, end: str, text: str) -> None:
    """Writes a text into a file, in place of what stands between two marks there.

    Args:
        path: The file.
        begin: The mark before.
        end: The first mark after that.
        text: What is to be there, with an empty line before and after.

    Raises:
        ValueError: The file has no such marks.
        LabError: It cannot be written.
    """
    before, found, rest = path.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{path.name} must have the lines {begin!r} and {end!r}.")
    write_text(path, f"{before}{begin}\n\n{text}\n\n{end}{after}")


def folder_for(path: Path) -> Path:
    """A folder for output, made where it is missing.

    Args:
        path: The folder.

    Returns:
        The folder.

    Raises:
        LabError: It cannot be made, or not be written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        # To be told before anything is computed.
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise LabError(
            "`output` must be a folder that can be written to. "
            f"Received: output={str(path)!r} ({error.strerror})"
        ) from error
    return path
