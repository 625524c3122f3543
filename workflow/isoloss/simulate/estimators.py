"""What an estimator makes of simulated runs: the parameters and the best division of budgets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from isoloss.core import registry
from isoloss.core.filters import evaluate
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.core.tables import WHOLE
from isoloss.core.units import NATS
from isoloss.fit import profile
from isoloss.fit.coordinates import check_constraints
from isoloss.fit.law import solved
from isoloss.fit.outcome import params_of
from isoloss.fit.replicate import clusters_of
from isoloss.fit.settings import Settings, settings_of
from isoloss.fitted import allocation, quantiles
from isoloss.laws._law import Law
from isoloss.laws._make import made_law
from isoloss.simulate.kinds import check_mapping
from isoloss.simulate.truth import VARIABLES, Truth

# settings of a fit that an estimator can have, with their defaults, which are those of `fit_law`
SETTINGS = {
    "where": "",
    "objective": "huber_log",
    "delta": 1e-3,
    "fixed": {},
    "tied": (),
    "bounds": {},
    "starts": None,
    "weights": None,
    "interval": "bootstrap",
    "bootstrap": 200,
    "ci_level": 0.95,
}
OPTIMUM = {"n_opt": "N", "d_opt": "D", "loss_opt": "loss"}  # quantity to what `allocation` calls it
EXPONENT = "n_exponent"
STEP = 0.05  # in ln C, on both sides of a budget, of the exponent there


class Quantity(NamedTuple):
    """Something that is estimated: a term of a law, or of the best division of a budget."""

    name: str
    flops: float  # NaN of terms


class Trial(NamedTuple):
    """An estimate of one quantity from the runs of one simulated study."""

    quantity: Quantity
    truth: float
    estimate: float
    low: float
    high: float
    status: str


@dataclass(frozen=True)
class Estimator:
    """A law and how it is fitted.

    Attributes:
        law: with its options.
        settings: of the fit.
        where: filter that selects runs.
        weights: function of C (n,) that gives the weight of every run; None for 1.
        truths: true value of every quantity that the law has in common with the true law.
    """

    law: Law
    settings: Settings
    where: str
    weights: Callable[[np.ndarray], np.ndarray] | None
    truths: Mapping[Quantity, float]

    def scale(self, quantity: Quantity) -> str:
        """`log` for what is positive on a scale without an origin, else `linear`.

        The irreducible loss E is linear: nothing is wrong with one that is nearly 0.
        """
        above = {term.name for term in self.law.terms if term.above_zero}
        logarithmic = above - {"E"} | set(OPTIMUM)
        of_budget = not np.isnan(quantity.flops)
        name = quantity.name
        return "log" if name in logarithmic and of_budget == (name in OPTIMUM) else "linear"

    def trials(self, runs: pd.DataFrame, seed: int) -> list[Trial]:
        """The estimates of all quantities; without values where the law cannot be fitted.

        Args:
            runs: a `runs` table.
            seed: of the bootstrap.
        """
        try:
            estimates, status = self._estimates(self.weighted(runs), self.seeded(seed))
        except IsolossError as error:
            return self.failed(error)
        none = (np.nan, np.nan, np.nan)
        return [
            Trial(quantity, truth, *estimates.get(quantity, none), status)
            for quantity, truth in self.truths.items()
        ]

    def weighted(self, runs: pd.DataFrame) -> pd.DataFrame:
        """Runs with their weights in the fit."""
        if self.weights is None:
            return runs
        return runs.assign(fit_weight=self.weights(runs["n_flops"].to_numpy()))

    def seeded(self, seed: int) -> Settings:
        """The settings of the fit with the seed of its bootstrap."""
        return replace(self.settings, seed=seed)

    def failed(self, error: IsolossError) -> list[Trial]:
        """Trials of runs that cannot be fitted."""
        rows = self.truths.items()
        return [Trial(q, truth, *[np.nan] * 3, f"failed: {error}") for q, truth in rows]

    def _estimates(
        self, runs: pd.DataFrame, settings: Settings
    ) -> tuple[dict[Quantity, tuple[float, float, float]], str]:
        """Estimate, low and high end of every quantity, and the status of the fit."""
        fitted, solution, replicates = solved(runs, settings, self.where)
        along, level = _no_profiles(), settings.level
        if settings.profiles:
            along = solution.profiles(clusters_of(fitted.fitted, settings)[0], level)
        thetas, estimates = replicates.kept.theta, {}
        params = params_of(solution, thetas, along, settings)
        columns = zip(*(params[c] for c in ("term", "estimate", "ci_low", "ci_high")), strict=True)
        for term, *values in columns:
            estimates[Quantity(term, np.nan)] = tuple(map(float, values))
        best = dict(of_budgets(self.law, solution.estimate.theta[None], self.flops))
        drawn = dict(of_budgets(self.law, thetas, self.flops))
        for quantity, (value,) in best.items():
            known = drawn[quantity][np.isfinite(drawn[quantity])]
            estimates[quantity] = (float(value), *map(float, quantiles(known, level, value)))
        return estimates, "converged" if solution.sound else "not_converged"

    @property
    def flops(self) -> list[float]:
        """The budgets asked for."""
        named = (q.flops for q in self.truths if not np.isnan(q.flops))
        return list(dict.fromkeys(named))


@cache
def _no_profiles() -> pd.DataFrame:
    """A table of profiles without rows."""
    return profile.empty()


def of_budgets(
    law: Law, theta: np.ndarray, budgets: Sequence[float]
) -> Iterator[tuple[Quantity, np.ndarray]]:
    """What a law says of budgets, (r,) each, of estimates theta (r, p).

    Of a law that divides a budget n_opt, d_opt, loss_opt and n_exponent = d ln n_opt / d ln C; of a
    law in C loss_opt.
    """
    for flops in budgets:
        if not law.allocates:
            with np.errstate(all="ignore"):
                yield Quantity("loss_opt", flops), law.least_loss(theta, flops)
            continue
        best = allocation(law, theta, flops)
        for name, column in OPTIMUM.items():
            yield Quantity(name, flops), best[column]
        with np.errstate(all="ignore"):
            above, below = (allocation(law, theta, flops * np.exp(s))["N"] for s in (STEP, -STEP))
            yield Quantity(EXPONENT, flops), np.log(above / below) / (2 * STEP)


def answers(law: Law) -> bool:
    """Whether a law says anything of a budget."""
    return law.allocates or law.variables == ("C",)


def estimator_of(
    name: str, entry: Mapping[str, Any], truth: Truth, budgets: Sequence[float]
) -> Estimator:
    """The estimator that is asked for.

    Args:
        name: of it, for messages.
        entry: `card`, `options` of it, and any of SETTINGS.
        truth: the law that runs obey.
        budgets: FLOP, for which the best division is asked for.

    Raises:
        IsolossError: a setting or parameter that is not known, or a law that needs more of a run
            than N, D, C, or that has nothing in common with the true law.
    """
    place = f"estimators.{name}"
    check_mapping(place, entry, "give `card`, a law, and settings of `fit_law`")
    given = {**SETTINGS, **entry}
    card, options = given.pop("card", None), given.pop("options", None)
    wrong = [
        Problem(f"{place}.{key}", "not a setting of an estimator", nearest(key, SETTINGS))
        for key in given
        if key not in SETTINGS
    ]
    if card not in registry.names("law"):
        known = nearest(card, registry.names("law"))
        wrong.append(Problem(f"{place}.card", f"found {card!r}", known))
    elif registry.of_mixtures(card):
        reason = f"{card!r} is a law of mixtures"
        wrong.append(Problem(f"{place}.card", reason, "name a law in N, D or C"))
    if wrong:
        raise IsolossError(*wrong)
    where, weights = given.pop("where"), given.pop("weights")
    if where:
        evaluate(runs_table(*np.ones((3, 1))), where, f"{place}.where")
    fixed, tied, bounds = (given.pop(key) for key in ("fixed", "tied", "bounds"))
    beside = {"shared": (), "holdout": "none", "cluster": None}
    beside |= {"profiles": False, "seed": 0, "loss_unit": NATS}
    try:
        settings = settings_of(card, options, fixed, tied, bounds, **given, **beside)
        law = made_law(card, settings.options)
        held = settings.constraints
        check_constraints(law, held.fixed, held.tied, held.bounds)
    except IsolossError as error:
        raise IsolossError(*[one.within(place, ".") for one in error.problems]) from None
    more = [variable for variable in law.variables if variable not in VARIABLES]
    if more:
        reason = f"{card!r} needs {', '.join(more)}, and a simulated run has N, D and C"
        raise IsolossError(Problem(f"{place}.card", reason, "name another law"))
    truths = _truths(law, card, truth, budgets)
    if not truths:
        reason = f"{card!r} has no parameter in common with {truth.card!r}"
        remedy = "give `budgets`, of which both say the best division"
        raise IsolossError(Problem(f"{place}.card", reason, remedy))
    return Estimator(law, settings, where, weights, truths)


def _truths(law: Law, card: str, truth: Truth, budgets: Sequence[float]) -> dict[Quantity, float]:
    """True value of every quantity that a law has in common with the true law."""
    truths = {}
    if truth.knows(law, card):
        names = [term.name for term in law.terms if term.name in truth.values]
        truths = {Quantity(name, np.nan): float(truth.values[name]) for name in names}
    if answers(law) and answers(truth.law):
        own = {q for q, _ in of_budgets(law, np.zeros((0, len(law.terms))), budgets)}
        known = of_budgets(truth.law, truth.theta[None], budgets)
        truths |= {quantity: float(value) for quantity, (value,) in known if quantity in own}
    return truths


def runs_table(N: np.ndarray, D: np.ndarray, loss: np.ndarray) -> pd.DataFrame:
    """Simulated runs as what a fit reads of a `runs` table; losses not above 0 are not used."""
    flops = 6.0 * N * D
    return pd.DataFrame(
        {
            "run_id": [f"run-{number}" for number in range(len(N))],
            "group": WHOLE,
            "n_params": N,
            "n_samples": D,
            "n_flops": flops,
            "n_flops_6nd": flops,
            "loss": loss,
            "seed": 0,
            "status": np.where(np.asarray(loss) > 0, "done", "dropped"),
            "fit_weight": 1.0,
        }
    )
