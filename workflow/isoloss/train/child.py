"""The process that trains: one run after the other, apart from the job that watches it.

A run that is killed, by lack of memory or by hand, takes no other run with it: the job starts
another process for the next one. What one run leaves behind does not reach the next: see
`pristine`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import torch

from isoloss.core import registry
from isoloss.train.checkpoint import Checkpoint, StoppedError, checkpoint_steps, save_weights
from isoloss.train.identity import VERSIONS
from isoloss.train.pristine import Pristine
from isoloss.train.run import train_run
from isoloss.trainers._program import FailedError
from isoloss.trainers._trainer import DivergedError, Trained

if TYPE_CHECKING:
    from isoloss.train.shard import ShardSetup

MADE_BY = (*VERSIONS, "code")  # columns of the `shard` table
LESS_MEMORY = "run fewer jobs at once, or make a step smaller (builtin: raise `accumulate`)"
ASKS = True  # sent before a run is saved
CANNOT_SAVE = 74  # exit code, EX_IOERR of sysexits.h
_MOST_RUNS = 1000  # that one process trains
_LOOK = 0.05  # seconds between two looks at a program that was told to end
_ALONE = 0.5  # seconds in which a signal to all processes of a job reaches all of them


class Shared:
    """What a job and its child see of each other, without a message.

    Args:
        context: of multiprocessing.
    """

    def __init__(self, context: Any):
        self._steps = context.RawValue("q", 0)
        self._stop = context.RawValue("b", 0)

    @property
    def steps(self) -> int:
        """Steps of the present run that are done."""
        return self._steps.value

    @steps.setter
    def steps(self, count: int) -> None:
        self._steps.value = count

    def stop(self) -> None:
        """Ask the present run to save its state and end."""
        self._stop.value = 1

    def is_stopped(self) -> bool:
        """Whether it was asked to."""
        return bool(self._stop.value)


def serve(tasks: Connection, jobs_end: Connection, job: ShardSetup, shared: Shared, parent: int):
    """Train the runs that are sent, and send what came of each; the body of the process.

    A row and an identity come for each. Before what came of it is saved, ASKS goes, and the job
    answers if it still holds the run. The row goes back with whether this process ends; in the
    place of both, text says what is kept of a run that was told to end.

    Args:
        tasks: the end of a pipe, by which runs come and their rows go.
        jobs_end: the other end, which is closed here: that of the job alone is to count.
        job: what the runs have in common.
        shared: with the job.
        parent: id of the job's process.
    """
    jobs_end.close()
    told = _Told(shared, raises=job.content.of_program)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    signal.signal(signal.SIGTERM, told.arrived)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    if job.content.of_program:
        os.setsid()  # the program and all that it starts are ended together
    pristine = None if job.content.of_program else Pristine()
    for count in range(1, _MOST_RUNS + 1):
        try:
            row, identity = tasks.recv()
            save = _train(row, identity, job, shared, told, parent)
            tasks.send(ASKS)
            tasks.recv()
        except StoppedError as stopped:
            tasks.send(str(stopped))
            return
        except (EOFError, ConnectionError):  # the job has no more, or is gone
            return
        save()
        spent = pristine is None or row["status"] == "failed" or count == _MOST_RUNS
        if not spent:
            pristine.restore()
            spent = pristine.is_left()
        tasks.send((row, spent))
        if spent:
            return


class _Told:
    """What this process does when it is told to end.

    Args:
        shared: with the job.
        raises: whether what waits for a program is interrupted, or the run asks by itself.
    """

    def __init__(self, shared: Shared, raises: bool):
        self.shared, self.raises = shared, raises
        self.directly = False  # by a signal, which then reached the program too
        self.waits = False  # whether there is something to interrupt

    def arrived(self, *_: object) -> None:
        """SIGTERM arrived."""
        self.directly = True
        self.shared.stop()
        if self.raises and self.waits:
            raise StoppedError


def _train(
    row: dict[str, Any],
    identity: Mapping[str, Any],
    job: ShardSetup,
    shared: Shared,
    told: _Told,
    parent: int,
) -> Callable[[], None]:
    """Train one run, whose row is completed; what saves it."""
    run, digest = identity["settings"], row["run_digest"]
    checkpoint = _checkpoint(run, digest, {column: row[column] for column in MADE_BY}, job, shared)
    of_program = job.content.of_program
    ticks = _of_program(parent, told) if of_program else _ticks(run["n_steps"], shared, parent)
    begun = time.perf_counter()
    trained, trace = None, ""
    try:
        told.waits = True
        row["device"] = registry.card("trainer", run["trainer"]).device(run)
        trained = train_run(identity, job.content, ticks, checkpoint)
        told.waits = False
    except StoppedError as stopped:
        told.waits = False
        if of_program:
            _end_program(parent, told)
        raise StoppedError(str(stopped) or "it had time to save its state") from None
    except DivergedError as error:
        row.update(status="diverged", status_reason=str(error))
    except FailedError as error:
        trace = f"{error}\n{error.detail}"
        row.update(status="failed", status_reason=str(error))
    except Exception as error:  # the other runs go on; the reason is kept, the log has it all
        trace = traceback.format_exc()
        row.update(status="failed", status_reason=_reason_of(error))
    else:
        row.update(status="done", **trained.measured)
    told.waits = False
    row.setdefault("seconds", checkpoint.seconds_before + time.perf_counter() - begun)
    return partial(_save, row, identity, job, trained, trace, checkpoint.about)


def _save(
    row: Mapping[str, Any],
    identity: Mapping[str, Any],
    job: ShardSetup,
    trained: Trained | None,
    trace: str,
    about: Mapping[str, str],
) -> None:
    """Save a run that ended; if that is not possible this process ends."""
    digest = row["run_digest"]
    try:
        if trace:
            print(trace, file=sys.stderr)
            job.store.failed(digest, trace)
        if trained is not None and trained.weights is not None and job.keep_weights:
            save_weights(trained.weights, job.store.weights(digest), **about)
        job.store.save(row, identity, **job.where)
    except (OSError, pa.ArrowException) as error:
        print(f"{job.store.folder(digest)}: {error}", file=sys.stderr, flush=True)
        os._exit(CANNOT_SAVE)


def _reason_of(error: Exception) -> str:
    """What a run failed of, and what to do where it was lack of memory."""
    reason = f"{type(error).__name__}: {error}"
    lacks_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
    of_torch = isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    return f"{reason}; {LESS_MEMORY}" if lacks_memory or of_torch else reason


def _checkpoint(
    run: Mapping[str, Any],
    digest: str,
    made_by: Mapping[str, str],
    job: ShardSetup,
    shared: Shared,
) -> Checkpoint:
    """Where a run goes on from, and keeps its models; a program of the user sees to both itself."""
    state = job.store.state(digest)
    if job.content.of_program:
        return Checkpoint(state, 0, made_by)
    steps_kept = checkpoint_steps(job.checkpoints, run["n_steps"])
    models = {step: job.store.checkpoint(digest, step) for step in steps_kept}
    about = {"run_digest": digest, "model": run["model"]}
    earlier = job.store.checkpoints(digest)
    minutes, stops = job.checkpoint_minutes, shared.is_stopped
    return Checkpoint(state, minutes, made_by, models, about, earlier, stops)


def _ticks(n_steps: int, shared: Shared, parent: int) -> Iterator[None]:
    """Count steps where the job sees it; an orphan ends itself, its claim is then free."""
    for step in range(1, n_steps + 1):
        if os.getppid() != parent:
            os._exit(1)
        shared.steps = step
        yield


def _of_program(parent: int, told: _Told) -> Iterator[None]:
    """As many ticks as there are while the job lives and wants the program to go on.

    Raises:
        StoppedError: the program is to end.
    """
    while os.getppid() == parent:
        if told.shared.is_stopped():
            raise StoppedError
        yield


def _end_program(parent: int, told: _Told) -> None:
    """Let the program save its own state and end, as long as the job waits for it.

    A signal to all processes of a job has reached the program already, and a second one could be
    understood as an order to end at once.
    """
    time.sleep(_ALONE)
    if not told.directly:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # this process is in the group too
        os.killpg(0, signal.SIGTERM)
    with suppress(ChildProcessError):  # it has ended, or was never started
        while os.waitpid(-1, os.WNOHANG) == (0, 0):
            if os.getppid() != parent:
                os.killpg(0, signal.SIGKILL)
            time.sleep(_LOOK)
