"""The stage aggregate: all runs of a sweep, or of a table made elsewhere, written into a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from isoloss.aggregate import sweep
from isoloss.aggregate.observed import with_observed
from isoloss.aggregate.stage import WRITES
from isoloss.aggregate.stage import rules as stated
from isoloss.aggregate.table import Rules, read_runs_table
from isoloss.core import tables
from isoloss.core.escape import say
from isoloss.core.problems import IsolossError, Problem
from isoloss.core.sources import Source


def run(
    specification: Mapping[str, Any],
    plan: Sequence[Path],
    shards: Sequence[Path],
    audits: Sequence[Path],
    observed: Sequence[Path],
    out: Path,
    facts: Mapping[str, Any],
) -> list[Path]:
    """Gather the runs of a sweep.

    Args:
        specification: what matters to the job: `sweep`, `token`, what D counts, `loss_unit`, and
            the phases of `schedules`; of a round also the sweeps of all `rounds` up to it; the
            columns of runs that observations give (`observed`), where there are any.
        plan: runs.parquet of the plan; of a round, of all sweeps up to it.
        shards: tables of all shards.
        audits: audit.parquet of every weighting of the sweep.
        observed: tables of the observations that are joined to its runs.
        out: folder for `runs`, `losses`, `curves`, `mixtures` and `timing`.
        facts: kept in all files.

    Returns:
        The files.

    Raises:
        IsolossError: no run of the sweep finished.
    """
    gathered = sweep.gather(_planned(specification, plan), sweep.columns_of(shards))
    runs = gathered.runs
    _check_some_finished(runs, specification["sweep"])
    units = {key: specification[key] for key in ("token", "loss_unit")}
    if columns := specification.get("observed"):
        runs = with_observed(runs, columns, observed)
        units["units"] = {
            name: about.get("unit", "1") for own in columns.values() for name, about in own.items()
        }
    of_weighting = {tables.facts(f)["weighting"]: tables.frame(f, "audit") for f in audits}
    long = {name: gathered.unnested(name) for name in sweep.NESTED}
    long["mixtures"] = sweep.mixtures(gathered.runs, of_weighting, specification["schedules"])
    files = {name: out / f"{name}.parquet" for name in WRITES}
    for name, table in {"runs": runs, "timing": gathered.timing}.items():
        tables.write(name, table, files[name], {**facts, **units})
    for name, batches in long.items():
        sweep.write(name, batches, files[name], {**facts, **units})
    return list(files.values())


def _planned(specification: Mapping[str, Any], plans: Sequence[Path]) -> pd.DataFrame:
    """The planned runs; of rounds all up to this one, with the round in which each came first."""
    if "rounds" not in specification:
        (plan,) = plans
        return tables.frame(plan, "plan")
    by_sweep = {tables.facts(plan)["sweep"]: tables.frame(plan, "plan") for plan in plans}
    each = [by_sweep[sweep].assign(round=i) for i, sweep in enumerate(specification["rounds"])]
    planned = pd.concat([plan for plan in each if len(plan)], ignore_index=True)
    return planned.drop_duplicates("run_id", ignore_index=True)


def _check_some_finished(runs: pd.DataFrame, sweep: str) -> None:
    """Raise an error with the reasons if no run of the sweep finished."""
    if (runs["status"] == "done").any():
        return
    counts = runs["status"].value_counts().sort_index()
    ends = ", ".join(f"{count} {status}" for status, count in counts.items())
    first = runs.iloc[0]
    reason = f"none of its {len(runs)} runs finished ({ends}); the first, {first['run_id']}: "
    remedy = "`python -m isoloss status STUDY` shows all; "
    if (runs["status"] == "failed").any():
        remedy += "fix the cause, then `python -m isoloss retry STUDY` trains them again"
    else:
        remedy += "change the settings: the same ones diverge again"
    raise IsolossError(Problem(f"sweep {sweep}", f"{reason}{first['status_reason']}", remedy))


def run_table(
    specification: Mapping[str, Any], source: Source, out: Path, facts: Mapping[str, Any]
) -> list[Path]:
    """Read a table of runs made elsewhere.

    Args:
        specification: what matters to the job: what the study says about the table (its
            `rules`), and the digest of its bytes.
        source: its bytes.
        out: folder for `runs`; the other tables are empty.
        facts: kept in all files.

    Returns:
        The files.
    """
    if source.digest != specification["content"]:
        raise IsolossError(Problem(source.label, "has changed since it was read", "run again"))
    rules = Rules(**stated(specification), by_laws=True)
    gathered, reading = read_runs_table(source, rules)
    for note in reading.notes:
        say(f"{source.label}: {note}")
    units = {"token": "token", "loss_unit": reading.loss_unit, "notes": list(reading.notes)}
    return tables.write_all(gathered, out, {**facts, **units})
