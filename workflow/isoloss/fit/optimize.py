"""The optimum over many starts: screen, descend, polish; with the evidence that it is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from isoloss.fit.objectives import Objective
from isoloss.laws._law import Data, Law

AGREE = 1e-6  # relative difference of objectives below which two ends are the same optimum
STATIONARY = 1e-6  # what may be left of a gradient, relative to the terms that cancel in it
EXACT = 1e-12  # root mean square log residual below which a fit is exact


@dataclass(frozen=True)
class End:
    """Where a start ended.

    Attributes:
        begin, theta: start and end in the law's coordinates, (p,).
        objective: value at the end.
        gradient_norm: largest component of the projected gradient there.
        converged: whether the gradient is zero to the accuracy of its terms, or the fit exact.
        exact: whether nothing but rounding is left of the residuals.
    """

    begin: np.ndarray
    theta: np.ndarray
    objective: float
    gradient_norm: float
    converged: bool
    exact: bool


class Problem:
    """An objective over some runs as a function of theta.

    Args:
        law: the law, its options chosen.
        data: variables of the law, each (n,).
        loss: observed, (n,).
        weight: of each run, (n,); a run drawn twice in a bootstrap counts twice.
        objective: what is summed.
    """

    def __init__(
        self, law: Law, data: Data, loss: np.ndarray, weight: np.ndarray, objective: Objective
    ):
        self.law, self.data, self.loss = law, data, loss
        self.weight, self.objective = weight, objective
        self.low = np.array([term.low for term in law.terms])
        self.high = np.array([term.high for term in law.terms])

    def value(self, theta: np.ndarray) -> np.ndarray:
        """The objective, theta (..., p) -> (...)."""
        terms, _ = self.objective.terms(self.law.log_loss(theta, self.data), self.loss)
        return terms @ self.weight

    def gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Objective, gradient (p,), and the sum of the absolute terms of each component (p,)."""
        terms, slopes = self.objective.terms(self.law.log_loss(theta, self.data), self.loss)
        by_run = (slopes * self.weight)[:, None] * self.law.log_loss_gradient(theta, self.data)
        return float(terms @ self.weight), by_run.sum(axis=0), np.abs(by_run).sum(axis=0)

    def free(self, theta: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Coordinates that are not held by a bound, (p,)."""
        held_low = (theta <= self.low) & (gradient > 0)
        held_high = (theta >= self.high) & (gradient < 0)
        return ~(held_low | held_high)

    def hessian(self, theta: np.ndarray) -> np.ndarray:
        """Central differences of the gradient, (p, p), symmetric."""
        size = len(theta)
        step = 1e-5 * np.maximum(1.0, np.abs(theta))
        rows = [
            (self.gradient(theta + s * e)[1] - self.gradient(theta - s * e)[1]) / (2 * s)
            for s, e in zip(step, np.eye(size), strict=True)
        ]
        return (np.array(rows) + np.array(rows).T) / 2


def descend(problem: Problem, begin: np.ndarray) -> End:
    """L-BFGS-B from a start, then damped Newton steps until the gradient vanishes."""
    # L-BFGS-B stops by absolute size: bring the objective near one (Huber's is of order delta^2).
    size = 1.0 / max(problem.value(begin), 1e-300)

    def scaled(theta):
        value, gradient, _ = problem.gradient(theta)
        return size * value, size * gradient

    found = minimize(
        scaled,
        np.clip(begin, problem.low, problem.high),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(problem.low, problem.high, strict=True)),
        options={"maxiter": 1000, "maxcor": 20, "ftol": 1e-15, "gtol": 1e-12},
    )
    theta = polish(problem, found.x)
    value, gradient, terms = problem.gradient(theta)
    left = np.where(problem.free(theta, gradient), np.abs(gradient), 0.0)
    residuals = problem.law.log_loss(theta, problem.data) - np.log(problem.loss)
    exact = bool(np.sqrt(np.mean(residuals**2)) < EXACT)
    stationary = bool(np.all(left <= STATIONARY * np.maximum(terms, 1e-300)))
    return End(begin, theta, value, float(left.max()), stationary or exact, exact)


def polish(problem: Problem, theta: np.ndarray, iterations: int = 30) -> np.ndarray:
    """Newton steps on the free coordinates, damped until they help."""
    value, gradient, terms = problem.gradient(theta)
    damping = 0.0
    for _ in range(iterations):
        free = problem.free(theta, gradient)
        if not free.any() or np.all(np.abs(gradient[free]) <= 1e-10 * terms[free]):
            break
        hessian = problem.hessian(theta)[np.ix_(free, free)]
        scale = np.abs(np.diag(hessian)).max() or 1.0
        for _ in range(12):
            lowest = np.linalg.eigvalsh(hessian)[0]
            shift = damping * scale + max(0.0, 1e-10 * scale - lowest)
            step = np.zeros_like(theta)
            step[free] = -np.linalg.solve(hessian + shift * np.eye(free.sum()), gradient[free])
            trial = np.clip(theta + step, problem.low, problem.high)
            new_value, new_gradient, new_terms = problem.gradient(trial)
            flat = new_value <= value * (1 + 1e-14)  # equal to rounding: let the gradient decide
            if new_value < value or (flat and np.abs(new_gradient).max() < np.abs(gradient).max()):
                theta, value, gradient, terms = trial, new_value, new_gradient, new_terms
                damping = 0.0 if damping < 1e-9 else damping / 10
                break
            damping = max(1e-10, 10 * damping)
        else:
            break
    return theta


def starts_grid(law: Law) -> np.ndarray:
    """All combinations of the terms' starts, (s, p)."""
    axes = np.meshgrid(*(term.starts for term in law.terms), indexing="ij")
    return np.stack([axis.ravel() for axis in axes], axis=-1)


def optimize(problem: Problem, starts: np.ndarray, n_starts: int) -> list[End]:
    """Descend from the most promising starts; ends sorted, best first.

    Args:
        problem: what to minimise.
        starts: (s, p), screened by their objective.
        n_starts: how many of them to descend from.
    """
    values = problem.value(starts)
    order = np.argsort(np.where(np.isfinite(values), values, np.inf), kind="stable")
    ends = [descend(problem, starts[i]) for i in order[:n_starts]]
    return sorted(ends, key=lambda end: end.objective)


def agreeing(ends: Sequence[End]) -> int:
    """How many ends lie at the best one's objective, or fit exactly as it does."""
    best = ends[0]
    if best.exact:
        return sum(end.exact for end in ends)
    return sum(end.objective - best.objective <= AGREE * best.objective for end in ends)


def basins(ends: Sequence[End], most: int) -> list[np.ndarray]:
    """End points of different objective, best first; the best is always there."""
    found = [ends[0]]
    for end in ends[1:]:
        if end.objective - found[-1].objective > AGREE * abs(found[-1].objective):
            found.append(end)
    return [end.theta for end in found[:most]]
