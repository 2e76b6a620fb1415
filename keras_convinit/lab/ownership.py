"""A folder belongs to one process at a time."""

import contextlib
import errno
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from keras_convinit.lab.errors import LabError
from keras_convinit.lab.files import UNFINISHED, folder_for

try:
    import fcntl
except ModuleNotFoundError:
    # Windows.
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
# What file systems say that have no locks.
WITHOUT = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def owned(folder: Path) -> Iterator[Path]:
    """A folder for output, made where it is missing, that belongs to this process.

    The owner holds a lock on an empty file in it, `.lock`, until it ends, however it
    ends: it is the system that keeps the lock, by `flock`, and on Windows by
    `msvcrt.locking`. The file itself means nothing, and one that a killed process left
    does not matter. Between hosts this works where the file system passes locks on, as
    NFS does on Linux. Where it knows none a warning is given, and nobody is kept out.
    What killed owners left unfinished is removed.

    Args:
        folder: The folder.

    Yields:
        The folder.

    Raises:
        LabError: Another process owns it, or it cannot be written to.
    """
    descriptor = _locked(folder_for(folder) / LOCK)
    if descriptor is None:
        yield folder
        return
    try:
        for left in folder.glob(f"{UNFINISHED}*"):
            with contextlib.suppress(OSError):
                left.unlink()
        yield folder
    finally:
        # First: whoever opens it from now on has a file that is no longer there, sees
        # that, and begins anew.
        with contextlib.suppress(OSError):
            (folder / LOCK).unlink()
        # A process that was forked from this one may have it open, too.
        with contextlib.suppress(OSError):
            _unlock(descriptor)
        os.close(descriptor)


def _locked(path: Path) -> int | None:
    """Opens a file, and waits for nobody; None where there are no locks."""
    while True:
        try:
            # Nothing is ever written; through a link it would be made elsewhere.
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            raise LabError(
                "`output` must be a folder of which this program can be the owner. "
                f"Received: output={str(path.parent)!r}, where {path.name} cannot be "
                f"opened ({error.strerror or error})"
            ) from error
        try:
            _lock(descriptor)
            if _is_at(descriptor, path):
                return descriptor
        except OSError as error:
            os.close(descriptor)
            if error.errno in WITHOUT:
                path.unlink(missing_ok=True)
                warnings.warn(
                    f"{path.parent} lies where files cannot be locked: start nothing "
                    "else there in the meantime.",
                    stacklevel=4,
                )
                return None
            raise LabError(
                f"{path.parent} is in use: another process is at work there. Wait for "
                "its end, or choose another --output."
            ) from error
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether a file is still there: its owner may have removed it in between."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _lock(descriptor: int) -> None:
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    import msvcrt

    # The file is empty; what is beyond its end can be locked all the same.
    msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)


def _unlock(descriptor: int) -> None:
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        return
    import msvcrt

    msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
