"""Files of which there is never half: the old one or the new one."""

import contextlib
import errno
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from keras_convinit.lab.errors import LabError

UNFINISHED = ".unfinished-"
# What is told of a file that cannot be written: how to go on.
AGAIN = "the same command"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def written_beside(path: Path, again: str = AGAIN) -> Iterator[Path]:
    """A new file beside a place, which is put there at the end, on the disk and whole.

    Its name cannot be foretold and it was not there before, so that nothing is written
    through a link; its ending is that of the place, and its permissions those of any
    new file. After an error it is gone.

    Args:
        path: The place.
        again: What to start again where it cannot be written.

    Yields:
        The path of the file, which is empty.

    Raises:
        LabError: It cannot be written, as on a full disk. What lay there before still
            does.
    """
    unfinished = path.with_name(f"{UNFINISHED}{secrets.token_hex(8)}{path.suffix}")
    try:
        try:
            unfinished.open("xb").close()
            yield unfinished
            with unfinished.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error, again) from error


def write_whole(
    path: Path, write: Callable[[BinaryIO], object], again: str = AGAIN
) -> None:
    """Writes a file in that way.

    Args:
        path: The place.
        write: Called with the open file.
        again: What to start again where it cannot be written.

    Raises:
        LabError: It cannot be written. What lay there before still does.
    """
    with written_beside(path, again) as unfinished, unfinished.open("rb+") as file:
        write(file)


def write_text(path: Path, text: str, again: str = AGAIN) -> None:
    """Writes a text in the same way."""
    write_whole(path, lambda file: file.write(text.encode()), again)


def unwritable(path: object, error: OSError, again: str = AGAIN) -> LabError:
    """Says that something cannot be written, and what to do about it.

    Args:
        path: What.
        error: Why.
        again: What to start again.

    Returns:
        The error to raise.
    """
    mend = "make room" if error.errno in FULL else "mend that"
    return LabError(
        f"{path} cannot be written ({error.strerror or error}). What was finished "
        f"before is still there: {mend}, and start again with {again}."
    )


def read_text(path: Path) -> str:
    """Reads a text, if it is an ordinary file.

    Raises:
        OSError: It cannot be read, or is something that may never end, such as a pipe.
        ValueError: It is no text.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "Not an ordinary file")
    return path.read_text(encoding="utf-8")


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
            f"Received: output={str(path)!r} ({error.strerror or error})"
        ) from error
    return path
