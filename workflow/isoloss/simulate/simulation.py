"""Simulated studies of a known truth: the room's verb."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from isoloss.core import tables
from isoloss.core.arguments import checked
from isoloss.core.escape import terminal
from isoloss.core.problems import IsolossError, Problem
from isoloss.core.processes import in_processes
from isoloss.core.seeds import generator
from isoloss.fitted import allocation
from isoloss.simulate.estimators import Estimator, Trial, estimator_of, runs_table
from isoloss.simulate.kinds import check_mapping
from isoloss.simulate.noise import Draw, Noise, noise_of
from isoloss.simulate.plans import Draw as PlanDraw
from isoloss.simulate.plans import Plan, plan_of
from isoloss.simulate.recovery import recovery_of
from isoloss.simulate.rounds import grown, rounds_of
from isoloss.simulate.truth import Truth, truth_of

_ALLOCATING = "take one that divides a budget between N and D"
BLOCK = 10  # replicates that a worker does in one go: what it sends back is small
MOST = 100_000  # replicates
COLUMNS = ("estimator", "replicate", "quantity", "n_flops", "truth", "estimate", "ci_low")
COLUMNS += ("ci_high", "status")
SHOWN = ["estimator", "quantity", "n_flops", "truth", "bias", "bias_se", "sd", "coverage"]


@dataclass(frozen=True)
class Simulation:
    """Simulated studies and what estimators made of them.

    Attributes:
        trials: the table `trials`: one row an estimator, replicate and quantity.
        recovery: the table `recovery`: bias, spread and coverage of every estimator and quantity.
    """

    trials: pd.DataFrame
    recovery: pd.DataFrame

    def save(self, folder: str | Path, **facts: Any) -> list[Path]:
        """Write both tables into a folder; the files, `recovery` first."""
        return tables.write_all({"recovery": self.recovery, "trials": self.trials}, folder, facts)

    def __repr__(self) -> str:
        """The main columns of `recovery`."""
        return terminal(self.recovery[SHOWN].to_string(index=False, float_format="{:.4g}".format))


@dataclass(frozen=True)
class Experiment:
    """What is simulated: all that a replicate needs besides its number.

    Attributes:
        truth: the law that runs obey.
        plan: their sizes and lengths.
        noise: of their losses.
        estimators: by name.
        rounds: by which every estimator chooses further runs (`rounds_of`); None for none.
        seed: of all draws.
    """

    truth: Truth
    plan: Plan
    noise: Noise
    estimators: Mapping[str, Estimator]
    rounds: Mapping[str, Any] | None
    seed: int

    def runs(self, number: int) -> pd.DataFrame:
        """The runs of a replicate that all estimators see."""
        identity = str(number)
        own = identity if self.plan.drawn else "all"
        rng = generator(self.seed, "plan of a simulated study", own)
        return self._run(*self.plan.points(rng, self.truth), identity)

    def _run(self, N: np.ndarray, D: np.ndarray, identity: str) -> pd.DataFrame:
        """Runs at some sizes and lengths with their noise."""
        runs = self.truth.runs(N, D)
        rng = generator(self.seed, "noise of a simulated study", identity)
        return runs_table(N, D, runs.loss + self.noise.draw(rng, runs))

    def _trials(self, estimator: Estimator, runs: pd.DataFrame, number: int) -> list[Trial]:
        """What an estimator makes of the runs of a replicate, and of those that it chooses."""
        draws = generator(self.seed, "bootstrap of a simulated study", str(number))
        seed = int(draws.integers(2**63))
        if self.rounds is not None:
            try:
                runs = grown(
                    estimator.weighted(runs),
                    self.rounds,
                    estimator.seeded(seed),
                    estimator.where,
                    lambda N, D, at: estimator.weighted(self._run(N, D, f"{number} round {at}")),
                )
            except IsolossError as error:
                return estimator.failed(error)
        return estimator.trials(runs, seed)

    def block(self, numbers: Sequence[int]) -> list[tuple]:
        """Rows of `trials` of some replicates, with the columns COLUMNS."""
        rows = []
        for number in numbers:
            runs = self.runs(number)
            for name, estimator in self.estimators.items():
                trials = self._trials(estimator, runs, number)
                for q, truth, estimate, low, high, status in trials:
                    rows.append((name, number, *q, truth, estimate, low, high, status))
        return rows


@checked()
def simulate_studies(
    truth: Mapping[str, Any] | str,
    plan: Mapping[str, Any] | pd.DataFrame | PlanDraw,
    noise: Mapping[str, Any] | Draw | None,
    estimators: Mapping[str, Mapping[str, Any]],
    *,
    rounds: Mapping[str, Any] | None = None,
    replicates: int = 1000,
    budgets: Sequence[float] = (),
    seed: int = 0,
    workers: int | None = None,
) -> Simulation:
    """Simulate studies of a known law, fit each by every estimator, and compare with the truth.

    Every replicate is a study: runs of the plan, whose losses are those of the true law plus
    noise. Its draws come from a generator of its own, so that no result depends on the number of
    workers, and more replicates change none of the others.

    Args:
        truth: the law: `card`, `options`, and `values` of its parameters or a `preset` of the card;
            or a card alone, with its first preset.
        plan: sizes and lengths of the runs: `kind` (grid, isoflop, seed_ranges) and its settings
            (docs/fitting.md); or a table with columns N and D, or a `runs` table; or a function of
            a generator that gives N and D, (n,) each, called for every replicate.
        noise: of the losses: `kind` (none, exponential, normal, heavy_tailed, heteroscedastic) and
            its settings; or a function of (generator, N, D, loss), (n,) each, that gives the noise
            (n,) in nats; None for none.
        estimators: name to `card` (of a law), `options` of it, and settings of `fit_law`: where,
            objective, delta, fixed, tied, bounds, starts, interval, bootstrap, ci_level; and
            `weights`, a function of C (n,) that gives the weight of every run in the fit.
        rounds: adaptive rounds after the plan, each chosen by the estimator's own fit: `count`,
            `planner` (a card), its `options`, and `budget`, `target`, `until` as of a sweep.
        replicates: how many studies.
        budgets: FLOP, for which the best division between N and D is compared too.
        seed: of all draws.
        workers: processes; as many as there are cores if None.

    Returns:
        Tables `trials` and `recovery`. An estimator whose law is not the true one is compared where
        both have a quantity: parameters of one name, if both laws are of the same variables, and
        the best division of the budgets.

    Raises:
        IsolossError: what is wrong with the arguments, all problems at once.

    Example:
        >>> import isoloss
        >>> span = {"from": 1e18, "to": 1e21, "points": 4}
        >>> simulation = isoloss.simulate_studies(
        ...     {"card": "chinchilla", "preset": "hoffmann"},
        ...     {"kind": "isoflop", "C": span, "sizes": 5},
        ...     None,
        ...     {"huber": {"card": "chinchilla", "bootstrap": 0}},
        ...     replicates=2,
        ...     workers=1,
        ... )
        >>> simulation.recovery[["quantity", "truth", "mean"]].round(3)
          quantity    truth     mean
        0        E    1.693    1.693
        1        A  406.401  406.401
        2        B  410.723  410.723
        3    alpha    0.339    0.339
        4     beta    0.285    0.285
    """
    count = len(os.sched_getaffinity(0)) if workers is None else workers
    experiment = experiment_of(truth, plan, noise, estimators, budgets, rounds, seed)
    _check_counts(replicates=(replicates, MOST), workers=(count, 1024))
    blocks = [range(at, min(at + BLOCK, replicates)) for at in range(0, replicates, BLOCK)]
    with threadpool_limits(1):
        rows = [row for part in in_processes(experiment.block, blocks, count) for row in part]
    trials = pd.DataFrame(rows, columns=COLUMNS)
    trials["covered"] = _covered(trials)
    order = {name: place for place, name in enumerate(experiment.estimators)}
    trials = trials.sort_values("estimator", key=lambda c: c.map(order), kind="stable")
    trials = trials[tables.schema("trials").names].reset_index(drop=True)
    return Simulation(trials, recovery_of(trials, experiment.estimators))


def experiment_of(
    truth: Mapping[str, Any] | str,
    plan: Mapping[str, Any] | pd.DataFrame | PlanDraw,
    noise: Mapping[str, Any] | Draw | None,
    estimators: Mapping[str, Mapping[str, Any]],
    budgets: Sequence[float],
    rounds: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Experiment:
    """What is asked for, checked; all problems at once where the truth is sound."""
    true_law = truth_of(truth)
    check_mapping("estimators", estimators, "give settings of `fit_law` by a name of yours")
    if not isinstance(budgets, Iterable):
        raise IsolossError(Problem("budgets", f"found {budgets!r:.60}", "give a list"))
    wrong = [
        Problem(f"budgets[{i}]", f"found {flops!r:.60}", "needs a number of FLOP above 0")
        for i, flops in enumerate(budgets)
        if not (isinstance(flops, int | float | np.number) and 0 < flops < np.inf)
    ]
    if not estimators:
        wrong.append(Problem("estimators", "there are none", "name at least one"))
    if budgets and true_law.law.allocates and not wrong:
        best = allocation(true_law.law, true_law.theta[None], budgets[0])["N"]
        if not np.isfinite(best).all():
            reason = "the true law has no best N of a budget (an exponent is not above 0)"
            wrong.append(Problem("budgets", reason, "leave them out"))
    if wrong:
        raise IsolossError(*wrong)
    collect, budgets = _Collected(), [float(flops) for flops in budgets]
    plan_made = collect.of(plan_of, plan, true_law)
    noise_made, rounds_made = collect.of(noise_of, noise), collect.of(rounds_of, rounds)
    by_name = {
        name: collect.of(estimator_of, name, entry, true_law, budgets)
        for name, entry in estimators.items()
    }
    if rounds is not None:
        collect.problems += [
            Problem(f"estimators.{name}.card", "its law cannot choose a round", _ALLOCATING)
            for name, one in by_name.items()
            if one is not None and not one.law.allocates
        ]
    if collect.problems:
        raise IsolossError(*collect.problems)
    return Experiment(true_law, plan_made, noise_made, by_name, rounds_made, seed)


class _Collected:
    """Problems of several parts, so that all are told at once."""

    def __init__(self):
        self.problems: list[Problem] = []

    def of(self, make: Callable[..., Any], *arguments: Any) -> Any:
        """What a function makes; None, and its problems kept, where it raises some."""
        try:
            return make(*arguments)
        except IsolossError as error:
            self.problems += error.problems
            return None


def _covered(trials: pd.DataFrame) -> pd.Series:
    """Whether every interval holds the truth, to nine digits; null without one."""
    slack = 1e-9 * trials["truth"].abs()
    inside = trials["truth"].between(trials["ci_low"] - slack, trials["ci_high"] + slack)
    known = trials[["ci_low", "ci_high"]].notna().all(axis=1)
    return inside.astype("boolean").where(known)


def _check_counts(**counts: tuple[Any, int]) -> None:
    """Raise a problem for every count that is not a whole number from 1 to its limit."""
    wrong = [
        Problem(name, f"found {value!r:.60}", f"needs a whole number, 1 to {most}")
        for name, (value, most) in counts.items()
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most
    ]
    if wrong:
        raise IsolossError(*wrong)
