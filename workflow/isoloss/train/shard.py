"""One job: train the runs of a shard, one after the other; a run that goes wrong is a row.

Each run is trained in a child process of its own: one that is killed, by lack of memory or by
hand, takes no other run with it. The child saves what it found itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pyarrow as pa
import torch

from isoloss.core import registry, tables
from isoloss.core.problems import IsolossError
from isoloss.core.progress import Progress
from isoloss.records import environment
from isoloss.records.store import FINAL, Store
from isoloss.train.checkpoint import Checkpoint, checkpoint_steps, save_weights
from isoloss.train.identity import VERSIONS, RunContent, run_digest
from isoloss.train.programs import Programs
from isoloss.train.run import train_run
from isoloss.trainers._program import FailedError
from isoloss.trainers._trainer import DivergedError

_MADE_BY = (*VERSIONS, "code")  # columns of the `shard` table
_LESS_MEMORY = "run fewer jobs at once, or make a step smaller (builtin: raise `accumulate`)"
_CANNOT_SAVE = 74  # a child's exit code, EX_IOERR of sysexits.h
# threads that this process may have are those of Arrow, which looks after forks itself
_FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class ShardSetup:
    """What the runs of a shard have in common.

    Attributes:
        content: what the task reads of the dataset; of a user's program, what its runs have in
            common.
        store: finished runs.
        seed: of the study.
        code: digest of the code that can change the runs' numbers, in their identity.
        code_here: digest of that code as it is; another one if it was accepted.
        among: column of a finished run to the values of which it must have one, to count.
        valid_tokens: validation examples measured, rounded to whole items.
        max_attempts: times that a failing run is started.
        checkpoint_minutes: between two states of a run that has not ended; 0 for none.
        keep_weights: whether the model of a run that ended is kept.
        checkpoints: after which steps, or fractions of the steps, its model is kept too.
        where: sweep and shard, for the journal.
    """

    content: RunContent | Programs
    store: Store
    seed: int
    code: str
    code_here: str
    among: Mapping[str, Collection[str]]
    valid_tokens: int
    max_attempts: int = 2
    checkpoint_minutes: float = 10.0
    keep_weights: bool = True
    checkpoints: Sequence[float] = ()
    where: Mapping[str, str] = field(default_factory=dict)


def train_shard(runs: Sequence[Mapping[str, Any]], job: ShardSetup) -> pd.DataFrame:
    """Train every run of a shard that the store does not hold, each on one thread.

    A run is saved in the store the moment it ends, so that whatever happens to the job later, no
    finished run is trained again. A run that another process is training is waited for. A run
    that failed is tried again, up to `max_attempts`.

    Args:
        runs: rows of the plan.
        job: what they have in common.

    Returns:
        The `shard` table, in the order of `runs`.

    Raises:
        IsolossError: a run could not be saved.
    """
    environment.commit()  # looked up once, not in every child
    unit = "runs" if job.content.of_program else "training steps"
    progress = Progress(sum(run.get("n_steps", 1) for run in runs), unit)
    trained: dict[str, dict[str, Any]] = {}
    begun = {line["run_digest"] for line in job.store.journal()}
    shared = {"seed": job.seed, "valid_tokens": job.valid_tokens, "code": job.code}
    identities = {run["run_id"]: job.content.identity(run, **shared) for run in runs}
    # first what was never begun: a run that takes the whole machine down must not block the others
    left = sorted(runs, key=lambda run: run_digest(identities[run["run_id"]]) in begun)
    for wait in (False, True):
        busy = []
        for run in left:
            row = _trained(run, identities[run["run_id"]], job, progress, wait)
            if row is None:
                busy.append(run)
            else:
                trained[run["run_id"]] = {**row, "run_id": run["run_id"]}
        left = busy
    progress.close()
    rows = [trained[run["run_id"]] for run in runs]
    return pd.DataFrame(rows, columns=tables.schema("shard").names)


def _trained(
    run: Mapping[str, Any],
    identity: Mapping[str, Any],
    job: ShardSetup,
    progress: Progress,
    wait: bool,
) -> dict[str, Any] | None:
    """A run, from the store or trained now; None if another process has it and `wait` is False."""
    digest = run_digest(identity)
    present = {column: environment.versions()[name] for column, name in VERSIONS.items()}
    before, steps = progress.done, run.get("n_steps", 1)
    known = job.store.find(digest, job.among)
    if not _ended(known, job.max_attempts):
        with job.store.claim(digest, wait) as claimed:
            if not claimed:
                print(f"{run['run_id']}: another process is training it", file=sys.stderr)
                return None
            known = job.store.find(digest, job.among)  # it may have ended while we waited
            if not _ended(known, job.max_attempts):
                row = {
                    "run_id": run["run_id"],
                    "run_digest": digest,
                    "attempts": 1 + (known["attempts"] if known else 0),
                    "device": "cpu",
                    "code": job.code_here,
                    "reading": job.content.reading,
                    **present,
                }
                known = _isolated(row, identity, job, progress)
                line = f"{run['run_id']}: {known['status']}, {known['seconds']:.1f} s"
                print(line, file=sys.stderr, flush=True)
    progress.reach(before + steps)
    if known["run_id"] != run["run_id"]:
        job.store.note("same", digest, run["run_id"], **job.where)
    return known


def _ended(known: Mapping[str, Any] | None, max_attempts: int) -> bool:
    return known is not None and (known["status"] in FINAL or known["attempts"] >= max_attempts)


def _isolated(
    row: dict[str, Any], identity: Mapping[str, Any], job: ShardSetup, progress: Progress
) -> dict[str, Any]:
    """Train a run in a child process, and read from the store what came of it."""
    digest, before = row["run_digest"], progress.done
    registry.card("trainer", identity["settings"]["trainer"]).warm_up()
    job.store.note("start", digest, row["run_id"], **job.where)
    begun = time.perf_counter()
    steps = _FORK.RawValue("q", 0)
    task = (row, identity, job, steps, os.getpid())
    child = _FORK.Process(target=_child, args=task, daemon=True)
    with warnings.catch_warnings():
        # said by Python 3.12 and later of every process with threads
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        # what runs at a fork swallows a KeyboardInterrupt; a Ctrl-C waits until it is over
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            child.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        while child.exitcode is None:
            child.join(0.5)
            progress.reach(before + steps.value)
    finally:
        _end_group(child.pid)
    if child.exitcode == -signal.SIGINT:
        raise KeyboardInterrupt  # of the whole group: the run did not fail, it was cut off
    if child.exitcode == _CANNOT_SAVE:
        raise IsolossError(
            f"{row['run_id']}: could not be saved in {job.store.root}, see above; make room or "
            "give leave to write there, and run again: runs that are finished stay finished"
        )
    saved = job.store.find(digest, {column: {row[column]} for column in (*_MADE_BY, "reading")})
    if saved is not None and saved["attempts"] == row["attempts"]:
        return saved  # however its process ended after that
    if child.exitcode:
        row.update(status="failed", status_reason=_end_of(child.exitcode))
        job.store.failed(digest, row["status_reason"])
        row["seconds"] = time.perf_counter() - begun
        job.store.save(row, identity, **job.where)
    return job.store.find(digest)


def _end_group(leader: int) -> None:
    """Kill what is left of the process group of a child, if it led one: a user's program does."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _end_of(exitcode: int) -> str:
    if exitcode > 0:
        return f"its process ended with exit code {exitcode}"
    name = signal.Signals(-exitcode).name
    hint = f" (killed by hand, or out of memory: {_LESS_MEMORY})" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{hint}"


def _reason_of(error: Exception) -> str:
    """What a run failed of, and what to do where it was lack of memory."""
    reason = f"{type(error).__name__}: {error}"
    lacks_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
    of_torch = isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    return f"{reason}; {_LESS_MEMORY}" if lacks_memory or of_torch else reason


def _child(
    row: dict[str, Any], identity: Mapping[str, Any], job: ShardSetup, steps, parent: int
) -> None:
    """Train one run and save what came of it; the body of the child process."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    run, digest = identity["settings"], row["run_digest"]
    made_by = {column: row[column] for column in _MADE_BY}
    checkpoint = _checkpoint(run, digest, made_by, job)
    if job.content.of_program:
        os.setsid()  # the program and all that it starts are ended together
        ticks = _while_child_of(parent)
    else:
        ticks = _ticks(run["n_steps"], steps, parent)
    begun = time.perf_counter()
    trained, trace = None, ""
    try:
        row["device"] = registry.card("trainer", run["trainer"]).device(run)
        trained = train_run(identity, job.content, ticks, checkpoint)
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
    row.setdefault("seconds", checkpoint.seconds_before + time.perf_counter() - begun)
    try:
        if trace:
            print(trace, file=sys.stderr)
            job.store.failed(digest, trace)
        if trained is not None and trained.weights is not None and job.keep_weights:
            save_weights(trained.weights, job.store.weights(digest), **checkpoint.about)
        job.store.save(row, identity, **job.where)
    except (OSError, pa.ArrowException) as error:
        print(f"{job.store.folder(digest)}: {error}", file=sys.stderr, flush=True)
        os._exit(_CANNOT_SAVE)


def _checkpoint(
    run: Mapping[str, Any], digest: str, made_by: Mapping[str, str], job: ShardSetup
) -> Checkpoint:
    """Where a run goes on from, and keeps its models; a program of the user sees to both itself."""
    state = job.store.state(digest)
    if job.content.of_program:
        return Checkpoint(state, 0, made_by)
    steps_kept = checkpoint_steps(job.checkpoints, run["n_steps"])
    models = {step: job.store.checkpoint(digest, step) for step in steps_kept}
    about = {"run_digest": digest, "model": run["model"]}
    earlier = job.store.checkpoints(digest)
    return Checkpoint(state, job.checkpoint_minutes, made_by, models, about, earlier)


def _ticks(n_steps: int, steps, parent: int) -> Iterator[None]:
    """Count steps where the parent sees it; an orphan ends itself, its claim is then free."""
    for step in range(1, n_steps + 1):
        if os.getppid() != parent:
            os._exit(1)
        steps.value = step
        yield


def _while_child_of(parent: int) -> Iterator[None]:
    """As many ticks as there are while the parent lives."""
    while os.getppid() == parent:
        yield
