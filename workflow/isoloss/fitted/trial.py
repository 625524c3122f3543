"""The trial of a best mixture: trained beside others, and held against what its fit predicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from isoloss.core import tables
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.fitted.facts import Quantity
from isoloss.laws._mixture import LOSS, PREFIX

if TYPE_CHECKING:
    from isoloss.fitted.result import Fit


@dataclass(frozen=True)
class Contender:
    """A mixture that was trained.

    Attributes:
        weighting: its name.
        mixture: the share of every domain in its training tokens.
        losses: weighted mean of the validation losses by domain of its runs, by run id.
        predicted: what the fit predicts for its mixture.
    """

    weighting: str
    mixture: Mapping[str, float]
    losses: Mapping[str, float]
    predicted: Quantity

    @property
    def mean(self) -> float:
        """The mean loss over its runs."""
        return float(np.mean(list(self.losses.values())))


@dataclass(frozen=True)
class Trial:
    """Mixtures trained at the same settings, the one on trial first.

    Attributes:
        group: of the fit.
        weights: of the losses, by response.
        contenders: the best mixture of the fit, then the others by their mean loss.
        seed_sd: SD of the weighted loss over seeds, pooled over cells; NaN without two seeds.
    """

    group: str
    weights: Mapping[str, float]
    contenders: tuple[Contender, ...]
    seed_sd: float

    @property
    def best(self) -> Contender:
        """The mixture on trial."""
        return self.contenders[0]

    @property
    def others(self) -> tuple[Contender, ...]:
        """The mixtures that it is held against."""
        return self.contenders[1:]

    def lead(self, other: Contender) -> float:
        """By how much the mean loss of the best mixture is below that of another."""
        return other.mean - self.best.mean

    def verdict(self, other: Contender) -> str:
        """Whether the best mixture beats another: the lead against the SD of the loss over seeds.

        Example:
            >>> nothing = Quantity(1.0, 1.0, 1.0)
            >>> losses = {"a": 1.0, "b": 1.3}
            >>> one, other = (Contender(n, {}, {n: x}, nothing) for n, x in losses.items())
            >>> [Trial("all", {}, (one, other), sd).verdict(other) for sd in (0.1, 0.6, np.nan)]
            ['beats', 'does not beat', 'is below']
            >>> Trial("all", {}, (other, one), 0.1).verdict(one)
            'loses to'
        """
        lead = self.lead(other)
        if np.isnan(self.seed_sd):
            return "is below" if lead > 0 else "is not below"
        if lead > self.seed_sd:
            return "beats"
        return "loses to" if lead < -self.seed_sd else "does not beat"


def trial_of(
    fit: Fit,
    runs: pd.DataFrame,
    mixtures: pd.DataFrame,
    losses: pd.DataFrame,
    tried: str = "",
    group: str = "",
) -> Trial:
    """A best mixture and others in the runs of a sweep.

    Args:
        fit: of a mixture law, with `domain_weights`.
        runs: a `runs` table; those of the fit's group that are done count.
        mixtures: a `mixtures` table.
        losses: a `losses` table; the last step of a run counts.
        tried: the weighting on trial; if empty the one whose mixture is nearest to the fit's best.
        group: of the fit; the first if empty.

    Raises:
        IsolossError: the fit has no best mixture or no such group, or the sweep lacks runs of it.
    """
    group = group or fit.groups[0]
    weights = fit.facts.get("domain_weights")
    if weights is None:
        do = "give the fit `domain_weights`"
        raise IsolossError(Problem("trial", "the fit has no best mixture", do))
    if group not in fit.groups:
        reason = f"group {group!r} is not in it"
        raise IsolossError(Problem("trial", reason, nearest(group, fit.groups)))
    finished = _finished(fit, runs, group)
    shares, loss = _shares(fit, mixtures, finished), _weighted_losses(fit, losses, weights)
    cells = finished.groupby(tables.cell_columns(finished), dropna=False).ngroup()
    finished = finished.assign(weighted=finished["run_id"].map(loss), cell=cells)
    finished = finished.dropna(subset="weighted")
    if finished.empty:
        do = f"train the size of group {group!r}, or show another group"
        raise IsolossError(Problem("trial", f"no run of group {group!r} has its losses", do))
    contenders = [
        _contender(fit, group, name, of_weighting, shares.loc[of_weighting["run_id"].iloc[0]])
        for name, of_weighting in finished.groupby("weighting", sort=True)
    ]
    tried = tried or min(contenders, key=lambda one: _distance(fit, group, one)).weighting
    if tried not in {one.weighting for one in contenders}:
        known = [one.weighting for one in contenders]
        raise IsolossError(Problem("trial", f"no run has {tried!r}", nearest(tried, known)))
    contenders.sort(key=lambda one: (one.weighting != tried, one.mean))
    return Trial(group, weights, tuple(contenders), _seed_sd(finished))


def _finished(fit: Fit, runs: pd.DataFrame, group: str) -> pd.DataFrame:
    """The runs that are done and belong to a group of the fit."""
    finished, by = runs[runs["status"] == "done"], fit.facts.get("grouped_by", "group")
    return finished if len(fit.groups) == 1 else finished[finished[by].astype(str) == group]


def _shares(fit: Fit, mixtures: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The proportions of the runs, a row each, in the order of the fit's domains."""
    own = mixtures[mixtures["run_id"].isin(set(runs["run_id"]))]
    wide = (
        _of_tag(fit, own)
        .pivot(index="run_id", columns="domain", values="proportion")
        .add_prefix(PREFIX)
    )
    return wide.reindex(columns=fit.facts["domains"]).fillna(0.0)


def _weighted_losses(
    fit: Fit, losses: pd.DataFrame, weights: Mapping[str, float]
) -> Mapping[str, float]:
    """The weighted mean of the losses at the end, by run id; NaN where one is lacking."""
    last = _of_tag(fit, losses[losses["split"] == "valid"])
    last = last[last["step"] == last.groupby("run_id")["step"].transform("max")]
    wide = last.pivot(index="run_id", columns="domain", values="loss").add_prefix(LOSS)
    wide = wide.reindex(columns=list(weights))
    return (wide * pd.Series(weights)).sum(axis=1, skipna=False) / sum(weights.values())


def _of_tag(fit: Fit, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the tag that divides the rows of the fit into domains."""
    return table[table["tag_key"] == (fit.facts.get("tag_key") or table["tag_key"].min())]


def _contender(
    fit: Fit, group: str, weighting: str, runs: pd.DataFrame, shares: pd.Series
) -> Contender:
    predicted = fit.weighted_loss(fit.facts["domain_weights"], group, **shares).iloc[0]
    return Contender(
        weighting,
        {domain.removeprefix(PREFIX): float(share) for domain, share in shares.items()},
        dict(zip(runs["run_id"], runs["weighted"].astype(float), strict=True)),
        Quantity(*predicted[["loss", "low", "high"]].astype(float)),
    )


def _distance(fit: Fit, group: str, contender: Contender) -> float:
    """How far a mixture is from the best of the fit: half the sum of differences of its shares."""
    best = fit.tables["best_mixture"]
    best = best[best["group"] == group].set_index("domain")["proportion"]
    return float((best - pd.Series(contender.mixture)).abs().sum() / 2)


def _seed_sd(runs: pd.DataFrame) -> float:
    """SD of the weighted loss over seeds, pooled over cells; NaN where no cell has two."""
    cells = runs.groupby("cell")["weighted"]
    degrees = len(runs) - cells.ngroups
    squares = ((runs["weighted"] - cells.transform("mean")) ** 2).sum()
    return float(np.sqrt(squares / degrees)) if degrees else float("nan")
