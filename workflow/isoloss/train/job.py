"""The stage train: the runs of one shard, from the store or trained now, written as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isoloss.core import tables
from isoloss.core.problems import IsolossError
from isoloss.records.store import Store
from isoloss.tasks._content import Files
from isoloss.train.identity import VERSIONS, RunContent
from isoloss.train.plan import runs_digest
from isoloss.train.programs import Programs


def run(
    specification: Mapping[str, Any],
    runs: Sequence[Mapping[str, Any]],
    rows: Sequence[Path],
    tokens: Sequence[Path],
    indices: Sequence[Path],
    store: Path,
    settings: Mapping[str, Any],
    out: Path,
    facts: Mapping[str, Any],
) -> list[Path]:
    """Train the runs of a shard that the store does not hold.

    Args:
        specification: what matters to the job: `task`, `seed`, `valid_tokens`, the digest of
            `runs` (not of a round), and the phases of their `schedules`; of a user's program
            `command`, `names` of its settings, `content` and `reading` in the place of a task and
            schedules.
        runs: rows of the plan.
        rows: rows.parquet of the dataset; none for a user's program.
        tokens: tokens.npy of the dataset; none for a user's program.
        indices: index.parquet of every weighting that the runs use.
        store: folder of finished runs.
        settings: what else the runs have in common; see `ShardSetup`.
        out: file for the `shard` table.
        facts: kept in the file.

    Returns:
        The file.

    Raises:
        IsolossError: the index of a weighting is lacking, or these are not the runs specified.
    """
    if runs_digest(runs) != specification.get("runs", runs_digest(runs)):
        raise IsolossError("the runs are not those of the job's specification; run again")
    if not runs:  # such as those of a round that trains nothing
        tables.write("shard", tables.empty("shard"), out, facts)
        return [out]
    from isoloss.train.shard import ShardSetup, train_shard  # takes seconds to import

    of_study = {key: specification[key] for key in ("seed", "valid_tokens")}
    if "command" in specification:
        keys = ("command", "names", "content", "reading")
        content = Programs(*(specification[key] for key in keys))
    else:
        weightings = {run["weighting"] for run in runs}
        files = Files(rows, tokens, indices)
        about = specification["task"], weightings, files, specification["schedules"]
        content = RunContent.read(*about)
    segment = ".".join(settings.get("where", {}).values()) or "runs"
    indexed = Store(store).indexed(segment)
    shard = train_shard(runs, ShardSetup(content, indexed, **of_study, **settings))
    tables.write("shard", shard, out, facts)
    indexed.write_index(segment, shard["run_digest"])
    return [out]


def versions(shard: Path) -> list[dict[str, str]]:
    """The versions that the runs of a `shard` table were trained with, each combination once."""
    columns = tables.frame(shard, "shard")[list(VERSIONS)].rename(columns=VERSIONS)
    return columns.drop_duplicates().to_dict("records")
