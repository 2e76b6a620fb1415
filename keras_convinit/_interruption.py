"""Defers Ctrl-C and SIGTERM to a flag that is checked between steps.

Python raises KeyboardInterrupt wherever it happens to be. Where that is a callback that
cannot raise, such as one of the garbage collection, the interruption is gone; where it
is in the middle of something, that is left half-done.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Whoever has put another handler in place, or ignores a signal, has a reason.
USUAL = (signal.SIG_DFL, signal.default_int_handler)
HINT = b"\nEnding after this step; once more ends at once.\n"


class _State:
    """Signals since the outermost `defer_interruption` began."""

    active = False
    count = 0
    pending = False


@contextlib.contextmanager
def defer_interruption() -> Iterator[None]:
    """Defers Ctrl-C and SIGTERM to a flag that `check_interruption` looks at.

    The second one raises KeyboardInterrupt at once. Handlers are restored on exit.
    Inside another one it does nothing, and neither outside of the main thread, which is
    the only one that gets signals. It can also decorate a function.

    Raises:
        KeyboardInterrupt: On exit, if a signal came that was not looked at.

    Example:
        >>> from keras_convinit import _interruption
        >>> with _interruption.defer_interruption():
        ...     for batch in range(3):
        ...         _interruption.check_interruption()
    """
    if _State.active or threading.current_thread() is not threading.main_thread():
        yield
        return
    _State.active, _State.count, _State.pending = True, 0, False
    before: dict[signal.Signals, Any] = {}
    try:
        for number in SIGNALS:
            handler = signal.getsignal(number)
            if handler in USUAL:
                signal.signal(number, _note)
                before[number] = handler
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _State.active = False
    check_interruption()


def check_interruption() -> None:
    """Raises KeyboardInterrupt if a signal came since the last check."""
    if _State.pending:
        _State.pending = False
        raise KeyboardInterrupt


def _note(number: int, frame: FrameType | None) -> None:
    _State.pending = True
    _State.count += 1
    if _State.count > 1:
        raise KeyboardInterrupt
    if number == signal.SIGINT:
        # Not by `print`, in the middle of which it may be called.
        with contextlib.suppress(OSError):
            os.write(2, HINT)
