"""Mixtures as laws need them: proportions that are numbers and sum to one, losses worth a fit."""

from __future__ import annotations

import numpy as np
import pandas as pd

from isoloss.core import tables
from isoloss.core.problems import IsolossError, Problem
from isoloss.laws._mixture import LOSS, PREFIX

SAME_SUM = 0.05  # how far from 1 a sum of proportions may be from rounding
ENOUGH = 0.5  # of the runs of a group, that must have a loss for it to be fitted


def domains_of(runs: pd.DataFrame) -> list[str]:
    """The columns of proportions."""
    return [c for c in runs if str(c).startswith(PREFIX) and not str(c).endswith(tables.SET_ASIDE)]


def mixtures(runs: pd.DataFrame, place: str) -> pd.DataFrame:
    """The runs with sound mixtures; the others get status `dropped` and a reason.

    A proportion that is missing counts 0. Proportions whose sum is within SAME_SUM of 1 are
    divided by it (they were rounded); other sums are left as they are. Runs with a proportion
    below 0, without end or no number, or with nothing but zeros, are dropped. What is no number
    among the losses is missing.

    Args:
        runs: a `runs` table with columns p_<domain>.
        place: who asks, for errors.

    Raises:
        IsolossError: there is no column of proportions.
    """
    domains = domains_of(runs)
    if not domains:
        do = "name the proportions p_<domain>, such as p_web"
        raise IsolossError(Problem(place, "no column of proportions", do))
    numbers = runs[domains].apply(pd.to_numeric, errors="coerce").astype(float)
    unread = (numbers.isna() & runs[domains].notna()).to_numpy()
    shares = numbers.fillna(0.0).to_numpy(copy=True)
    bad = (unread | ~np.isfinite(shares) | (shares < 0)).any(axis=1)
    with np.errstate(invalid="ignore"):
        total = shares.sum(axis=1)
    empty = ~bad & (total <= 0)
    rounded = ~bad & (np.abs(total - 1) <= SAME_SUM)
    shares[rounded] /= total[rounded, None]
    losses = {c: pd.to_numeric(runs[c], errors="coerce") for c in responses_of(runs)}
    runs = runs.assign(**dict(zip(domains, shares.T, strict=True)), **losses)
    for wrong, reason in (
        (bad, "a proportion is negative or no finite number"),
        (empty, "no proportion is above 0"),
    ):
        lost = wrong & (runs["status"] == "done").to_numpy()
        if lost.any():
            runs["status"] = runs["status"].mask(lost, "dropped")
            runs["status_reason"] = runs["status_reason"].mask(lost, reason)
    return runs


def responses_of(runs: pd.DataFrame) -> list[str]:
    """The columns of losses by domain."""
    return [c for c in runs if str(c).startswith(LOSS) and not str(c).endswith(tables.SET_ASIDE)]


def lacking(runs: pd.DataFrame, response: str, need: int) -> str:
    """Why a loss of these runs is not fitted; empty where it is.

    Args:
        runs: of a group.
        response: column of the loss.
        need: runs that the law needs.
    """
    finished = runs[(runs["status"] == "done") & (runs["fit_weight"] > 0)]
    loss = finished[response].to_numpy(float)
    known = int((np.isfinite(loss) & (loss > 0)).sum())
    if known < need:
        return f"{known} runs have it, the law needs {need}"
    if known < ENOUGH * len(finished):
        return f"{known} of {len(finished)} runs have it"
    return ""
