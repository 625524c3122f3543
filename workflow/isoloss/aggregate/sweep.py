"""The tables of a sweep: plan joined with shards, losses and curves unnested, mixtures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from isoloss.core import tables
from isoloss.core.phases import Phases, phase_steps
from isoloss.core.problems import Problem, TableError

# what a user's program can say of a run, where the plan does not know it
QUANTITIES = ("n_params", "n_samples", "n_flops")
MEASURED = "loss_nats"  # the loss in a shard; gathered, its unit is a fact of the table


def gather_sweep(
    plan: pd.DataFrame,
    shards: Sequence[pd.DataFrame],
    audits: Mapping[str, pd.DataFrame],
    schedules: Mapping[str, Phases],
) -> dict[str, pd.DataFrame]:
    """All `aggregate` tables of a sweep, in the order of the plan.

    Args:
        plan: the sweep spelled out; with the column `round`, several rounds of it.
        shards: results of all shards; every planned run once, and in each round that chose it.
        audits: weighting to the audit of its expansion.
        schedules: schedule of weightings to its phases.

    Raises:
        TableError: a planned run has no result.
    """
    results = pd.concat([s for s in shards if len(s)], ignore_index=True).set_index("run_id")
    results = results[~results.index.duplicated()].rename(columns={MEASURED: "loss"})
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
    nested = {"losses": "losses", "curves": "curve"}
    long = {name: _unnest(name, results, column) for name, column in nested.items()}
    return {
        "runs": runs,
        "losses": long["losses"],
        "curves": long["curves"],
        "mixtures": _mixtures(plan, audits, schedules),
        "timing": results[tables.schema("timing").names],
    }


def _mixtures(
    plan: pd.DataFrame, audits: Mapping[str, pd.DataFrame], schedules: Mapping[str, Phases]
) -> pd.DataFrame:
    """What every run was trained on: under a schedule the mean of its phases by their steps."""
    if not audits:
        return tables.empty("mixtures")
    parts = []
    for run in plan.itertuples():
        phases = schedules.get(run.weighting, [{"weighting": run.weighting}])
        steps = phase_steps(phases, run.n_steps)
        parts += [
            (run.run_id, phase["weighting"], count / run.n_steps)
            for phase, count in zip(phases, steps, strict=True)
        ]
    shares = pd.DataFrame(parts, columns=["run_id", "weighting", "share"])
    proportions = pd.concat(_proportions(weighting, audit) for weighting, audit in audits.items())
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


def _unnest(name: str, results: pd.DataFrame, column: str) -> pd.DataFrame:
    pairs = zip(results["run_id"], results[column], strict=True)
    records = [
        {"run_id": run_id, **entry, "loss": entry[MEASURED]}
        for run_id, entries in pairs
        if entries is not None
        for entry in entries
    ]
    return pd.DataFrame(records, columns=tables.schema(name).names)
