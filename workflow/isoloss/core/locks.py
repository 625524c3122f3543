"""Locks between processes, of one machine or of several that share a file system.

A lock is a file that only one process can create, as file systems of networks can promise where
they do not pass locks of the kernel on to other machines. It names its owner, who touches it every
so often (a lease of the library filelock). It is free when its owner removed it; when its owner has
ended, on the same machine; and when nobody touched it for `LIFETIME` seconds, as is seen by whoever
waits, on its own clock: clocks of machines that differ do no harm.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from isoloss.core import paths
from isoloss.core.problems import IsolossError

if TYPE_CHECKING:
    from filelock import SoftFileLease

LIFETIME = 120.0  # seconds; all processes must agree on it
_LOOK = 1.0  # seconds between two looks of an owner at its own lock
_WINDOW = 0.1  # seconds in which whoever takes a lock by mistake puts it back


class LockLostError(IsolossError):
    """Another process took a lock: its owner did not run for longer than the lock's lifetime."""


class Claim:
    """A lock that this process holds.

    Args:
        lease: the lock, acquired.
        path: its file.
    """

    def __init__(self, lease: SoftFileLease, path: Path):
        self.path, self._lease, self._token = path, lease, lease.token
        self._looked = time.monotonic()

    def renew(self, now: bool = False) -> None:
        """See to it that the lock is still held; called every few seconds while it is needed.

        Args:
            now: look at once, as before something is written; else at most once a second.

        Raises:
            LockLostError: another process has it.
        """
        looks = time.monotonic()
        if not now and looks - self._looked < _LOOK:
            return
        if not self._is_held():
            time.sleep(_WINDOW)
            if not self._is_held():
                raise LockLostError(
                    f"{self.path}: another process has taken this lock, because this one was "
                    f"suspended for more than {LIFETIME:.0f} seconds, or somebody removed the "
                    "file; nothing is written: run the study again"
                )
        self._looked = looks

    def _is_held(self) -> bool:
        owner = self._lease.owner
        return owner is not None and owner.token == self._token


@contextmanager
def locked(path: Path, wait: bool = True, poll: float = 0.02) -> Iterator[Claim | None]:
    """Hold a lock; it is free at the end of the block, and when this process ends.

    Args:
        path: the lock's file, which is there while it is held; its folder must exist.
        wait: for whoever holds it; else None is given.
        poll: seconds between two tries.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "lock"
        >>> with locked(file) as claim, locked(file, wait=False) as other:
        ...     claim.renew()
        ...     print(other)
        None
        >>> file.exists()
        False
    """
    from filelock import SoftFileLease, Timeout

    lease = SoftFileLease(path, lease_duration=LIFETIME, poll_interval=poll)
    while True:
        try:
            with paths.writing(path):
                lease.acquire(timeout=LIFETIME if wait else 0)
        except Timeout:
            # of a machine that lost its power an empty file can be left, which names no owner
            if not _removed_empty(path) and not wait:
                yield None
                return
        else:
            break
    try:
        yield Claim(lease, path)
    finally:
        lease.release()


def is_locked(path: Path) -> bool:
    """Whether a process holds a lock; a file that is left of one that ended is removed.

    Where this process may not write, it is taken to be held if it was touched lately, by the clock
    of this machine.
    """
    if not path.exists():
        return False
    with suppress(OSError), locked(path, wait=False) as claim:
        if claim is not None:
            return False
    return _age(path) < 2 * LIFETIME


def _removed_empty(path: Path) -> bool:
    """Remove a lock without content that is older than one is for an instant."""
    try:
        is_left = path.stat().st_size == 0 and _age(path) > LIFETIME
    except FileNotFoundError:
        return True
    if is_left:
        path.unlink(missing_ok=True)
    return is_left


def _age(path: Path) -> float:
    """Seconds since a lock was touched; endless if it is not there."""
    try:
        return time.time() - os.stat(path).st_mtime
    except FileNotFoundError:
        return float("inf")
