"""One job: train the runs of a shard, one after the other; a run that goes wrong is a row.

They are trained in a process of their own: a run that is killed, by lack of memory or by hand,
takes no other with it. That process saves what came of a run itself.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from isoloss.core import tables
from isoloss.core.progress import Progress
from isoloss.records import environment
from isoloss.records.store import FINAL, Store
from isoloss.train.identity import RunContent, run_digest
from isoloss.train.programs import Programs
from isoloss.train.watch import Trainer


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
        checkpoint_minutes: between two states of a run that has not ended; 0 for none but
            the one of a run that is told to end.
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
        TerminatedError: the job was told to end; the next one goes on from what is kept.
    """
    environment.commit()  # looked up once, not in every child
    unit = "runs" if job.content.of_program else "training steps"
    progress = Progress(sum(run.get("n_steps", 1) for run in runs), unit)
    trained: dict[str, dict[str, Any]] = {}
    shared = {"seed": job.seed, "valid_tokens": job.valid_tokens, "code": job.code}
    identities = {run["run_id"]: job.content.identity(run, **shared) for run in runs}
    digests = {run_id: run_digest(identity) for run_id, identity in identities.items()}
    # first what was never begun, and has no folder: a run that takes the whole machine down must
    # not block the others
    left = sorted(runs, key=lambda run: job.store.folder(digests[run["run_id"]]).is_dir())
    cards = {identity["settings"]["trainer"] for identity in identities.values()}
    with Trainer(job, cards, progress) as trainer:
        for wait in (False, True):
            busy = []
            for run in left:
                run_id = run["run_id"]
                row = _trained(run, digests[run_id], identities[run_id], trainer, wait)
                if row is None:
                    busy.append(run)
                else:
                    trained[run_id] = {**row, "run_id": run_id}
            left = busy
    progress.close()
    rows = [trained[run["run_id"]] for run in runs]
    return pd.DataFrame(rows, columns=tables.schema("shard").names)


def _trained(
    run: Mapping[str, Any],
    digest: str,
    identity: Mapping[str, Any],
    trainer: Trainer,
    wait: bool,
) -> dict[str, Any] | None:
    """A run, from the store or trained now; None if another process has it and `wait` is False."""
    job, progress = trainer.job, trainer.progress
    before, steps = progress.done, run.get("n_steps", 1)
    known = job.store.find(digest, job.among)
    if not _ended(known, job.max_attempts):
        trainer.get_ready()
        with job.store.claim(digest, wait) as claim:
            if claim is None:
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
                    **trainer.versions,
                }
                known = trainer.train(row, identity, claim)
                job.store.remember(known)
                line = f"{run['run_id']}: {known['status']}, {known['seconds']:.1f} s"
                print(line, file=sys.stderr, flush=True)
    progress.reach(before + steps)
    if known["run_id"] != run["run_id"]:
        job.store.note("same", digest, run["run_id"], **job.where)
    return known


def _ended(known: Mapping[str, Any] | None, max_attempts: int) -> bool:
    return known is not None and (known["status"] in FINAL or known["attempts"] >= max_attempts)
