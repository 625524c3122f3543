"""The job's side of training: it starts the process that trains, and watches it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import warnings
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from isoloss.core import registry
from isoloss.core.ending import TerminatedError
from isoloss.core.locks import Claim
from isoloss.core.problems import IsolossError
from isoloss.core.progress import Progress
from isoloss.records import environment
from isoloss.train.child import ASKS, CANNOT_SAVE, LESS_MEMORY, MADE_BY, Shared, serve
from isoloss.train.identity import VERSIONS

if TYPE_CHECKING:
    from isoloss.train.shard import ShardSetup

GRACE = 100.0  # seconds that a run has to save its state and end, once the job is told to end
_LOOK = 0.5  # seconds between two looks at a run that takes longer
# threads that this process may have are those of Arrow, which looks after forks itself
_FORK = multiprocessing.get_context("fork")
_SIGNALS = {signal.SIGINT, signal.SIGTERM}


class Trainer:
    """Trains runs in a process of their own, which is replaced where one of them spoils it.

    Used with `with`; at its end no process is left.

    Args:
        job: what the runs have in common.
        trainers: the cards that train them.
        progress: counts their steps.

    Attributes:
        versions: recorded with every run.
    """

    def __init__(self, job: ShardSetup, trainers: Collection[str], progress: Progress):
        self.job, self.trainers, self.progress = job, sorted(trainers), progress
        present = environment.versions()
        self.versions = {column: present[name] for column, name in VERSIONS.items()}
        self._child: _Child | None = None

    def __enter__(self) -> Trainer:
        """Nothing is started before there is a run to train."""
        return self

    def get_ready(self) -> None:
        """Start the process, unless it is there; called while no run is claimed.

        It has a copy of every file that is open when it starts, of locks too, which would then be
        held until it ends.
        """
        if self._child is None:
            self._child = _Child(self.job, self.trainers)

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._end()

    def _end(self) -> None:
        if self._child is not None:
            self._child.end()
        self._child = None

    def train(
        self, row: dict[str, Any], identity: Mapping[str, Any], claim: Claim
    ) -> dict[str, Any]:
        """Train a run; its row, which is in the store.

        Args:
            row: what is known of it: `run_id`, `run_digest`, `attempts`, `code` and versions.
            identity: what its digest is made of.
            claim: the run, which this process holds; renewed while it is trained.

        Raises:
            IsolossError: it could not be saved, or another process has taken the claim.
            TerminatedError: the job was told to end; the message says what is kept of the run.
            KeyboardInterrupt: it was interrupted with the job.
        """
        self.job.store.note("start", row["run_digest"], row["run_id"], **self.job.where)
        begun = time.perf_counter()
        try:
            answer = self._answer(row, identity, claim)
        except BaseException:
            self._end()
            raise
        if isinstance(answer, str):
            self._end()
            raise TerminatedError(f"{row['run_id']}: {answer}")
        if answer is None:
            return self._row_of_dead(row, identity, begun)
        trained, is_spent = answer
        if is_spent:
            self._end()
        return trained

    def _answer(self, row: Mapping[str, Any], identity: Mapping[str, Any], claim: Claim) -> Any:
        """What the process sends of a run; None if it ended without a word."""
        before, child = self.progress.done, self._child

        def look(now: bool = False) -> None:
            self.progress.reach(before + child.shared.steps)
            claim.renew(now)

        try:
            child.send(row, identity)
            answer = child.answer(look)
        except TerminatedError:
            child.shared.stop()
            answer = child.answer(look, GRACE)  # a second SIGTERM ends this at once
            if not isinstance(answer, str):
                kept = "is finished" if answer else "was ended before it had saved its state"
                raise TerminatedError(f"{row['run_id']}: {kept}") from None
        return answer

    def _row_of_dead(
        self, row: dict[str, Any], identity: Mapping[str, Any], begun: float
    ) -> dict[str, Any]:
        """The row of a run whose process ended without a word; it may have been saved before."""
        store, digest, exitcode = self.job.store, row["run_digest"], self._child.exitcode()
        self._end()
        if exitcode == -signal.SIGINT:
            raise KeyboardInterrupt  # of the whole group: the run did not fail, it was cut off
        if exitcode == CANNOT_SAVE:
            raise IsolossError(
                f"{row['run_id']}: could not be saved in {store.root}, see above; make room or "
                "give leave to write there, and run again: runs that are finished stay finished"
            )
        saved = store.find(digest, {column: {row[column]} for column in (*MADE_BY, "reading")})
        if saved is not None and saved["attempts"] == row["attempts"]:
            return saved
        row.update(status="failed", status_reason=_end_of(exitcode))
        store.failed(digest, row["status_reason"])
        row["seconds"] = time.perf_counter() - begun
        store.save(row, identity, **self.job.where)
        return row


class _Child:
    """A process that trains, and the pipe to it.

    Args:
        job: what the runs have in common.
        trainers: the cards that train them; what they need is imported before.
    """

    def __init__(self, job: ShardSetup, trainers: Collection[str]):
        for name in trainers:
            registry.card("trainer", name).warm_up()
        self.shared, self._is_asked = Shared(_FORK), False
        self._pipe, other = _FORK.Pipe()
        given = (other, self._pipe, job, self.shared, os.getpid())
        self._process = _FORK.Process(target=serve, args=given, daemon=True)
        with warnings.catch_warnings():
            # said by Python 3.12 and later of every process with threads
            warnings.filterwarnings(
                "ignore", "This process .* is multi-threaded", DeprecationWarning
            )
            # what runs at a fork swallows an exception; a signal waits until it is over
            signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
            try:
                self._process.start()
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        other.close()

    def send(self, row: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
        """Send a run to be trained; if the process is gone the answer says so."""
        self.shared.steps = 0
        with suppress(ConnectionError):
            self._pipe.send((row, identity))

    def answer(self, look: Callable[[bool], None], seconds: float | None = None) -> Any:
        """What comes of a run that was sent; None if the process ended without a word.

        Args:
            look: called while it is trained, and with True before it is saved.
            seconds: after which the process is killed; None for never.
        """
        if not self._is_asked:
            answer = self._next(look, seconds)
            if answer is not ASKS:
                return answer
            self._is_asked = True  # also if a signal comes before the answer
        look(True)
        with suppress(ConnectionError):
            self._pipe.send(ASKS)
        self._is_asked = False
        return self._next(look, seconds)

    def _next(self, look: Callable[[bool], None], seconds: float | None) -> Any:
        """What the process sends next; None if it ended without."""
        end = None if seconds is None else time.monotonic() + seconds
        while not wait([self._pipe], _LOOK if end is None else min(_LOOK, end - time.monotonic())):
            look(False)
            if end is not None and time.monotonic() >= end:
                self._process.kill()
                return None
            # something that it started may hold the pipe
            if self._process.exitcode is not None and not self._pipe.poll():
                return None
        try:
            return self._pipe.recv()
        except (EOFError, ConnectionError):  # the latter if it had not read all that was sent
            return None

    def exitcode(self) -> int:
        """How the process ended, which has closed the pipe."""
        self._process.join()
        return self._process.exitcode

    def end(self) -> None:
        """End the process, and what is left of its group: a user's program and all it started."""
        self._pipe.close()
        self._process.kill()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.join()
        self._process.close()


def _end_of(exitcode: int) -> str:
    if exitcode >= 0:
        return f"its process ended with exit code {exitcode}"
    name = signal.Signals(-exitcode).name
    hint = f" (killed by hand, or out of memory: {LESS_MEMORY})" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{hint}"
