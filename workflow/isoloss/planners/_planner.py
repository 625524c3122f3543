"""The contract of planner cards: which runs are trained next, by the fit of those so far.

A planner card has TITLE, ABOUT, SOURCE, OPTIONS (as JSON Schema properties) and the function of
`Card`. One that cannot choose by every law that divides a budget has KINDS: the kinds of laws
(registry.LAW_KINDS) by which it can; one that weighs the replicates of the fit has REPLICATES. What
holds for every planner is not its business: `choose/choices.py` ends the rounds when the budget is
spent or the interval is narrow enough, drops choices that were trained before or cost more than is
left, and writes intervals and predicted losses beside the choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from isoloss.core import registry, units
from isoloss.core.problems import Problem

if TYPE_CHECKING:
    import pandas as pd

    from isoloss.fitted import Fit


@dataclass(frozen=True)
class State:
    """What is known when the runs of a round are chosen. Compute is 6 N D everywhere.

    Attributes:
        fit: the law fitted to the runs so far; it has an optimum at the budgets of the runs.
        runs: the `runs` table of the sweep so far, whatever became of the runs.
        spent: FLOP of all of these runs together.
        largest: the greatest FLOP of a run that ended well.
        left: FLOP that the rounds can still spend; None without a limit.
        target: FLOP of the budget whose optimum is the question; None if the study does not say.
        seed: of a planner that draws, through `core.seeds.generator`.
    """

    fit: Fit
    runs: pd.DataFrame
    spent: float
    largest: float
    left: float | None
    target: float | None
    seed: int

    def scaled(self, factor: float) -> float:
        """FLOP of `factor` times the largest run so far, and no more than the target."""
        flops = factor * self.largest
        return flops if self.target is None else min(flops, self.target)

    def optimum(self, flops: float) -> Optimum:
        """The best division of a budget by the fit."""
        row = self.fit.allocate(flops).iloc[0]
        names = ("C", "N", "D", "N_low", "N_high")
        return Optimum(*(float(row[name]) for name in names), n_runs=self.n_fitted)

    @property
    def n_fitted(self) -> int:
        """How many runs the law was fitted to."""
        return int(self.fit.summary["n_runs"].iloc[0])


@dataclass(frozen=True)
class Optimum:
    """The best N and D of a budget C = 6 N D (FLOP), the interval of N, and the runs behind it.

    Example:
        >>> print(Optimum(3.2e13, 41000.0, 1.3e8, 33000.0, 52000.0, n_runs=12))
        the optimum at C = 3.2e13 FLOP by the fit of 12 runs: N = 41k [33k, 52k]
    """

    flops: float
    n_params: float
    n_samples: float
    n_low: float
    n_high: float
    n_runs: int

    def __str__(self) -> str:
        size = f"N = {units.estimate(self.n_params, self.n_low, self.n_high, units.count)}"
        budget = f"C = {units.power(self.flops)} FLOP"
        return f"the optimum at {budget} by the fit of {self.n_runs} runs: {size}"


@dataclass(frozen=True)
class Choice:
    """A run to be trained.

    Attributes:
        n_params: N that is aimed at; the plan finds the sizes of the model that come nearest.
        n_samples: D that is aimed at, in tokens or examples.
        reason: why this N and D, a plain sentence without a full stop at its end.
    """

    n_params: float
    n_samples: float
    reason: str

    @property
    def flops(self) -> float:
        """Its compute 6 N D."""
        return 6.0 * self.n_params * self.n_samples


def law_problems(planner: str, law: str) -> list[Problem]:
    """Why a planner cannot choose by the fits of a law card; empty if it can.

    Example:
        >>> law_problems("scale_up", "envelope"), law_problems("least_variance", "chinchilla")
        ([], [])
    """
    kind = registry.facts("law", law)["KIND"]
    kinds = registry.facts("planner", planner).get("KINDS", [kind])
    if kind in kinds:
        return []
    reason = f"it cannot choose by {law!r}, a law of kind {kind}"
    remedy = f"take a law of kind {' or '.join(kinds)}, or another planner"
    return [Problem(f"planner {planner}", reason, remedy)]


class Card(Protocol):
    """The function of a planner card."""

    def choose(self, state: State, **options) -> Sequence[Choice]:
        """The runs of the next round, the most important first.

        Args:
            state: the fit, the runs so far, and what they cost.
            options: of the card, complete.
        """
