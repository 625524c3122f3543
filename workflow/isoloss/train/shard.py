"""One job: train the runs of a shard, one after the other; a run that goes wrong is a row."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch

from isoloss import tables
from isoloss.batches import Stream, stream
from isoloss.progress import track
from isoloss.provenance import code_digest, run_code
from isoloss.store import FINAL, Store
from isoloss.train.run import DivergedError, run_digest, train_run


def train_shard(
    runs: Sequence[Mapping[str, Any]],
    rows: pd.DataFrame,
    indices: Mapping[str, pd.DataFrame],
    store: Store,
    *,
    valid_tokens: int,
    max_attempts: int,
    seed: int,
) -> pd.DataFrame:
    """Train every run of a shard that the store does not hold, on one thread.

    A run is saved in the store the moment it ends, so that whatever happens to the job later, no
    finished run is trained again. A run that failed is tried again, up to `max_attempts`.

    Args:
        runs: rows of the plan.
        rows: the rows table of the dataset.
        indices: weighting to its index table.
        store: finished runs.
        valid_tokens: validation tokens measured, rounded to whole windows.
        max_attempts: times that a failing run is started.
        seed: of the study.

    Returns:
        The `shard` table, in the order of `runs`.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    held_out = rows.index[rows["split"] == "valid"].to_numpy()
    valid = stream(rows, held_out, held_out * 0 + 1)
    ticks = track(sum(run["n_steps"] for run in runs), "training steps")
    streams: dict[str, Stream] = {}
    found = []
    for run in runs:
        weighting = run["weighting"]
        if weighting not in streams:
            index = indices[weighting]
            streams[weighting] = stream(rows, index["row"].to_numpy(), index["copies"].to_numpy())
        data = streams[weighting]
        valid_windows = valid_tokens // run["context"]
        code = code_digest(run_code(run["model"]), words=False)
        digest = run_digest(run, seed, data, valid, valid_windows, code)
        known = store.find(digest)
        attempts = known["attempts"] if known else 0
        if known and (known["status"] in FINAL or attempts >= max_attempts):
            found.append(known)
            continue
        row: dict[str, Any] = {
            "run_id": run["run_id"],
            "run_digest": digest,
            "attempts": attempts + 1,
            "device": "cpu",
        }
        store.note("start", digest, run["run_id"])
        begun = time.perf_counter()
        try:
            done = train_run(run, data, valid, valid_windows, seed, ticks)
        except DivergedError as error:
            row.update(status="diverged", status_reason=str(error))
        except Exception as error:  # the other runs go on; the reason is kept, the log has it all
            traceback.print_exc(file=sys.stderr)
            row.update(status="failed", status_reason=f"{type(error).__name__}: {error}")
        else:
            row.update(status="done", n_unique=done["n_unique"], loss_nats=done["loss_nats"])
            row.update(curve=done["curve"])
            row.update(losses=losses_by_tag(rows, *done["loss_by_row"], run["n_steps"]))
        row["seconds"] = time.perf_counter() - begun
        print(f"{run['run_id']}: {row['status']}, {row['seconds']:.1f} s", file=sys.stderr)
        store.save(row)
        found.append(store.find(digest))
    columns = tables.schema("shard").names
    return pd.DataFrame(found, columns=columns)


def losses_by_tag(rows: pd.DataFrame, positions, nats, counts, step: int) -> list[dict[str, Any]]:
    """Sum the loss of validation rows over every value of every tag.

    Args:
        rows: the rows table.
        positions: rows that were measured, by position.
        nats: their summed loss.
        counts: their tokens.
        step: optimiser steps done.
    """
    long = pd.DataFrame(
        [
            (key, value, nat, count)
            for tags, nat, count in zip(rows["tags"].iloc[positions], nats, counts, strict=True)
            for key, value in tags
        ],
        columns=["tag_key", "domain", "nats", "n_tokens"],
    )
    sums = long.groupby(["tag_key", "domain"], as_index=False, sort=True).sum()
    return [
        {
            "step": step,
            "split": "valid",
            "tag_key": s.tag_key,
            "domain": s.domain,
            "loss_nats": s.nats / s.n_tokens,
            "n_tokens": int(s.n_tokens),
        }
        for s in sums.itertuples()
    ]
