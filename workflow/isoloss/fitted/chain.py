"""A law of the loss, and a law of what follows from the loss: error or accuracy by N and D."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from isoloss.core.arguments import checked
from isoloss.core.problems import IsolossError, Problem
from isoloss.fitted import chained
from isoloss.fitted.decisions import FitDecisions, points_of
from isoloss.fitted.intervals import checked_level, quantiles
from isoloss.fitted.names import AT_END, FARTHEST, equation
from isoloss.fitted.optimum import Question, asked_question, table_of
from isoloss.laws._law import Estimate, Law

PAIRS = 10_000  # of replicates of two fits to different runs, at most
_AT_ONCE = 200  # points whose replicates are held in memory


@dataclass(frozen=True)
class Chain:
    """Two fits one after the other; see `chain`.

    Attributes:
        first: of the loss, by N and D or others.
        second: of what follows, by the loss.
        group: of the first fit; its first where None.
        then_group: of the second fit; its first where None.
    """

    first: FitDecisions
    second: FitDecisions
    group: str | None = None
    then_group: str | None = None

    @property
    def law(self) -> Law:
        """The law of the loss, whose variables are those of the chain."""
        return self.first.law

    @property
    def quantity(self) -> str:
        """What the second law predicts, such as error."""
        return self.second.quantity

    @property
    def loss_unit(self) -> str:
        """The unit of `quantity`."""
        return self.second.loss_unit

    @property
    def response_range(self) -> tuple[float | None, float | None] | None:
        """Least and greatest value of `quantity`, None where open; None for a law without."""
        return self.second.response_range

    @property
    def level(self) -> float:
        """Level of the intervals: that of the second fit."""
        return self.second.level

    @property
    def paired(self) -> bool:
        """Whether the fits are of the same runs, so that replicates of one number belong together.

        A replicate that draws a run twice does so in both, and errors of the two laws that come
        from the same runs are not taken for independent ones.
        """
        sides = ((self.first, self.group), (self.second, self.then_group))
        one, other = (_runs(fit, group) for fit, group in sides)
        if not len(one) or list(one.index) != list(other.index):
            return False
        return not any(_differ(one[name], other[name]) for name in one if name in other)

    def rows_of(self, table: str) -> pd.DataFrame:
        """The rows of a table of both fits, such as `ranges`."""
        parts = [self.first.rows_of(table, self.group), self.second.rows_of(table, self.then_group)]
        return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)

    def predict(self, level: float | None = None, **variables) -> pd.DataFrame:
        """What follows from the loss that is predicted at points.

        Args:
            level: of the intervals; that of the second fit if None.
            variables: those of the law of the loss, and of the second law those beside the loss,
                each a number or array.

        Returns:
            One row a point: the variables, the predicted loss, `quantity` (such as error), `low`
            and `high` over the replicates of both fits, `distance`: how far outside the runs of
            either, as a factor, NaN where it is inside of one and that of the other is not known,
            and `farthest`, the variable of which that is true, empty inside.
            The interval is NaN if neither fit has replicates. `at_end` says where the second law
            leaves the range of its response, and the end of the range stands in its place: as a
            rule its loss is not that of the first law.

        Raises:
            IsolossError: a variable is missing or unknown.
        """
        level = checked_level(self.level if level is None else level)
        beside = [name for name in self.second.law.variables if name != self.first.quantity]
        own = {k: v for k, v in variables.items() if k not in beside or k in self.law.variables}
        table = self.first.predict(self.group, **own)
        loss = table[self.first.quantity].to_numpy()
        more = {name: self._beside(name, variables, len(table)) for name in beside}
        free = self._then(self.second.estimate(self.then_group), loss, more)
        value = self.second.law.within(free)
        low, high = self._interval(points_of(self.law, own), more, value, level)
        given = {self.first.quantity: loss, **more}
        then = self.second.outside(given, self.then_group)
        columns = {**{k: table[k] for k in self.law.variables}, **more, self.first.quantity: loss}
        columns |= {self.quantity: value, "low": low, "high": high}
        far = (table["distance"].to_numpy(), then["distance"].to_numpy())
        columns["distance"] = _farther(*far)
        own_is = np.nan_to_num(far[0]) >= np.nan_to_num(far[1])
        columns[FARTHEST] = np.where(own_is, table[FARTHEST], then[FARTHEST])
        return pd.DataFrame({**columns, AT_END: (value != free) & ~np.isnan(free)})

    @property
    def between(self) -> tuple[str, ...]:
        """What the first law predicts, by its name."""
        return (self.first.quantity,)

    @property
    def chained_law(self) -> str:
        """The formula of the second law."""
        return equation(self.second.law.formula, self.quantity)

    @property
    def groups(self) -> list[str]:
        """The group of the first fit that is asked."""
        return [self.first.groups[0] if self.group is None else self.group]

    def optimize(
        self,
        minimize: str | None = None,
        over: str | Sequence[str] = (),
        subject_to: str | Sequence[str] = (),
        *,
        given: Mapping[str, float | Sequence[float]] | None = None,
        within: Mapping[str, tuple[float | None, float | None]] | None = None,
        integers: Sequence[str] = (),
        level: float | None = None,
    ) -> pd.DataFrame:
        """Where what follows from the loss is best, or an expression least; see `Fit.optimize`.

        Every pair of replicates is asked again, so that the interval carries through.

        Args:
            minimize: the expression, of variables, `loss` and `quantity` (such as accuracy). None
                for what the second law predicts: an error is least, an accuracy the largest.
            over: variables to choose, as of `Fit.optimize`.
            subject_to: relations.
            given: values of other names.
            within: limits of chosen variables.
            integers: chosen variables that are whole numbers.
            level: of the intervals; that of the second fit if None.

        Returns:
            As `Fit.optimize`: a row with the variables, `minimum`, the loss and `quantity`, each
            with `_low` and `_high`, and how far outside the runs of either fit that is.

        Raises:
            IsolossError: the question has no answer, or cannot be asked of these laws.

        Example:
            >>> import isoloss
            >>> loss = isoloss.preset("chinchilla:epoch")
            >>> both = isoloss.chain(loss, isoloss.preset("downstream_error:gadre"))
            >>> best = both.optimize(subject_to="6*N*D <= 5.76e23")
            >>> best[["N", "loss", "error"]].map("{:.3g}".format).to_numpy().tolist()
            [['7.24e+10', '1.97', '0.319']]
        """
        asked = {"minimize": minimize, "over": over, "subject_to": subject_to}
        asked |= {"given": given, "within": within, "integers": integers}
        return table_of(self.answers(asked_of(self, asked), level=level))

    @property
    def best(self) -> str:
        """What is least where the second law is best, such as "error" or "-accuracy"."""
        return chained.best(self)

    def answers(
        self, question: Question, group: str | None = None, level: float | None = None
    ) -> list[tuple[Question, dict[str, Any], Problem | None]]:
        """As `Fit.answers`, of the group that the chain is of.

        Args:
            question: as of `optimize`.
            group: that of the chain.
            level: of the intervals; that of the second fit if None.

        Raises:
            IsolossError: the question cannot be asked of these laws.
        """
        return chained.answers(
            self, question, checked_level(self.level if level is None else level)
        )

    def _beside(self, name: str, variables: Mapping, count: int) -> np.ndarray:
        """A variable of the second law alone, (n,)."""
        if name not in variables:
            formula = equation(self.second.law.formula, self.quantity)
            raise IsolossError(Problem(f"variable {name}", "not given", f"the law is {formula}"))
        return np.broadcast_to(np.asarray(variables[name], dtype=float), (count,))

    def _then(self, one: Estimate, loss: np.ndarray, more: Mapping) -> np.ndarray:
        """The second law by one estimate or several, theta (..., p), at losses (..., n).

        Values outside the range of its response are as they are.
        """
        law = self.second.law
        data = {self.first.quantity: loss, **more}
        return law.given(one.state).loss(one.theta, data)

    def _interval(
        self, points: Mapping, more: Mapping, value: np.ndarray, level: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Interval of both fits at points, (n,) each."""
        one, other = self.pairs()
        if not len(one):
            return np.full(len(value), np.nan), np.full(len(value), np.nan)
        law, ends = self.law.given(one.state), []
        for at in range(0, len(value), _AT_ONCE):
            some = slice(at, at + _AT_ONCE)
            loss = law.loss(one.theta, {k: v[some] for k, v in points.items()})
            drawn = self._then(other, loss, {k: v[some] for k, v in more.items()})
            drawn = self.second.law.within(drawn)
            ends.append(quantiles(drawn[np.isfinite(drawn).all(axis=1)], level, value[some]))
        low, high = (np.concatenate(side) for side in zip(*ends, strict=True))
        return self.second.law.within(low), self.second.law.within(high)

    def pairs(self) -> tuple[Estimate, Estimate]:
        """Replicates of both fits that belong together, or the estimate of one without any."""
        sides = ((self.first, self.group), (self.second, self.then_group))
        one, other = (fit.replicate_estimates(group) for fit, group in sides)
        if not len(one) and not len(other):
            return one, other
        if len(one) and len(other) and self.paired:
            return _of_one_number(sides, (one, other))
        one, other = (
            many if len(many) else _alone(fit.estimate(group))
            for many, (fit, group) in zip((one, other), sides, strict=True)
        )
        # every replicate of each with others of the other: all pairs, or PAIRS spread over them
        number = np.arange(min(len(one) * len(other), PAIRS))
        return one[number % len(one)], other[(number // len(one) + number) % len(other)]


def _of_one_number(sides, estimates: tuple[Estimate, Estimate]) -> tuple[Estimate, Estimate]:
    """Replicates that converged in both fits."""
    numbers = []
    for fit, group in sides:
        rows = fit.rows_of("replicates", group)
        numbers.append(rows.loc[rows["converged"], "replicate"].to_numpy())
    _, first, second = np.intersect1d(*numbers, return_indices=True)
    return estimates[0][first], estimates[1][second]


def _alone(estimate: Estimate) -> Estimate:
    """One estimate as the only one of several."""
    state = None
    if estimate.state is not None:
        state = np.empty(1, dtype=object)
        state[0] = estimate.state
    return Estimate(estimate.theta[None], state)


def _farther(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The larger of two distances, (n,); NaN where one is not known and the other is inside."""
    known = np.fmax(one, other)
    return np.where((known > 1) | ~np.isnan(one + other), known, np.nan)


def _runs(fit: FitDecisions, group: str | None) -> pd.DataFrame:
    """N, D and loss of the runs that a fit is of, by `run_id`; none of a published law."""
    rows = fit.rows_of("residuals", group)
    if not len(rows):
        return pd.DataFrame()
    fitted = rows.loc[~rows["held_out"].astype(bool), "run_id"]
    points = fit.tables["points"].drop_duplicates("run_id").set_index("run_id")
    known = [name for name in ("n_params", "n_samples", "loss") if name in points]
    return points.reindex(fitted)[known].astype(float)


def _differ(one: pd.Series, other: pd.Series) -> bool:
    """Whether values of the same labels differ where both are known: the runs are others then."""
    one, other = one.to_numpy(), other.to_numpy()
    known = np.isfinite(one) & np.isfinite(other)
    return not np.allclose(one[known], other[known], rtol=1e-9, atol=0.0)


@checked()
def chain(
    loss_fit: FitDecisions,
    then: FitDecisions,
    group: str | None = None,
    then_group: str | None = None,
) -> Chain:
    """A law of the loss with a law by the loss: error or accuracy as a function of N and D.

    The interval carries through: every replicate of the loss is put into a replicate of the second
    law. Replicates of fits to the same runs are paired by their number, others are crossed.

    Args:
        loss_fit: a fit of the loss, or a published law (`preset`).
        then: a fit or published law that reads the loss, such as of `downstream_error`.
        group: of the first fit; its first where None.
        then_group: of the second fit; its first where None.

    Returns:
        What has `predict(N=, D=)`: a table of the loss and of what follows, with intervals.

    Raises:
        IsolossError: the second law does not read what the first predicts.

    Example:
        >>> import isoloss
        >>> loss = isoloss.preset("chinchilla:epoch")
        >>> both = isoloss.chain(loss, isoloss.preset("downstream_error:gadre"))
        >>> both.predict(N=7e9, D=1.4e11)[["loss", "error"]].round(3).to_numpy().tolist()
        [[2.173, 0.39]]
    """
    needs = then.law.variables
    if loss_fit.quantity not in needs:
        reason = f"reads {', '.join(needs)}, and the first law predicts {loss_fit.quantity}"
        do = "take a law by the loss second, such as of the card downstream_error"
        raise IsolossError(Problem("chain", f"the second law {reason}", do))
    return Chain(loss_fit, then, group, then_group)


def asked_of(both: Chain, asked: Mapping[str, Any]) -> Question:
    """A question from arguments as `Chain.optimize` takes them: where the second law is best."""
    return asked_question({**asked, "minimize": asked.get("minimize") or both.best})
