"""How far an answer lies outside the runs, and in which variable: as a fact, and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from isoloss.core import units
from isoloss.fitted.decisions import INSIDE, FitDecisions, allocation
from isoloss.fitted.names import FARTHEST


@dataclass(frozen=True)
class Reach:
    """How far outside the runs something lies.

    Attributes:
        factor: by which, at least 1; NaN where the runs are not known, and infinite for a value at
            or below 0 where all runs are above 0.
        variable: that lies farthest outside; empty inside.
    """

    factor: float
    variable: str = ""

    @property
    def outside(self) -> bool:
        """Whether it is outside the runs."""
        return self.factor > INSIDE

    @property
    def text(self) -> str:
        """In words.

        >>> Reach(1.0).text, Reach(3.21, "N").text, Reach(math.nan).text
        ('inside', 'N by a factor of 3.2', 'not known')
        >>> Reach(math.inf, "experts").text
        'experts at or below 0'
        """
        if math.isnan(self.factor):
            return "not known"
        if not self.outside:
            return "inside"
        whose = f"{self.variable} " if self.variable else ""
        if math.isinf(self.factor):
            return f"{whose}at or below 0"
        return f"{whose}by a factor of {units.count(self.factor, 3 if self.factor < 1.1 else 2)}"


def of_row(row: Mapping[str, Any]) -> Reach:
    """That of a row of an answer, such as of `Fit.predict`; not known where the row lacks it."""
    factor = float(row.get("distance", math.nan))
    return Reach(factor, str(row.get(FARTHEST, "")) if factor > INSIDE else "")


def of_budget(fit: FitDecisions, group: str, flops: float) -> Reach:
    """How far a budget lies outside a group's runs: its C, and the N and D that are best for it.

    Args:
        fit: of the loss; of a published law, which has no runs, only N and D are compared.
        group: of it.
        flops: the budget, FLOP.
    """
    reaches = []
    if fit.allocates:
        best = allocation(fit.law, fit.theta(group)[None], flops)
        sizes = {name: best[name] for name in ("N", "D") if np.isfinite(best[name]).all()}
        rows = fit.outside(sizes, group).to_dict("records") if sizes else []
        reaches += [of_row(row) for row in rows]
    compute = _compute(fit, group)
    if len(compute):
        factor = max(flops / compute.max(), compute.min() / flops, 1.0)
        reaches.append(Reach(factor, "C" if factor > INSIDE else ""))
    return farthest(*reaches)


def _compute(fit: FitDecisions, group: str) -> np.ndarray:
    """FLOP of the runs of a group, as far as they are known."""
    points, column = fit.tables["points"], "n_flops_6nd" if fit.allocates else "n_flops"
    if column not in points:
        return np.empty(0)
    compute = points.loc[points["group"].astype(str) == group, column].to_numpy(float)
    return compute[np.isfinite(compute)]


def farthest(*reaches: Reach) -> Reach:
    """The one that lies farthest outside; of equal ones the last, and known before unknown."""
    known = [one for one in reaches if not math.isnan(one.factor)]
    return max(reversed(known), key=lambda one: one.factor, default=Reach(math.nan))
