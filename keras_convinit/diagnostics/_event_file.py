"""Scalars for TensorBoard, whatever the backend."""

import time
from typing import Any


class EventFile:
    """Writes scalars into a folder that TensorBoard reads.

    Args:
        folder: The folder, which is made where it is missing.

    Raises:
        ModuleNotFoundError: tensorboard is not installed.
    """

    def __init__(self, folder: Any) -> None:
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer import event_file_writer
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "`log_dir` needs the Python package tensorboard: "
                f"pip install tensorboard. Received: log_dir={str(folder)!r}"
            ) from error
        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        self._writer = event_file_writer.EventFileWriter(str(folder))

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Adds scalars by their names."""
        values = [
            self._summary.Value(tag=name, simple_value=value)
            for name, value in scalars.items()
        ]
        summary = self._summary(value=values)
        self._writer.add_event(
            self._event(step=step, wall_time=time.time(), summary=summary)
        )

    def flush(self) -> None:
        """Sees to it that all is on disk."""
        self._writer.flush()

    def close(self) -> None:
        """Ends writing; what was written is on disk."""
        self._writer.close()
