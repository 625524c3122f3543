"""The stage aggregate: all runs of a sweep, or of a table made elsewhere, written into a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from isoloss import tables
from isoloss.aggregate.sweep import gather_sweep
from isoloss.aggregate.table import read_runs_table
from isoloss.problems import IsolossError, problem
from isoloss.sources import Source


def run(
    plan: Path, shards: Sequence[Path], audits: Sequence[Path], out: Path, facts: Mapping[str, Any]
) -> list[Path]:
    """Gather the runs of a sweep.

    Args:
        plan: runs.parquet of the plan.
        shards: tables of all shards.
        audits: audit.parquet of every weighting of the sweep.
        out: folder for `runs`, `losses`, `curves`, `mixtures` and `timing`.
        facts: kept in all files.

    Returns:
        The files.

    Raises:
        IsolossError: no run of the sweep finished.
    """
    gathered = gather_sweep(
        tables.frame(plan, "plan"),
        [tables.frame(file, "shard") for file in shards],
        {tables.facts(file)["weighting"]: tables.frame(file, "audit") for file in audits},
    )
    _check_some_finished(gathered["runs"], facts["sweep"])
    return tables.write_all(gathered, out, facts)


def _check_some_finished(runs: pd.DataFrame, sweep: str) -> None:
    """Stop at the end of training where there is nothing to go on with, and say why."""
    if (runs["status"] == "done").any():
        return
    counts = runs["status"].value_counts().sort_index()
    ends = ", ".join(f"{count} {status}" for status, count in counts.items())
    first = runs.iloc[0]
    reason = f"none of its {len(runs)} runs finished ({ends}); the first, {first['run_id']}: "
    remedy = "`python -m isoloss status STUDY` shows all, `retry` has them trained again"
    raise IsolossError(problem(f"sweep {sweep}", f"{reason}{first['status_reason']}", remedy))


def run_table(
    source: Source, table: Mapping[str, Any], out: Path, facts: Mapping[str, Any]
) -> list[Path]:
    """Read a table of runs made elsewhere.

    Args:
        source: its bytes.
        table: the study's entry: columns, keep.
        out: folder for `runs`; the other tables are empty.
        facts: kept in all files.

    Returns:
        The files.
    """
    gathered = read_runs_table(source, table["columns"], table["keep"])
    return tables.write_all(gathered, out, facts)
