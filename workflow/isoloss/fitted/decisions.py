"""What follows from a fit: predicted losses, and how to divide a budget, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Self

import numpy as np
import pandas as pd

from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.fitted import best_mixture
from isoloss.fitted.intervals import band, checked_level, quantiles
from isoloss.fitted.names import FARTHEST, RESPONSE
from isoloss.fitted.optimum import (
    Choice,
    Question,
    asked_question,
    named_by,
    optimum,
    questions,
    table_of,
)
from isoloss.fitted.parameters import FitParameters
from isoloss.laws._law import Law

INSIDE = 1.0001  # a factor up to which a point is inside the runs: they end at rounded numbers
STEP = 0.05  # in ln C, on both sides of a budget, of the exponents there
_LOG_FLOPS = (-20.0, 150.0)  # where a budget is searched, in ln FLOP
_HALVED, _STRAIGHT = 14, 9  # steps of the search: until it is known to 1 %, and to the last digits
Columns = dict[str, np.ndarray]
Rule = Callable[[np.ndarray, float], Columns]


class FitDecisions(FitParameters):
    """What follows from a fit; see `Fit`."""

    between = ()  # what is predicted on the way: of a `Chain` the loss
    chained_law = ""  # the second law of a `Chain`

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
            variables: N, D, C, experts or whatever the law needs, each a number or array; a
                proportion that is not given is 0.

        Returns:
            One row a point: the variables, `loss` (or what else was fitted, by its name), `low`,
            `high`, and `distance`: how far outside the runs fitted, as a factor (1 inside; of
            proportions, 1 plus how far; of variables that may be 0, 1 plus how far in widths of
            their range); `farthest` names the variable of which that is true, empty inside. All
            three values are inside the range of the response, where one is known.

        Raises:
            IsolossError: the law lacks a variable, or has none of that name.
        """
        group, response = self._named(group, response)
        return _predict(self, group, response, self._level(level), variables)

    def loss(
        self, group: str | None = None, response: str | None = None, **variables
    ) -> np.ndarray:
        """As `predict`, the predicted loss alone: (n,)."""
        group, response = self._named(group, response)
        law, best = self.law_of(response), self.estimate(group, response)
        return law.within(law.given(best.state).loss(best.theta, points_of(law, variables)))

    def distance(
        self, data: Mapping[str, np.ndarray], group: str | None = None, response: str | None = None
    ) -> np.ndarray:
        """How far points lie outside the runs fitted, (n,): a factor, 1 inside.

        Infinite for a value at or below 0 of a variable whose runs are all above 0.
        NaN where the range of some variable is not known and no other is left.
        """
        return _distances(self, data, *self._named(group, response))[0]

    def outside(
        self, data: Mapping[str, np.ndarray], group: str | None = None, response: str | None = None
    ) -> pd.DataFrame:
        """As `distance`, one row a point, with the variable that lies `farthest` outside the runs.

        Args:
            data: variables of the law to values, (n,) each; some of them will do.
            group: which fit.
            response: of which loss.

        Returns:
            Columns `distance`, and `farthest`, which is empty inside the runs.
        """
        factors, names = _distances(self, data, *self._named(group, response))
        return pd.DataFrame({"distance": factors, FARTHEST: names})

    def allocate(self, C, group: str | None = None, level: float | None = None) -> pd.DataFrame:
        """How to divide a budget, with intervals.

        Args:
            C: FLOP (= 6 N D), a number or array.
            group: which fit.
            level: of the intervals.

        Returns:
            One row a budget: C, and each of N, D, tokens_per_parameter, loss with `_low` and
            `_high`; `replicates` counts those in which an optimum exists (both exponents
            positive); `distance` outside the runs as a factor, and the `farthest` of N and D.

        Raises:
            IsolossError: the law does not give the best N and D of a budget, or is not fitted to
                the loss.
        """
        return _allocate(self, C, self._named(group)[0], self._level(level))

    def exponents(self, C, group: str | None = None, level: float | None = None) -> pd.DataFrame:
        """How the best division of a budget grows with it: N as C^a and D as C^(1 - a).

        Args:
            C: FLOP (= 6 N D), a number or array: where the exponents are asked for.
            group: which fit.
            level: of the intervals.

        Returns:
            One row a budget: C, and `n_exponent` (a) and `d_exponent` with `_low` and `_high`;
            `replicates` counts those in which an optimum exists.

        Raises:
            IsolossError: the law does not give the best N and D of a budget, or is not fitted to
                the loss.
        """
        rule = partial(_exponents, self.law)
        return _decide(self, "C", C, rule, self._named(group)[0], self._level(level))

    def budget_for(
        self, loss, group: str | None = None, level: float | None = None
    ) -> pd.DataFrame:
        """The smallest budget that reaches a loss, divided as is best where the law divides one.

        Args:
            loss: to be reached, a number or array.
            group: which fit.
            level: of the intervals.

        Returns:
            One row a loss: `target`, and each of C (FLOP) and, of a law that allocates, N, D and
            tokens_per_parameter with `_low` and `_high`; NaN where the loss is never reached.
            `replicates` counts those that say whether it is, `reached` is the share of them that
            reach it: C is infinite in the others, and so are ends of intervals that hold them.
            `distance` outside the runs as a factor, and the `farthest` of C, N and D.

        Raises:
            IsolossError: the law gives no loss for a budget: it needs a law in C, or one that
                divides a budget between N and D, fitted to the loss.
        """
        return _budget_for(self, loss, self._named(group)[0], self._level(level))

    def data_for(self, N, group: str | None = None, level: float | None = None) -> pd.DataFrame:
        """The tokens D for which a model of N parameters is the best of its budget."""
        return _data_for(self, N, self._named(group)[0], self._level(level))

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
            NaN where b cannot reach it. `replicates` counts the pairs of replicates that say
            whether b reaches it, and `reached` is the share of them in which it does: the gain is
            0 in the others, which the interval holds.

        Raises:
            IsolossError: there is no such group, or the law gives no loss for a budget: it needs
                a law in C, or one that divides a budget between N and D, fitted to the loss.
        """
        return _gain(self, C, a, b, self._level(level))

    def optimize(
        self,
        minimize: str = RESPONSE,
        over: str | Sequence[str] = (),
        subject_to: str | Sequence[str] = (),
        *,
        given: Mapping[str, float | Sequence[float]] | None = None,
        within: Mapping[str, tuple[float | None, float | None]] | None = None,
        integers: Sequence[str] = (),
        group: str | None = None,
        response: str | None = None,
        level: float | None = None,
    ) -> pd.DataFrame:
        """Where an expression is least, over any variables under any constraints.

        Expressions are in the language of formulas (docs/formulas.md), of variables, parameters,
        names that are given, and `loss` (or what else was fitted, by its name).

        Args:
            minimize: the expression, such as "6*N*D + 2*N*D_inf"; what was fitted without it.
            over: variables to choose; those that `minimize` or a constraint names and nobody gives
                are chosen too.
            subject_to: a relation such as "6*N*D <= 1e22", or several.
            given: values of other names; arrays of one length are rows of the answer.
            within: limits of chosen variables, either of which may be None. Without, they are
                searched up to a factor of 1e8 beyond the runs.
            integers: chosen variables that are whole numbers.
            group: which fit.
            response: of which loss.
            level: of the intervals.

        Returns:
            One row for every value that is given: those values; each chosen variable, `minimum`
            (of the expression) and `loss` (or what was fitted) with `_low` and `_high`; `active`,
            the constraints that the optimum lies on; `at_limit`, the variables that lie on a limit
            of `within`; `lower_outside`, whether the expression falls lower at the end of the range
            searched; `distance` outside the runs as a factor, and the `farthest` of the law's
            variables, chosen or given; `replicates` that have an optimum and `reached`, their
            share. Of a replicate whose optimum has no end the variable is infinite, and so are
            ends of intervals that hold it.

        Raises:
            IsolossError: a name means nothing, a variable is neither given nor chosen, no point
                meets the constraints, or the expression falls without end.

        Example:
            >>> import isoloss
            >>> epoch = isoloss.preset("chinchilla:epoch")
            >>> best = epoch.optimize(subject_to="6*N*D <= 5.76e23")
            >>> best[["N", "D", "loss"]].map("{:.4g}".format).to_numpy().tolist()
            [['7.235e+10', '1.327e+12', '1.974']]
            >>> serving = {"minimize": "6*N*D + 2*N*served", "subject_to": "loss <= 2"}
            >>> cheap = epoch.optimize(**serving, given={"served": 1e13})
            >>> cheap[["N", "D"]].map("{:.3g}".format).to_numpy().tolist()
            [['1.98e+10', '3e+12']]
        """
        asked = {"minimize": minimize, "over": over, "subject_to": subject_to}
        asked |= {"given": given, "within": within, "integers": integers}
        question = asked_question(asked)
        group, response = self._named(group, response)
        return table_of(self.answers(question, group, response, level))

    def answers(
        self,
        question: Question,
        group: str | None = None,
        response: str | None = None,
        level: float | None = None,
    ) -> list[tuple[Question, dict[str, object], Problem | None]]:
        """Every single question of one with arrays, its row of `optimize`, or why it has none.

        Raises:
            IsolossError: the question cannot be asked of this law.
        """
        group, response = self._named(group, response)
        answers = []
        for one in questions(named_by(question, self.quantity, self.law_of(response))):
            row, problem = optimum(Choice(self, one, group, response), self._level(level))
            if problem is None:
                own = [name for name in self.law_of(response).variables if name in row]
                points = {name: np.array([row[name]], dtype=float) for name in own}
                factors, names = _distances(self, points, group, response)
                row |= {"distance": float(factors[0]), FARTHEST: str(names[0])}
            answers.append((one, row, problem))
        return answers

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
            and the mean loss in `loss` with `_low` and `_high`, the same in every row (of
            laws with a posterior SD its interval at that mixture, as wide as if the errors of all
            losses were one).
        """
        loss = best_mixture.WeightedLoss(self, domain_weights, group)
        return best_mixture.best_mixture(loss, self._level(level), replicates)

    def weighted_loss(
        self,
        domain_weights: Mapping[str, float],
        group: str | None = None,
        level: float | None = None,
        **proportions,
    ) -> pd.DataFrame:
        """The weighted mean of the losses of a mixture law, with its interval (as of `predict`).

        Args:
            domain_weights: response (loss_<domain>, or its domain) to weight in the mean loss.
            group: which fits.
            level: of the interval.
            proportions: p_<domain>, each a number or array; one that is not given is 0.

        Returns:
            One row a mixture: the proportions, `loss`, `low`, `high`.
        """
        loss = best_mixture.WeightedLoss(self, domain_weights, group)
        mixtures = points_of(self.law, proportions)
        points = np.stack([mixtures[domain] for domain in loss.domains], axis=-1)
        low, high = loss.interval(points, self._level(level), best_mixture.REPLICATES)
        return pd.DataFrame(
            {**mixtures, "loss": loss.estimated()(points), "low": low, "high": high}
        )

    def with_best_mixtures(self, domain_weights: Mapping[str, float]) -> Self:
        """The fit with its table `best_mixture`, of every group, for some weights of the losses.

        The facts of the fit keep the weights, by response, as `domain_weights`.
        """
        weights = best_mixture.weights_by_response(domain_weights, self.responses)
        groups = [self.best_mixture(weights, group).assign(group=group) for group in self.groups]
        tables = {**self.tables, "best_mixture": pd.concat(groups, ignore_index=True)}
        return replace(self, tables=tables, facts={**self.facts, "domain_weights": weights})

    def _level(self, level: float | None) -> float:
        return checked_level(self.level if level is None else level)


def _predict(
    fit: FitParameters, group: str, response: str, level: float, variables: Mapping
) -> pd.DataFrame:
    """See `Fit.predict`."""
    law = fit.law_of(response)
    points = points_of(law, variables)
    best, replicates = fit.estimate(group, response), fit.replicate_estimates(group, response)
    with np.errstate(all="ignore"):  # a point may be where the law has no value
        predicted = law.within(law.given(best.state).loss(best.theta, points))
        table = {**points, fit.quantity: predicted}
        table["low"], table["high"] = band(law, best, replicates, points, level)
    factors, names = _distances(fit, points, group, response)
    return pd.DataFrame({**table, "distance": factors, FARTHEST: names})


def _distances(
    fit: FitParameters, points: Mapping[str, np.ndarray], group: str, response: str
) -> tuple[np.ndarray, np.ndarray]:
    """How far points lie outside the runs, and in which variable (empty inside), (n,) each."""
    ranges = fit.rows_of("ranges", group, response).set_index("variable")
    points = {name: np.atleast_1d(np.asarray(v, dtype=float)) for name, v in points.items()}
    farthest = np.ones(np.broadcast_shapes(*(values.shape for values in points.values())))
    which = np.full(farthest.shape, "", dtype=object)
    unknown = not set(fit.law_of(response).variables) <= set(ranges.index)
    for name, values in points.items():
        if name not in ranges.index:
            continue
        low, high = ranges.loc[name, ["low", "high"]].astype(float)
        if fit.law.proportions:
            beyond = 1 + np.maximum(np.maximum(values - high, low - values), 0.0)
        else:
            width = high - low if high > low else 1.0
            beyond = 1 + np.maximum(np.maximum(values - high, low - values), 0.0) / width
            if low > 0:  # a factor; elsewhere in widths of the range
                ratio = np.where(values > 0, values, 1.0)
                ratio = np.maximum(np.maximum(ratio / high, low / ratio), 1.0)
                beyond = np.where(values > 0, ratio, np.where(values <= 0, np.inf, np.nan))
        which = np.where(beyond > np.maximum(farthest, INSIDE), name, which)
        farthest = np.maximum(farthest, beyond)
    return np.where((farthest > 1) | (not unknown), farthest, np.nan), which


def _allocate(fit: FitParameters, C, group: str, level: float) -> pd.DataFrame:
    """See `Fit.allocate`."""
    return _decide(
        fit, "C", C, lambda theta, flops: allocation(fit.law, theta, flops), group, level
    )


def _budget_for(fit: FitParameters, loss, group: str, level: float) -> pd.DataFrame:
    """See `Fit.budget_for`."""
    law = fit.law

    def smallest(theta: np.ndarray, target: float) -> Columns:
        flops = _reaching(law, theta, np.full(len(theta), target))
        if not law.allocates:
            return {"C": flops}
        best = allocation(law, theta, flops)
        never = np.isinf(flops)
        sizes = {k: np.where(never, np.inf, best[k]) for k in ("N", "D")}
        return {"C": flops, **sizes, "tokens_per_parameter": best["tokens_per_parameter"]}

    _check_of_loss(fit)
    _check_budgets(law)
    table = _decided(fit, "target", loss, smallest, group, level)
    sizes = table.columns.intersection(["C", "N", "D"])
    return table.assign(**table[sizes].replace(np.inf, np.nan))


def _data_for(fit: FitParameters, N, group: str, level: float) -> pd.DataFrame:
    """See `Fit.data_for`."""

    def tokens(theta: np.ndarray, size: float) -> Columns:
        flops = _budget(lambda c: allocation(fit.law, theta, c)["N"] - size, len(theta))
        best = allocation(fit.law, theta, flops)
        return {"C": flops, **{k: v for k, v in best.items() if k != "N"}}

    return _decide(fit, "N", N, tokens, group, level)


def _gain(fit: FitParameters, C, a: str, b: str, level: float) -> pd.DataFrame:
    """See `Fit.gain`."""
    _check_of_loss(fit)
    _check_budgets(fit.law)
    law, (a, _), (b, _) = fit.law, fit._named(a), fit._named(b)
    at_a, at_b = fit.theta(a)[None], fit.theta(b)[None]
    (of_a, of_b), rows = _pairs(fit, a, b), []
    for flops in np.atleast_1d(np.asarray(C, dtype=float)):
        loss = _least_loss(law, at_a, flops)
        (best,) = flops / _reaching(law, at_b, loss)
        gains = flops / _reaching(law, of_b, _least_loss(law, of_a, flops))
        low, high = _interval(gains, level, best)
        gains = gains[~np.isnan(gains)]
        row = {"C": flops, "loss": loss[0], "gain": best if best > 0 else np.nan}
        row |= {"gain_low": low, "gain_high": high, "replicates": len(gains)}
        rows.append(row | {"reached": float((gains > 0).mean()) if len(gains) else np.nan})
    return pd.DataFrame(rows)


def _pairs(fit: FitParameters, a: str, b: str) -> tuple[np.ndarray, np.ndarray]:
    """The replicates of two groups that converged in both, theta (r, p) each.

    They are paired by their number: replicates of groups that share parameters are one refit, those
    of the others are drawn apart, so that any pairs of them will do.
    """
    rows = [fit.rows_of("replicates", group) for group in (a, b)]
    numbers = [table.loc[table["converged"], "replicate"].to_numpy() for table in rows]
    _, of_a, of_b = np.intersect1d(*numbers, return_indices=True)
    return fit.replicate_thetas(a)[of_a], fit.replicate_thetas(b)[of_b]


def points_of(law: Law, variables: Mapping) -> Columns:
    """The variables of a law as arrays of one length, (n,) each.

    Args:
        law: whose variables are wanted.
        variables: numbers or arrays by name; N, D, C and U that the law does not read are left
            out, and a proportion that is not given is 0.

    Raises:
        IsolossError: the law has no such variable, or lacks one.
    """
    unknown = set(variables) - set(law.variables) - set("NDCU")
    for name in sorted(unknown):
        raise IsolossError(
            Problem(f"variable {name}", "not one of the law", nearest(name, law.variables))
        )
    given = {
        name: np.atleast_1d(np.asarray(value, dtype=float))
        for name, value in variables.items()
        if name in law.variables
    }
    missing = [name for name in law.variables if name not in given]
    if missing and not (law.proportions and given):
        place = f"variable {missing[0]}" if len(missing) == 1 else f"variables {', '.join(missing)}"
        how = f"--{missing[0]} VALUE" if missing[0] in "NDCU" else f"--at {missing[0]}=VALUE"
        do = f"give values, such as {how} of `isoloss predict`"
        raise IsolossError(Problem(place, "not given", f"{do}; the law is {law.formula}"))
    size = np.broadcast_shapes(*(v.shape for v in given.values()))
    return {name: np.broadcast_to(given.get(name, 0.0), size) for name in law.variables}


def _decide(
    fit: FitParameters, name: str, values, rule: Rule, group: str, level: float
) -> pd.DataFrame:
    """A rule about a division at the optimum and all replicates: one row a value."""
    _check_of_loss(fit)
    if not fit.law.allocates:
        card, do = fit.facts.get("card", "this law"), "fit a law in N and D"
        if {"N", "D"} <= set(fit.law.variables):
            do = 'ask for them: optimize(subject_to="6*N*D <= 1e21")'
        raise IsolossError(Problem(card, "does not give the best N and D of a budget", do))
    return _decided(fit, name, values, rule, group, level).drop(columns="reached")


def _decided(
    fit: FitParameters, name: str, values, rule: Rule, group: str, level: float
) -> pd.DataFrame:
    """A rule at the optimum and at all replicates: one row a value, with intervals.

    What the rule gives is NaN where it has no answer, and infinite for what is never reached.
    """
    theta, thetas = fit.theta(group)[None], fit.replicate_thetas(group)
    rows = []
    for value in np.atleast_1d(np.asarray(values, dtype=float)):
        best, many = rule(theta, value), rule(thetas, value)
        row = {name: value}
        for column, at in best.items():
            low, high = _interval(many[column], level, at[0])
            row |= {column: at[0], f"{column}_low": low, f"{column}_high": high}
        answers = next(iter(many.values()))
        answers = answers[~np.isnan(answers)]
        reached = float(np.isfinite(answers).mean()) if len(answers) else np.nan
        row |= {"distance": np.nan, FARTHEST: "", "replicates": len(answers), "reached": reached}
        rows.append(row)
    table = pd.DataFrame(rows)
    points = {k: table[k].to_numpy() for k in fit.law.variables if k in table}
    if not points:
        return table
    factors, names = _distances(fit, points, group, fit.responses[0])
    return table.assign(**{"distance": factors, FARTHEST: names})


def _interval(many: np.ndarray, level: float, centre: float) -> tuple[float, float]:
    """Of replicates that have an answer, (r,), around the estimate; NaN where it has none."""
    if np.isnan(centre):
        return np.nan, np.nan
    low, high = quantiles(many[~np.isnan(many)], level, centre)
    return float(low), float(high)


def _check_of_loss(fit: FitParameters) -> None:
    """Refuse to decide about budgets by a fit of another quantity, which need not be small."""
    if not fit.of_loss:
        reason = f"is fitted to {fit.quantity!r}, and the best of a budget is that of least loss"
        raise IsolossError(Problem(fit.facts["card"], reason, "fit the loss, or use `predict`"))


def _check_budgets(law: Law) -> None:
    """Refuse to ask a law for the loss of a budget that does not give it."""
    if not law.has_least_loss:
        law.least_loss(np.zeros(len(law.terms)), 1.0)  # says what it needs


def allocation(law: Law, theta: np.ndarray, flops) -> Columns:
    """The best N and D of budgets, and the loss there, (r,) each; NaN where there is no optimum.

    Args:
        law: one that allocates.
        theta: estimates, (r, p).
        flops: the budget, a number or (r,).
    """
    flops = np.broadcast_to(np.asarray(flops, dtype=float), theta.shape[:1])
    with np.errstate(all="ignore"):  # an exponent that is not positive has no optimum: NaN
        n, d = law.allocate(theta, flops)
        points = {"N": n[:, None], "D": d[:, None], "C": flops[:, None]}
        points = {k: v for k, v in points.items() if k in law.variables}
        loss = law.loss(theta, points)[:, 0]
        exists = np.isfinite(n) & np.isfinite(d) & np.isfinite(loss) & (n > 0)
        best = {"N": n, "D": d, "tokens_per_parameter": d / n, "loss": loss}
    return {name: np.where(exists, values, np.nan) for name, values in best.items()}


def _exponents(law: Law, theta: np.ndarray, flops: float) -> Columns:
    """d ln N / d ln C and d ln D / d ln C of the best division at a budget, (r,) each."""
    above, below = (allocation(law, theta, flops * np.exp(side)) for side in (STEP, -STEP))
    with np.errstate(invalid="ignore"):
        n = np.log(above["N"] / below["N"]) / (2 * STEP)
    return {"n_exponent": n, "d_exponent": 1 - n}


def _least_loss(law: Law, theta: np.ndarray, flops) -> np.ndarray:
    """The least loss of budgets, (r,); NaN where a budget has no best division."""
    if law.allocates:
        return allocation(law, theta, flops)["loss"]
    with np.errstate(all="ignore"):
        return law.least_loss(theta, flops)


def _reaching(law: Law, theta: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """The smallest budgets that reach losses, (r,); infinite for never, NaN if that is not known.

    Args:
        law: one that gives a loss for a budget.
        theta: estimates, (r, p).
        loss: to be reached, (r,).
    """

    def above(flops: np.ndarray) -> np.ndarray:
        return loss - _least_loss(law, theta, flops)

    low, high = (above(np.full(len(theta), np.exp(end))) for end in _LOG_FLOPS)
    never = (low < 0) & (high <= 0)
    return np.where(never, np.inf, _budget(above, len(theta)))


def _budget(rising: Callable[[np.ndarray], np.ndarray], count: int) -> np.ndarray:
    """Budget at which a rising function of it, (r,) -> (r,), crosses zero; NaN where it does not.

    By halves of the interval in ln C, and then, where the function is close to straight, by false
    position: an end that stays has its value halved (the Illinois rule), so that both ends move.
    """
    low, high = np.full(count, _LOG_FLOPS[0]), np.full(count, _LOG_FLOPS[1])
    with np.errstate(all="ignore"):
        at_low, at_high = rising(np.exp(low)), rising(np.exp(high))
        crosses, before = (at_low < 0) & (at_high > 0), np.zeros(count)
        for step in range(_HALVED + _STRAIGHT):
            share = at_low / (at_low - at_high) if step >= _HALVED else 0.5
            point = low + np.where((share >= 0) & (share <= 1), share, 0.5) * (high - low)
            value = rising(np.exp(point))
            up = value > 0
            at_low = np.where(up, np.where(before > 0, at_low / 2, at_low), value)
            at_high = np.where(up, value, np.where(before < 0, at_high / 2, at_high))
            low, high = np.where(up, low, point), np.where(up, point, high)
            before = np.where(up, 1, -1) if step >= _HALVED else before
    return np.where(crosses, np.exp(point), np.nan)
