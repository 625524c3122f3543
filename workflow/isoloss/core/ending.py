"""A process that is told to end (SIGTERM): by a time limit, a preemption, or by hand."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

TRY_AGAIN = 75  # exit code of a job that was told to end, EX_TEMPFAIL of sysexits.h


class TerminatedError(BaseException):
    """SIGTERM arrived; like KeyboardInterrupt, it is not an `Exception` that somebody handles.

    Its message says what was kept of the work; it may be empty.
    """


@contextmanager
def told_to_end() -> Iterator[None]:
    """Raise `TerminatedError` at SIGTERM, so that whatever is half-written is removed.

    Only in the main thread, which alone receives signals; in processes that are forked inside,
    SIGTERM ends them as it does by default.

    Raises:
        TerminatedError: SIGTERM arrived.

    Example:
        >>> with told_to_end():
        ...     try:
        ...         signal.raise_signal(signal.SIGTERM)
        ...     except TerminatedError:
        ...         print("told to end")
        told to end
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    process = os.getpid()

    def tell(number: int, _: object) -> None:
        if os.getpid() == process:
            raise TerminatedError
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    before = signal.signal(signal.SIGTERM, tell)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
