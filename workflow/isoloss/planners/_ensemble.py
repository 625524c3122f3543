"""What a new run would teach, by the bootstrap replicates of a fit.

Each replicate is a law that the runs so far allow. A run at N and D would tell those apart that
predict different losses there. By linear approximation, in the logarithm of the loss, its outcome
shrinks the variance of any quantity q over the replicates by cov(q, ln L)^2 / (var(ln L) + s^2),
s being the noise of a run, whatever the outcome is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from isoloss.core import units
from isoloss.core.problems import IsolossError, Problem
from isoloss.planners._planner import Choice, State

_BUDGETS, _RATIOS = 9, 12  # of the grid of runs
_BEYOND = 2.0  # factor by which its D/N go beyond those of the runs so far
_LEAST_NOISE = 1e-4  # of a log loss: that of runs which a law fits exactly
_LEAST_REPLICATES = 10


@dataclass(frozen=True)
class Grid:
    """Runs that could be trained: N, D and compute 6 N D, (m,) each."""

    n_params: np.ndarray
    n_samples: np.ndarray

    @property
    def flops(self) -> np.ndarray:
        """Compute of each, (m,)."""
        return 6.0 * self.n_params * self.n_samples


def grid(state: State, factor: float) -> Grid:
    """Runs of budgets up to `factor` times the largest run so far, (m,).

    A law is known to hold where there are runs: none is smaller than all of them in N or D, and D/N
    lies within a factor of 2 of theirs.
    """
    ended = state.runs[state.runs["status"] == "done"]
    n, d = ended["n_params"].astype(float), ended["n_samples"].astype(float)
    budgets = np.geomspace(ended["n_flops_6nd"].min(), state.scaled(factor), _BUDGETS)
    ratios = np.geomspace((d / n).min() / _BEYOND, (d / n).max() * _BEYOND, _RATIOS)
    sizes = np.sqrt(budgets[:, None] / 6.0 / ratios)
    tokens = sizes * ratios
    inside = (sizes >= n.min()) & (tokens >= d.min())
    return Grid(sizes[inside], tokens[inside])


class Ensemble:
    """The replicates of a fit as deviations from their means, which a run that is chosen shrinks.

    Args:
        state: what is known; the fit has replicates.
        runs: those that could be trained.
        flops: of the budget whose optimum is the question.

    Raises:
        IsolossError: fewer than 10 replicates have an optimum.

    Attributes:
        log_loss: of the runs by every replicate, (r, m), without its mean.
        log_size: ln N at the best division of the budget by every replicate, (r,), likewise.
        noise: variance of the log loss of a run around the law.
    """

    def __init__(self, state: State, runs: Grid, flops: float):
        replicates = state.fit.replicate_estimates()
        law = state.fit.law.given(replicates.state)
        data = {"N": runs.n_params, "D": runs.n_samples, "C": runs.flops}
        data = {name: data[name] for name in law.variables}
        with np.errstate(all="ignore"):  # of a replicate without an optimum
            log_loss = np.log(law.loss(replicates.theta, data))
            log_size = np.log(law.allocate(replicates.theta, flops)[0])
        whole = np.isfinite(log_loss).all(axis=1) & np.isfinite(log_size)
        if whole.sum() < _LEAST_REPLICATES:
            reason = f"{whole.sum()} of {len(whole)} replicates of the fit have an optimum"
            remedy = "give the fit more `bootstrap` replicates, or the sweep more seeding runs"
            raise IsolossError(Problem("rounds: planner", reason, remedy))
        self.log_loss, self.log_size = _centred(log_loss[whole]), _centred(log_size[whole])
        self.noise = _noise(state)

    def disagreement(self) -> np.ndarray:
        """Variance of the log loss of every run over the replicates, (m,)."""
        return np.mean(self.log_loss**2, axis=0)

    def gain(self) -> np.ndarray:
        """By how much every run would shrink the variance of ln N at the optimum, (m,)."""
        covariance = self.log_size @ self.log_loss / len(self.log_size)
        return covariance**2 / (self.disagreement() + self.noise)

    def variance(self) -> float:
        """Variance of ln N at the optimum."""
        return float(np.mean(self.log_size**2))

    def learn(self, which: int) -> None:
        """Shrink the deviations as the outcome of a run would (Whitaker and Hamill 2002)."""
        deviation = self.log_loss[:, which].copy()
        total = np.mean(deviation**2) + self.noise
        part = 1.0 / (total * (1.0 + np.sqrt(self.noise / total)))
        self.log_size -= part * deviation * np.mean(deviation * self.log_size)
        shared = deviation @ self.log_loss / len(self.log_size)
        self.log_loss -= part * deviation[:, None] * shared


def in_turn(
    state: State, factor: float, runs: int, worth: Callable[[Ensemble], np.ndarray], why: str
) -> list[Choice]:
    """The runs of most worth a FLOP, each chosen as if the outcome of those before were known.

    Together they cost no more than `factor` times the largest run so far, or the target.

    Args:
        state: what is known.
        factor: compute of all of them over that of the largest run so far.
        runs: how many at most.
        worth: of every run of the grid, (m,).
        why: how a reason begins.
    """
    possible = grid(state, factor)
    target = state.target or state.scaled(factor)
    ensemble = Ensemble(state, possible, target)
    n, d, budget = possible.n_params, possible.n_samples, units.power(target)
    left, free, chosen = state.scaled(factor) * (1 + 1e-9), np.full(len(n), True), []
    for _ in range(runs):
        rate = worth(ensemble) / possible.flops * (free & (possible.flops <= left))
        if not rate.any():
            break
        best = int(np.argmax(rate))
        free[best] = False  # a run is trained once
        before = ensemble.variance() ** 0.5
        ensemble.learn(best)
        left -= possible.flops[best]
        spread = f"C = {budget} FLOP from {before:.3g} to {ensemble.variance() ** 0.5:.3g}"
        reason = f"{why}: it is expected to shrink the SD of ln N at {spread}"
        chosen.append(Choice(float(n[best]), float(d[best]), reason))
    return chosen


def _centred(values: np.ndarray) -> np.ndarray:
    """Deviations from the mean, those far out drawn in to the 95 % around the median."""
    low, high = np.quantile(values, [0.025, 0.975], axis=0)
    values = np.clip(values, low, high)
    return values - values.mean(axis=0)


def _noise(state: State) -> float:
    """Variance of the log losses around the law, by the residuals of the fit."""
    rows = state.fit.residuals
    rows = rows[~rows["held_out"].astype(bool)]
    residuals = np.log(rows["loss"] / rows["predicted"])
    free = max(1, len(rows) - len(state.fit.law.terms))
    return max(float((residuals**2).sum() / free), _LEAST_NOISE**2)
