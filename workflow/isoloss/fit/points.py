"""What a law is fitted to: runs at their end, points along their training, or their mixtures."""

from __future__ import annotations

import numpy as np
import pandas as pd

from isoloss.core import tables
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.fitted import OF_RUN
from isoloss.laws._mixture import LOSS, PREFIX

KINDS = ("runs", "curves", "isoflop")
PER_DECADE = 8  # budgets at which `isoflop` reads the curves
_GROWING = ("n_samples", "n_flops", "n_flops_6nd", "n_flops_model")  # along a run, as D


def points(runs: pd.DataFrame, kind: str = "runs", curves: pd.DataFrame | None = None):
    """The rows that a law is fitted to.

    Args:
        runs: a `runs` table.
        kind: `runs`, a row a run, with the validation loss at its end; `curves`, a row a logged
            point of the training curve of every finished run; `isoflop`, those curves at common
            budgets, as approach 1 of Hoffmann et al. 2022 (arXiv:2203.15556) reads them:
            PER_DECADE of them a decade, between points straight in logarithms.
        curves: a `curves` table, needed unless kind is `runs`.

    Returns:
        For `runs` the runs. Else their columns with the training loss in `loss`, a `run_id`
        of their own, the run in `of_run` and the `step`. The loss of a point is the mean since
        the point before, so its D is in the middle between them; C grows with D, and the distinct
        tokens are taken to be D until they are those of the run.

    Raises:
        IsolossError: no such kind, or there are no curves.
    """
    if kind not in KINDS:
        raise IsolossError(Problem("points", f"unknown {kind!r}", nearest(kind, KINDS)))
    if kind == "runs":
        return runs
    finished = runs[runs["status"] == "done"]
    along = tables.empty("curves") if curves is None else curves
    along = along[along["run_id"].isin(set(finished["run_id"]))].sort_values(["run_id", "step"])
    if along.empty:
        do = "fit the runs at their ends (points: runs), or a sweep that was trained here"
        raise IsolossError(Problem(f"points {kind}", "no run has a training curve", do))
    before = along.groupby("run_id")["n_samples"].shift(fill_value=0)
    along = along.assign(seen=(along["n_samples"] + before) / 2).drop(columns="n_samples")
    rows = finished.drop(columns="loss").merge(along, on="run_id", sort=False)
    rows = _grown(rows, rows["seen"] / rows["n_samples"]).drop(columns="seen")
    rows = rows.assign(**{OF_RUN: rows["run_id"]})
    if kind == "isoflop":
        rows = _at_budgets(rows).drop(columns="step")
        where = rows["n_flops"].map("{:.4g} FLOP".format)
    else:
        where = rows["step"].map("step {}".format)
    rows["n_unique"] = np.minimum(rows["n_unique"].astype(float), rows["n_samples"])
    if "repeats" in rows:
        rows["repeats"] = rows["n_samples"] / rows["n_unique"]
    return rows.assign(run_id=rows[OF_RUN] + " at " + where).reset_index(drop=True)


def _grown(rows: pd.DataFrame, factor) -> pd.DataFrame:
    """Points with as many times the data and compute."""
    return rows.assign(**{c: rows[c].astype(float) * factor for c in _GROWING if c in rows})


def _at_budgets(rows: pd.DataFrame) -> pd.DataFrame:
    """Points of every run at common budgets that lie between its first point and its last."""
    pieces = []
    for _, curve in rows.groupby(OF_RUN, sort=False):
        curve = curve.sort_values("n_flops")
        log_c = np.log10(curve["n_flops"].to_numpy())
        budgets = np.arange(np.ceil(log_c[0] * PER_DECADE), log_c[-1] * PER_DECADE) / PER_DECADE
        before = np.clip(np.searchsorted(log_c, budgets) - 1, 0, len(log_c) - 1)
        loss = np.exp(np.interp(budgets, log_c, np.log(curve["loss"].to_numpy(float))))
        piece = _grown(curve.iloc[before], 10 ** (budgets - log_c[before]))
        pieces.append(piece.assign(loss=loss, n_flops=10**budgets))
    return pd.concat(pieces)


def by_domain(
    runs: pd.DataFrame, mixtures: pd.DataFrame, losses: pd.DataFrame, tag_key: str | None = None
) -> pd.DataFrame:
    """Runs with what a mixture law reads: p_<domain> and loss_<domain>, by a tag.

    Args:
        runs: a `runs` table.
        mixtures: a `mixtures` table.
        losses: a `losses` table; the last step of a run counts.
        tag_key: the tag that divides the rows into domains; may be None where there is one.

    Raises:
        IsolossError: no such tag, or several and none named.
    """
    known = tuple(sorted(set(mixtures["tag_key"])))
    if tag_key is None and len(known) == 1:
        tag_key = known[0]
    if tag_key is None:
        do = f"name one: {', '.join(known)}"
        raise IsolossError(Problem("tag_key", f"the rows have {len(known)} tags", do))
    if tag_key not in known:
        raise IsolossError(Problem("tag_key", f"no tag {tag_key!r}", nearest(tag_key, known)))
    shares = mixtures[mixtures["tag_key"] == tag_key]
    last = losses[(losses["tag_key"] == tag_key) & (losses["split"] == "valid")]
    last = last[last["step"] == last.groupby("run_id")["step"].transform("max")]
    for prefix, table, value in (
        (PREFIX, shares, "proportion"),
        (LOSS, last, "loss"),
    ):
        wide = table.pivot(index="run_id", columns="domain", values=value).add_prefix(prefix)
        runs = runs.merge(wide, left_on="run_id", right_index=True, how="left")
    return runs
