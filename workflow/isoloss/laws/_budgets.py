"""Helpers of estimators of the compute-optimal frontier: budgets, and lines through them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from isoloss.core.budgets import budget_numbers
from isoloss.laws._law import Data, Estimator, Term


class Frontier(Estimator):
    """N_opt = N_0 C^a and L_min = L_0 C^-g; theta begins with (ln N_0, a, ln L_0, g)."""

    variables = ("N", "C")
    terms = (
        Term("N_0", "N_0", "parameters", True, -20.0, 20.0, (0.0,)),
        Term("a", "a", "1", False, -2.0, 3.0, (0.5,)),
        Term("L_0", "L_0", "nats/token", True, -10.0, 10.0, (0.0,)),
        Term("g", "g", "1", False, -2.0, 3.0, (0.1,)),
    )

    def allocate(self, theta: np.ndarray, flops: float) -> tuple[np.ndarray, np.ndarray]:
        """N_opt and the D of C = 6 N D: (...), (...)."""
        n = np.exp(theta[..., 0] + theta[..., 1] * np.log(flops))
        return n, flops / 6.0 / n

    def rescaling(
        self, log_scale: Mapping[str, float], log_loss_scale: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """The scale of C moves N_0 (by a) and L_0 (by g)."""
        matrix, shift = np.eye(len(self.terms)), np.zeros(len(self.terms))
        matrix[0, 1], matrix[2, 3] = log_scale["C"], -log_scale["C"]
        shift[0], shift[2] = -log_scale["N"], -log_loss_scale
        return matrix, shift

    def through(self, points: list[tuple[float, float, float, float]]) -> np.ndarray:
        """theta (4,) from a point a budget: ln C, ln N, ln L and weight; NaN below two."""
        if len(points) < 2:
            return np.full(4, np.nan)
        log_c, log_n, log_loss, weight = np.array(points).T
        size, loss = line(log_c, log_n, weight), line(log_c, log_loss, weight)
        return np.array([size[0], size[1], loss[0], -loss[1]])


def budgets(data: Data, weight: np.ndarray) -> Iterator[np.ndarray]:
    """Positions of the runs of each budget, in rising order; runs with zero weight are omitted."""
    at = np.flatnonzero(weight > 0)
    flops = np.asarray(data["C"], dtype=float)[at]
    order = np.argsort(flops, kind="stable")
    ends = np.flatnonzero(np.diff(budget_numbers(flops)[order])) + 1
    yield from (group for group in np.split(at[order], ends) if len(group))


def line(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Intercept and slope of the weighted least squares line, (2,)."""
    middle = np.average(x, weights=weight)
    slope = (weight * (x - middle)) @ y / (weight @ (x - middle) ** 2)
    return np.array([np.average(y, weights=weight) - slope * middle, slope])
