"""The stage train: the runs of one shard, from the store or trained now, written as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isoloss import tables
from isoloss.problems import IsolossError
from isoloss.store import Store
from isoloss.train.identity import VERSIONS, Content
from isoloss.train.shard import Job, train_shard


def run(
    runs: Sequence[Mapping[str, Any]],
    rows: Path,
    indices: Sequence[Path],
    store: Path,
    settings: Mapping[str, Any],
    out: Path,
    facts: Mapping[str, Any],
) -> list[Path]:
    """Train the runs of a shard that the store does not hold.

    Args:
        runs: rows of the plan.
        rows: rows.parquet of the dataset.
        indices: index.parquet of every weighting that the runs use.
        store: folder of finished runs.
        settings: what the runs have in common; see `Job`.
        out: file for the `shard` table.
        facts: kept in the file.

    Returns:
        The file.

    Raises:
        IsolossError: the index of a weighting is lacking.
    """
    known = {tables.facts(file)["weighting"]: tables.frame(file, "index") for file in indices}
    lacking = sorted({run["weighting"] for run in runs} - set(known))
    if lacking:
        raise IsolossError(f"--index lacks the weighting {lacking[0]!r}")
    content = Content(tables.frame(rows, "rows"), known)
    shard = train_shard(runs, Job(content=content, store=Store(store), **settings))
    tables.write("shard", shard, out, facts)
    return [out]


def versions(shard: Path) -> list[dict[str, str]]:
    """The versions that the runs of a `shard` table were trained with, each combination once."""
    columns = tables.frame(shard, "shard")[list(VERSIONS)].rename(columns=VERSIONS)
    return columns.drop_duplicates().to_dict("records")
