"""The tables of a fit, and the parameters that are read from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from isoloss.core import tables
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.core.units import NATS
from isoloss.fitted.names import FALLBACK, RESPONSE, TABLES
from isoloss.laws._law import Estimate, Law


@dataclass(frozen=True, eq=False, repr=False)
class FitParameters:
    """The tables of a fit and its parameters; see `Fit`."""

    law: Law
    tables: Mapping[str, pd.DataFrame]
    facts: dict = field(default_factory=dict)

    @property
    def quantity(self) -> str:
        """What was fitted: the loss, or the name of another column of the runs."""
        return self.facts.get("response", RESPONSE)

    @property
    def of_loss(self) -> bool:
        """Whether the loss was fitted, or the losses by domain."""
        return self.quantity == RESPONSE

    @property
    def allocates(self) -> bool:
        """Whether it gives the best N and D of a budget: those of least loss."""
        return self.law.allocates and self.of_loss

    @property
    def has_least_loss(self) -> bool:
        """Whether it gives a loss for a budget, so that groups are compared by their compute."""
        return self.law.has_least_loss and self.of_loss

    @property
    def loss_unit(self) -> str:
        """The unit of what was fitted, such as nats/token, bits/byte or error; 1 for none."""
        return self.facts.get("loss_unit", NATS)

    @property
    def response_range(self) -> tuple[float | None, float | None] | None:
        """Least and greatest value of what was fitted, None where open; None for a law without."""
        return self.law.response_range

    @property
    def params(self) -> pd.DataFrame:
        """The parameters with their intervals, one row each."""
        return self.tables["params"]

    @property
    def summary(self) -> pd.DataFrame:
        """What each fit is worth, one row a group and response; `status` says it in a word."""
        return self.tables["summary"]

    @property
    def findings(self) -> pd.DataFrame:
        """What the checks of runs and fit found, the gravest first, each with what would fix it."""
        return self.tables["findings"]

    @property
    def residuals(self) -> pd.DataFrame:
        """Observed and predicted loss of every run that the fit looked at, in its unit."""
        return self.tables["residuals"]

    @property
    def starts(self) -> pd.DataFrame:
        """Where every optimised start began and ended, in the law's coordinates, best first."""
        return self.tables["starts"]

    @property
    def scores(self) -> pd.DataFrame:
        """Errors on runs held out, one row a fold."""
        return self.tables["scores"]

    @property
    def profiles(self) -> pd.DataFrame:
        """The objective along every free parameter; empty unless `fit_law` was asked for it."""
        return self.tables["profiles"]

    @property
    def ranges(self) -> pd.DataFrame:
        """Least and greatest value of every variable over the runs fitted."""
        return self.tables["ranges"]

    @property
    def points(self) -> pd.DataFrame:
        """The runs, or points along runs, that the law was fitted to; those held out as well."""
        return self.tables["points"]

    @property
    def replicates(self) -> pd.DataFrame:
        """The bootstrap replicates, one row each, a column a parameter in its unit.

        Before the parameters come `group`, `response`, `replicate` and `converged`: intervals are
        made of replicates that converged. A parameter that a law of another response does not have
        is NaN.
        """
        parts = []
        for (_, response), rows in self.tables["replicates"].groupby(
            ["group", "response"], sort=False
        ):
            terms = self.law_of(response).terms
            thetas = np.stack([np.asarray(theta, dtype=float) for theta in rows["theta"]])
            values = {t.name: t.value(thetas[:, i]) for i, t in enumerate(terms)}
            labels = rows[["group", "response", "replicate", "converged"]].reset_index(drop=True)
            parts.append(tables.with_columns(labels, values))
        if not parts:
            names = ["group", "response", "replicate", "converged"]
            return pd.DataFrame(columns=[*names, *(term.name for term in self.law.terms)])
        return pd.concat(parts, ignore_index=True)

    @property
    def values(self) -> dict[str, float]:
        """The parameters of the first fit by name, in their units; see `values_of`."""
        return self.values_of()

    def values_of(self, group: str | None = None, response: str | None = None) -> dict[str, float]:
        """The parameters of a group and response by name, in their units."""
        rows = self.rows_of("params", group, response)
        return {name: float(v) for name, v in zip(rows["term"], rows["estimate"], strict=True)}

    @property
    def groups(self) -> list[str]:
        """The groups, each with fits of its own."""
        return list(dict.fromkeys(self.summary["group"]))

    @property
    def responses(self) -> list[str]:
        """What was fitted: the loss, another column of the runs, or the loss of every domain."""
        return list(dict.fromkeys(self.summary["response"]))

    @property
    def level(self) -> float:
        """Level of the intervals asked for at the fit."""
        return float(self.params["ci_level"].iloc[0])

    def law_of(self, response: str | None = None) -> Law:
        """The law of a response."""
        return self.law.for_response(response or self.responses[0])

    def rows_of(
        self, table: str, group: str | None = None, response: str | None = None
    ) -> pd.DataFrame:
        """The rows of a table that belong to a group and response; the first where None."""
        rows = self.tables[table]
        group, response = self._named(group, response)
        return rows[(rows["group"] == group) & (rows["response"] == response)]

    def estimate(self, group: str | None = None, response: str | None = None) -> Estimate:
        """The optimum: theta (p,), and what the law keeps of the runs beside it."""
        law, ends = self.law_of(response), self.rows_of("starts", group, response)
        if len(ends):
            best = ends.sort_values("start")["end"].iloc[0]
            return law.from_numbers(np.asarray(best, dtype=float))
        # figures that need no more are given the parameters alone
        estimates = self.rows_of("params", group, response).set_index("term")["estimate"]
        return Estimate(np.array([t.coordinate(estimates[t.name]) for t in law.terms]))

    def replicate_estimates(
        self, group: str | None = None, response: str | None = None
    ) -> Estimate:
        """The converged replicates, theta (r, p)."""
        law, rows = self.law_of(response), self.rows_of("replicates", group, response)
        rows = rows[rows["converged"]]
        if rows.empty:
            return law.from_numbers(np.empty((0, len(law.terms))))
        return law.from_numbers(np.stack([np.asarray(v, dtype=float) for v in rows["theta"]]))

    def theta(self, group: str | None = None, response: str | None = None) -> np.ndarray:
        """The optimum in the law's coordinates, (p,)."""
        return self.estimate(group, response).theta

    def replicate_thetas(self, group: str | None = None, response: str | None = None) -> np.ndarray:
        """The converged replicates in the law's coordinates, (r, p)."""
        return self.replicate_estimates(group, response).theta

    def covariance(self, group: str | None = None, response: str | None = None) -> pd.DataFrame:
        """Covariance of the parameters over the converged replicates, in their own units."""
        terms = self.law_of(response).terms
        thetas = self.replicate_thetas(group, response)
        values = np.stack([t.value(thetas[:, i]) for i, t in enumerate(terms)], axis=-1)
        names = [t.name for t in terms]
        return pd.DataFrame(np.atleast_2d(np.cov(values, rowvar=False)), names, names)

    def __eq__(self, other: object) -> bool:
        """Whether another fit has the same law and the same numbers."""
        if not isinstance(other, FitParameters):
            return NotImplemented
        same_law = all(
            self.facts.get(key) == other.facts.get(key) for key in ("card", "options", "domains")
        )
        return same_law and all(_same(self.tables[t], other.tables[t]) for t in TABLES)

    __hash__ = None

    def _named(self, group: str | None, response: str | None = None) -> tuple[str, str]:
        groups = self.groups
        if group is None:
            group = groups[0]
        elif group not in groups:
            only = groups[0] if self.law.proportions and len(groups) == 1 else FALLBACK
            if only not in groups:
                raise IsolossError(Problem(f"group {group}", "no such fit", nearest(group, groups)))
            group = only
        response = self.responses[0] if response is None else response
        if FALLBACK in groups and group != FALLBACK:  # a group may lack the loss of one domain
            own = (self.summary["group"] == group) & (self.summary["response"] == response)
            group = group if own.any() else FALLBACK
        return group, response


def _same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two tables have the same columns, in any order, and the same values."""
    if set(one) != set(other) or len(one) != len(other):
        return False
    return all(_plain(one[column]) == _plain(other[column]) for column in one)


def _plain(values: Iterable[Any]) -> list:
    """Values that compare: what is missing is None, an array a list of such values."""
    return [
        _plain(np.asarray(value).tolist())
        if isinstance(value, list | np.ndarray)
        else None
        if pd.isna(value)
        else value
        for value in values
    ]
