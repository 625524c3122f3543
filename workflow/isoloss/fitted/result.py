"""A fit: a law fitted to runs, as people and figures use it."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from isoloss.core import tables
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.fitted import best_mixture, decisions, report
from isoloss.fitted.names import FALLBACK, TABLES
from isoloss.laws._law import Estimate, Law

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False, repr=False)
class Fit:
    """A law fitted to runs: what `fit_law` returns and `load_fit` reads.

    A fit may hold several, one for each group of runs and each response (a mixture law has a fit
    for the loss of every domain). Methods take `group` and `response`; None stands for the first.
    Typed in a shell it is a short report, in a notebook a small table.

    Two fits are equal (`==`) if they have the same law card with the same options and the same
    numbers in all their tables, wherever they were saved and whatever they are called there.

    Attributes:
        law: the law, its options chosen (of a mixture law, that of the last domain).
        tables: the tables of tables.yaml by name; `params`, `summary` and the others are
            properties, `replicates` in the units of the parameters.
        facts: what the files say of themselves (sweep, law, options, ...).

    Example:
        >>> import isoloss, numpy as np, pandas as pd
        >>> N, D = np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5))
        >>> loss = (1.7 + 400 / N**0.34 + 400 / D**0.28).ravel()
        >>> table = pd.DataFrame({"N": N.ravel(), "D": D.ravel(), "loss": loss})
        >>> runs = isoloss.read_runs(table, {"N": "N", "D": "D", "loss": "loss"})
        >>> fit = isoloss.fit_law(runs, "chinchilla", bootstrap=20)
        >>> print(repr(fit).splitlines()[0])
        chinchilla: L = E + A / N^α + B / D^β
        >>> {term: round(value, 2) for term, value in fit.values.items()}
        {'E': 1.7, 'A': 400.0, 'B': 400.0, 'alpha': 0.34, 'beta': 0.28}
        >>> fit.predict(N=7e10, D=1.4e12)[["loss_nats", "low", "high"]].round(3).to_numpy()
        array([[1.941, 1.941, 1.941]])
        >>> fit.allocate(C=1e21)["tokens_per_parameter"].round(1).item()
        48.4
        >>> axes = fit.plot("isoloss")
        >>> axes.get_xlabel()
        'Model size N (parameters)'
    """

    law: Law
    tables: Mapping[str, pd.DataFrame]
    facts: dict = field(default_factory=dict)

    @property
    def params(self) -> pd.DataFrame:
        """The parameters with their intervals, one row each."""
        return self.tables["params"]

    @property
    def summary(self) -> pd.DataFrame:
        """What each fit is worth, one row a group and response; `status` says it in a word."""
        return self.tables["summary"]

    @property
    def residuals(self) -> pd.DataFrame:
        """Observed and predicted loss of every run that the fit looked at, nats."""
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
        rows = self.mine("params", group, response)
        return {name: float(v) for name, v in zip(rows["term"], rows["estimate"], strict=True)}

    @property
    def groups(self) -> list[str]:
        """The groups, each with fits of its own."""
        return list(dict.fromkeys(self.summary["group"]))

    @property
    def responses(self) -> list[str]:
        """What was fitted: the loss, or the loss of every domain."""
        return list(dict.fromkeys(self.summary["response"]))

    @property
    def level(self) -> float:
        """Level of the intervals asked for at the fit."""
        return float(self.params["ci_level"].iloc[0])

    def law_of(self, response: str | None = None) -> Law:
        """The law of a response."""
        return self.law.for_response(response or self.responses[0])

    def mine(
        self, table: str, group: str | None = None, response: str | None = None
    ) -> pd.DataFrame:
        """The rows of a table that belong to a group and response; the first where None."""
        rows = self.tables[table]
        group, response = self._named(group, response)
        return rows[(rows["group"] == group) & (rows["response"] == response)]

    def estimate(self, group: str | None = None, response: str | None = None) -> Estimate:
        """The optimum: theta (p,), and what the law keeps of the runs beside it."""
        law, ends = self.law_of(response), self.mine("starts", group, response)
        if len(ends):
            best = ends.sort_values("start")["end"].iloc[0]
            return law.from_numbers(np.asarray(best, dtype=float))
        # figures that need no more are given the parameters alone
        estimates = self.mine("params", group, response).set_index("term")["estimate"]
        return Estimate(np.array([t.coordinate(estimates[t.name]) for t in law.terms]))

    def replicate_estimates(
        self, group: str | None = None, response: str | None = None
    ) -> Estimate:
        """The converged replicates, theta (r, p)."""
        law, rows = self.law_of(response), self.mine("replicates", group, response)
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

    def predict(
        self,
        group: str | None = None,
        response: str | None = None,
        level: float | None = None,
        **variables,
    ) -> pd.DataFrame:
        """Loss with its interval (of the law, without the noise of a run).

        Args:
            group: which fit; the first where None.
            response: of which loss; the first where None.
            level: of the interval; that of the fit if None.
            variables: N, D, C as the law needs, each a number or array; a proportion that is
                not given is 0.

        Returns:
            One row a point: the variables, `loss_nats`, `low`, `high`, and `distance`: how far
            outside the runs fitted, as a factor (1 inside; of proportions, 1 plus how far).

        Raises:
            IsolossError: the law lacks a variable, or has none of that name.
        """
        group, response = self._named(group, response)
        return decisions.predict(self, group, response, self._level(level), variables)

    def loss(
        self, group: str | None = None, response: str | None = None, **variables
    ) -> np.ndarray:
        """As `predict`, the predicted loss alone: (n,)."""
        group, response = self._named(group, response)
        law, best = self.law_of(response), self.estimate(group, response)
        return law.given(best.state).loss(best.theta, decisions.points_of(law, variables))

    def distance(
        self, data: Mapping[str, np.ndarray], group: str | None = None, response: str | None = None
    ) -> np.ndarray:
        """How far points lie outside the runs fitted, (n,): a factor, 1 inside."""
        return decisions.distance(self, data, *self._named(group, response))

    def allocate(self, C, group: str | None = None, level: float | None = None) -> pd.DataFrame:
        """How to divide a budget, with intervals.

        Args:
            C: FLOP (= 6 N D), a number or array.
            group: which fit.
            level: of the intervals.

        Returns:
            One row a budget: C, and each of N, D, tokens_per_parameter, loss_nats with `_low` and
            `_high`; `replicates` counts those in which an optimum exists (both exponents
            positive); `distance` beyond the largest run as a factor of N and D.

        Raises:
            IsolossError: the law does not give the best N and D of a budget.
        """
        return decisions.allocate(self, C, self._named(group)[0], self._level(level))

    def budget_for(
        self, loss, group: str | None = None, level: float | None = None
    ) -> pd.DataFrame:
        """The smallest budget that reaches a loss, divided as is best: as `allocate`, with C."""
        return decisions.budget_for(self, loss, self._named(group)[0], self._level(level))

    def data_for(self, N, group: str | None = None, level: float | None = None) -> pd.DataFrame:
        """The tokens D for which a model of N parameters is the best of its budget."""
        return decisions.data_for(self, N, self._named(group)[0], self._level(level))

    def gain(self, C, a: str, b: str, level: float | None = None) -> pd.DataFrame:
        """Compute-equivalent gain of group b over group a, arms fitted beside each other.

        Args:
            C: budgets of a, FLOP.
            a: group fitted (an optimiser, a data set, an architecture).
            b: the group that is compared with it.
            level: of the interval.

        Returns:
            One row a budget: C, the loss that a reaches with it, and `gain` with `_low` and
            `_high`: C over the budget with which b reaches the same loss; above 1, b is better.
        """
        return decisions.gain(self, C, a, b, self._level(level))

    def best_mixture(
        self,
        domain_weights: Mapping[str, float],
        group: str | None = None,
        level: float | None = None,
        replicates: int = best_mixture.REPLICATES,
    ) -> pd.DataFrame:
        """The mixture of least weighted loss, over all mixtures inside the runs' ranges.

        Args:
            domain_weights: response (loss_<domain>, or its domain) to weight in the mean loss.
            group: which fits.
            level: of the intervals.
            replicates: of the fits, at most: each is an optimisation of its own.

        Returns:
            One row a domain: `domain`, `proportion` with `_low` and `_high` over replicates,
            and the mean loss in `loss_nats` with `_low` and `_high`, the same in every row (of
            laws with a posterior SD its interval at that mixture, as wide as if the errors of all
            losses were one).
        """
        level = self._level(level)
        return best_mixture.best_mixture(self, domain_weights, group, level, replicates)

    def plot(self, card: str, ax: Axes | None = None, **options) -> Axes | np.ndarray:
        """Draw a figure card of this fit alone, such as "isoloss" or "bootstrap_pairs".

        Args:
            card: a figure card that reads nothing but a fit (docs/cards.md).
            ax: where to draw, for a card of one panel; a new pyplot figure if None.
            options: of the card.

        Returns:
            The Axes; of a card of several panels an array of them, in the order of the panels.

        Raises:
            IsolossError: there is no such card, it needs more than this fit, or `ax` is given for
                a card of several panels.
        """
        # by its name, so that code which draws is not part of the code that fits (provenance)
        drawing = importlib.import_module("isoloss.figures._one_fit")
        return drawing.draw(self, card, ax, options)

    def save(self, folder: str | Path, law: str = "law", **facts) -> list[Path]:
        """Write the tables into a folder, under the name of the fit (`law`); their files."""
        named = {name: self.tables[name] for name in TABLES}
        return tables.write_all(named, folder, {**self.facts, "law": law, **facts})

    def __repr__(self) -> str:
        """A short report: law, runs, parameters with intervals, status."""
        return report.text(self)

    def _repr_html_(self) -> str:
        """The same as a small table, for notebooks."""
        return report.html(self)

    def __eq__(self, other: object) -> bool:
        """Whether another fit has the same law and the same numbers."""
        if not isinstance(other, Fit):
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

    def _level(self, level: float | None) -> float:
        return self.level if level is None else level


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
