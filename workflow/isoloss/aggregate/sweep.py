"""The tables of a sweep: plan joined with shards, losses and curves unnested, mixtures.

What is one row a run is in memory as a whole. Losses, curves and mixtures, which have many, are
made in blocks of runs and come in batches; of these, the nested column of all shards is in memory
in the form of Arrow, because a sweep's runs lie in its shards in another order than in its plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from isoloss.core import tables
from isoloss.core.phases import Phases, phase_steps
from isoloss.core.problems import Problem, TableError

# what a user's program can say of a run, where the plan does not know it
QUANTITIES = ("n_params", "n_samples", "n_flops")
MEASURED = "loss_nats"  # the loss in a shard; gathered, its unit is a fact of the table
NESTED = {"losses": "losses", "curves": "curve"}  # table to the column of a shard that it is in
BATCH_ROWS = 1 << 20  # rows of a row group, as Arrow cuts a table that it writes in one piece
_BLOCK = 2000  # runs that are unnested at once
# some columns of all shards, by their names
Columns = Callable[[Sequence[str]], pa.Table]


@dataclass(frozen=True)
class Gathered:
    """The runs of a sweep in the order of its plan.

    Attributes:
        runs: the `runs` table.
        timing: the `timing` table.
        columns: by which columns of all shards are read.
        rows: of each run, its row among those of all shards.
    """

    runs: pd.DataFrame
    timing: pd.DataFrame
    columns: Columns
    rows: np.ndarray

    def unnested(self, name: str) -> Iterator[pa.Table]:
        """Batches of the table `losses` or `curves`: BATCH_ROWS rows each, the last one the rest.

        Args:
            name: of the table.
        """
        return _in_batches(self._blocks(name))

    def _blocks(self, name: str) -> Iterator[pa.Table]:
        lists = self.columns([NESTED[name]]).column(0).combine_chunks()
        run_ids = pa.array(self.runs["run_id"], pa.string())
        for begin in range(0, len(self.rows), _BLOCK):
            of_block = lists.take(pa.array(self.rows[begin : begin + _BLOCK]))
            entries = of_block.flatten()
            ids = run_ids.slice(begin, _BLOCK).take(pc.list_parent_indices(of_block))
            yield _unnested(name, ids, entries)


def gather(plan: pd.DataFrame, columns: Columns) -> Gathered:
    """The runs of a sweep, in the order of the plan.

    Args:
        plan: the sweep spelled out; with the column `round`, several rounds of it.
        columns: reads columns of all shards; every planned run once, and in each round that
            chose it.

    Raises:
        TableError: a planned run has no result.
    """
    nested = set(NESTED.values())
    of_runs = [name for name in tables.schema("shard").names if name not in nested]
    everything = columns(of_runs).to_pandas()
    everything = everything.assign(row=np.arange(len(everything))).set_index("run_id")
    results = everything[~everything.index.duplicated()].rename(columns={MEASURED: "loss"})
    lacking = plan.loc[~plan["run_id"].isin(results.index), "run_id"]
    if len(lacking):
        raise TableError(Problem("shards", f"no result for {lacking.iloc[0]}", "train it"))
    results = results.loc[plan["run_id"]].reset_index()
    if "round" in plan:  # where a run is chosen again in other words, it counts once
        first = ~results["run_digest"].duplicated()
        plan, results = plan[first].reset_index(drop=True), results[first].reset_index(drop=True)
    took = ["run_digest", "n_unique", "loss", "status", "status_reason"]
    runs = pd.concat([plan.drop(columns="shard"), results[took]], axis=1)
    runs = runs.assign(group=tables.WHOLE, fit_weight=1.0)
    unplanned = [name for name in QUANTITIES if runs[name].isna().any()]
    runs = runs.assign(**{c: runs[c].astype(float).fillna(results[c]) for c in unplanned})
    runs = runs.assign(repeats=_repeats(runs))
    timing = results[tables.schema("timing").names]
    return Gathered(runs, timing, columns, results["row"].to_numpy())


def gather_sweep(
    plan: pd.DataFrame,
    shards: Sequence[pd.DataFrame],
    audits: Mapping[str, pd.DataFrame],
    schedules: Mapping[str, Phases],
) -> dict[str, pd.DataFrame]:
    """All `aggregate` tables of a sweep in memory, in the order of the plan.

    Args:
        plan: the sweep spelled out; with the column `round`, several rounds of it.
        shards: results of all shards; every planned run once, and in each round that chose it.
        audits: weighting to the audit of its expansion.
        schedules: schedule of weightings to its phases.

    Raises:
        TableError: a planned run has no result.
    """
    whole = pa.concat_tables(tables.conform("shard", shard) for shard in shards)
    gathered = gather(plan, whole.select)
    long = {name: gathered.unnested(name) for name in NESTED}
    long["mixtures"] = mixtures(gathered.runs, audits, schedules)
    frames = {name: _joined(name, batches).to_pandas() for name, batches in long.items()}
    return {"runs": gathered.runs, **frames, "timing": gathered.timing}


def columns_of(files: Sequence[Path]) -> Columns:
    """Reads columns of all shards from their files, in the order of the files."""
    return partial(_read, files)


def _read(files: Sequence[Path], names: Sequence[str]) -> pa.Table:
    kinds = pa.schema([tables.schema("shard").field(name) for name in names])
    parts = (
        pa.Table.from_batches([batch]).select(names).cast(kinds)
        for file in files
        for batch in tables.batches(file, "shard", names)
    )
    return pa.concat_tables([kinds.empty_table(), *parts])


def write(name: str, batches: Iterator[pa.Table], path: Path, facts: Mapping[str, Any]) -> None:
    """Write a table that comes in batches: the same bytes as if it came in one piece.

    Args:
        name: of the table.
        batches: of BATCH_ROWS rows each but the last.
        path: of the file.
        facts: kept in it.
    """
    first = next(batches, None)
    if first is None:
        tables.write(name, tables.schema(name).empty_table(), path, facts)
        return
    with tables.batch_writer(name, path, facts) as write_batch:
        write_batch(first)
        del first
        for batch in batches:
            write_batch(batch)


def mixtures(
    plan: pd.DataFrame, audits: Mapping[str, pd.DataFrame], schedules: Mapping[str, Phases]
) -> Iterator[pa.Table]:
    """What every run was trained on, in batches: under a schedule the mean of its phases by steps.

    Args:
        plan: `run_id`, `weighting` and `n_steps` of every run, such as a `runs` table.
        audits: weighting to the audit of its expansion.
        schedules: schedule of weightings to its phases.
    """
    if not audits:
        return iter(())
    proportions = pd.concat(_proportions(weighting, audit) for weighting, audit in audits.items())
    blocks = (plan.iloc[begin : begin + _BLOCK] for begin in range(0, len(plan), _BLOCK))
    each = (_mixtures(block, proportions, schedules) for block in blocks)
    return _in_batches(tables.conform("mixtures", table) for table in each)


def _mixtures(
    plan: pd.DataFrame, proportions: pd.DataFrame, schedules: Mapping[str, Phases]
) -> pd.DataFrame:
    parts = []
    for run_id, weighting, n_steps in zip(
        *(plan[key].tolist() for key in ("run_id", "weighting", "n_steps")), strict=True
    ):
        phases = schedules.get(weighting, [{"weighting": weighting}])
        steps = phase_steps(phases, n_steps)
        parts += [
            (run_id, phase["weighting"], count / n_steps)
            for phase, count in zip(phases, steps, strict=True)
        ]
    shares = pd.DataFrame(parts, columns=["run_id", "weighting", "share"])
    each = shares.merge(proportions, on="weighting")
    each = each.assign(proportion=each["proportion"] * each["share"])
    by_domain = each.groupby(["run_id", "tag_key", "domain"], sort=False)["proportion"]
    return by_domain.sum(min_count=1).reset_index()


def _proportions(weighting: str, audit: pd.DataFrame) -> pd.DataFrame:
    """The share of every value of a tag in the training tokens of a weighting."""
    total = audit.groupby("tag_key")["tokens_after"].transform("sum")
    return pd.DataFrame(
        {
            "weighting": weighting,
            "tag_key": audit["tag_key"],
            "domain": audit["tag_value"],
            "proportion": audit["tokens_after"] / total,
        }
    )


def _repeats(runs: pd.DataFrame) -> pd.Series:
    """How often every distinct example was trained on, on average; NaN where it is not known."""
    distinct = runs["n_unique"].astype(float)
    return runs["n_samples"].astype(float) / distinct.where(distinct > 0)


def _unnested(name: str, run_ids: pa.Array, entries: pa.StructArray) -> pa.Table:
    """Entries of lists as rows of a table.

    Args:
        name: of the table.
        run_ids: the run of each entry.
        entries: the points or losses.
    """
    arrays = [run_ids]
    for field in tables.schema(name):
        if field.name != "run_id":
            values = pc.struct_field(entries, MEASURED if field.name == "loss" else field.name)
            if pa.types.is_floating(values.type):  # what is not a number is empty in a table
                values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
            arrays.append(values)
    return pa.table(arrays, schema=tables.schema(name))


def _in_batches(parts: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows of some tables in batches of BATCH_ROWS, the last one the rest."""
    waiting: list[pa.Table] = []
    rows = 0
    for part in parts:
        waiting.append(part)
        rows += len(part)
        while rows >= BATCH_ROWS:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, BATCH_ROWS).combine_chunks()
            waiting, rows = [whole.slice(BATCH_ROWS)], rows - BATCH_ROWS
    if rows:
        yield pa.concat_tables(waiting).combine_chunks()


def _joined(name: str, batches: Iterable[pa.Table]) -> pa.Table:
    """A table that comes in batches, in one piece."""
    return pa.concat_tables([tables.schema(name).empty_table(), *batches])
