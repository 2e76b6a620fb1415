"""Scalars for TensorBoard, whatever the backend."""

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from typing import Any


class EventFile:
    """File of scalars in a folder that TensorBoard reads.

    TensorBoard's own writer is not used: its thread ends in a traceback on a full disk.

    Args:
        folder: Folder, which is created if it does not exist.

    Raises:
        ModuleNotFoundError: tensorboard is not installed.
        OSError: The file cannot be written to; so do the methods.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            from tensorboard.compat import tf
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "`log_dir` needs the Python package tensorboard: "
                f"pip install tensorboard. Received: log_dir={str(folder)!r}"
            ) from error
        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        # TensorBoard reads files by their time; no two have one name.
        name = f"events.out.tfevents.{time.time():.6f}.{secrets.token_hex(8)}"
        with _raise_os_errors():
            tf.io.gfile.makedirs(str(folder))
            self._records = RecordWriter(
                tf.io.gfile.GFile(os.path.join(str(folder), name), "wb")
            )
        self._add(file_version="brain.Event:2")
        self.flush()

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Writes scalars by their names."""
        values = [
            self._summary.Value(tag=name, simple_value=value)
            for name, value in scalars.items()
        ]
        self._add(step=step, summary=self._summary(value=values))

    def flush(self) -> None:
        """Flushes what was written to disk."""
        with _raise_os_errors():
            self._records.flush()

    def close(self) -> None:
        """Flushes and closes the file."""
        with _raise_os_errors():
            self._records.close()

    def _add(self, **parts: Any) -> None:
        event = self._event(wall_time=time.time(), **parts)
        with _raise_os_errors():
            self._records.write(event.SerializeToString())


@contextlib.contextmanager
def _raise_os_errors() -> Iterator[None]:
    try:
        yield
    except OSError:
        raise
    # Where TensorFlow is installed its file system writes, whose errors are its own.
    except Exception as error:
        raise OSError(str(error)) from error
