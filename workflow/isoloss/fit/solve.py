"""A law on some runs: its optimum with the evidence for it, and the same for every replicate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from isoloss.fit.coordinates import free_coordinates, scale_of
from isoloss.fit.objectives import Objective
from isoloss.fit.optimize import EXACT, Problem, minimise, optimise, refit
from isoloss.laws._law import Data, Estimator, Law


@dataclass(frozen=True)
class Constraints:
    """What a user holds still: values, ties and bounds of terms, in the law's own units."""

    fixed: Mapping[str, float] = field(default_factory=dict)
    tied: Sequence[Sequence[str]] = ()
    bounds: Mapping[str, Sequence[float | None]] = field(default_factory=dict)


class Optimum:
    """A law fitted by minimising an objective.

    Args:
        law: the law.
        data: its variables, each (n,).
        loss: observed, (n,).
        weight: of every run, (n,).
        objective: what is summed over runs.
        constraints: terms held, tied or bounded.
        starts: in the law's coordinates and the user's units, (s, p); the law's own grid if None.

    Attributes:
        theta: the optimum, (p,).
        begin, ends: distinct starts and where they ended, best first (inner coordinates).
        objective_value: at the optimum, in the user's units.
    """

    def __init__(
        self,
        law: Law,
        data: Data,
        loss: np.ndarray,
        weight: np.ndarray,
        objective: Objective,
        constraints: Constraints,
        starts: np.ndarray | None = None,
    ):
        self.law, self.objective, self.weight = law, objective, weight
        self.scale = scale_of(law, data, loss)
        c = constraints
        affine = free_coordinates(law, self.scale, c.fixed, c.tied, c.bounds)
        self.size = float(np.exp(self.scale.loss))  # of the loss
        inner = (
            objective
            if objective.logarithmic
            else replace(objective, delta=objective.delta / self.size)
        )
        bound = law.bind(self.scale.data(data))
        self.problem = Problem(bound, loss / self.size, inner, affine)
        grid = law.starts() if starts is None else self.scale.inner(np.asarray(starts, float))
        self.begin, self.ends = optimise(self.problem, affine.free(grid), weight)
        self.theta = self.outer(self.ends.free[0])

    @property
    def objective_value(self) -> float:
        """At the optimum, in the user's units."""
        return float(self.ends.objective[0] * self.objective.unit(self.size))

    @property
    def exact(self) -> np.ndarray:
        """Ends at which nothing but rounding is left of the residuals, bool."""
        residuals = self.problem.residuals(self.ends.free)
        with np.errstate(invalid="ignore"):
            return np.sqrt(np.mean(residuals**2, axis=-1)) < EXACT

    @property
    def converged(self) -> np.ndarray:
        """Ends whose gradient vanishes, or that fit exactly, bool."""
        return self.ends.converged | self.exact

    def at_bound(self) -> list[bool]:
        """Terms that lie on a bound, in the order of theta."""
        free, affine = self.ends.free[0], self.problem.affine
        touching = dict(
            zip(affine.names, (free <= affine.low) | (free >= affine.high), strict=True)
        )
        return [bool(touching.get(term.name, False)) for term in self.law.terms]

    def outer(self, free: np.ndarray) -> np.ndarray:
        """Free coordinates as theta in the user's units, (..., q) -> (..., p)."""
        return self.scale.outer(self.problem.affine.theta(free))

    def replicates(self, weight: np.ndarray, loss: np.ndarray | None = None):
        """Global optimum of every replicate.

        Args:
            weight: of every run, (r, n).
            loss: observed, (r, n), where replicates have losses of their own.

        Returns:
            theta (r, p) and whether each converged, bool (r,).
        """
        if not len(weight):
            return np.empty((0, len(self.theta))), np.empty(0, dtype=bool)
        inner = None if loss is None else loss / self.size
        found = refit(self.problem, self.ends, weight, inner)
        residuals = self.problem.residuals(found.free)
        with np.errstate(invalid="ignore"):
            exact = np.sqrt(np.mean(residuals**2, axis=-1)) < EXACT
        return self.outer(found.free), found.converged | exact

    def profile(self, term: str, span: float, points: int) -> tuple[np.ndarray, np.ndarray, float]:
        """The objective along a term, all others at their best for it.

        Args:
            term: which; it must be free.
            span: how far to go either side, in coordinates.
            points: on each side.

        Returns:
            Coordinates of the term (2 points + 1,), the objective there, and the one at the
            optimum, both in the problem's own scale.
        """
        problem, where = self.along(term)
        centre = problem.affine.free(self.scale.inner(self.theta))
        offsets = np.linspace(-span, span, 2 * points + 1)
        values, found = np.full(len(offsets), np.nan), np.full(len(offsets), np.nan)
        held = np.arange(len(centre)) == where
        for side in (range(points, -1, -1), range(points, len(offsets))):
            begin = centre.copy()  # each point starts from its neighbour nearer to the optimum
            for i in side:
                begin[where] = centre[where] + offsets[i]
                ends = minimise(problem, begin[None], self.weight, held=held)
                values[i], found[i] = begin[where], ends.objective[0]
                begin = ends.free[0].copy()
        return values, found, float(self.ends.objective[0])

    def along(self, term: str) -> tuple[Problem, int]:
        """The problem with a term in the user's units among what is free, and its position."""
        position = self.law.index(term)
        outward = np.linalg.inv(self.scale.matrix)[position]
        affine = self.problem.affine
        where = affine.names.index(term)
        # theta_term = outward @ (M f + m - shift): solve it for the coordinate of the same name
        row = outward @ affine.matrix
        constant = float(outward @ (affine.shift - self.scale.shift))
        swap = np.eye(len(affine.names))
        swap[where] = -row / row[where]
        swap[where, where] = 1.0 / row[where]
        move = np.zeros(len(affine.names))
        move[where] = -constant / row[where]
        low, high = affine.low.copy(), affine.high.copy()
        low[where], high[where] = -np.inf, np.inf
        moved = replace(
            affine,
            matrix=affine.matrix @ swap,
            shift=affine.matrix @ move + affine.shift,
            low=low,
            high=high,
        )
        problem = self.problem
        return Problem(problem.bound, problem.loss, problem.objective, moved), where


class Recipe:
    """A law with a recipe of its own, with the face of an Optimum."""

    def __init__(self, law: Estimator, data: Data, loss: np.ndarray, weight: np.ndarray):
        self.law, self.data, self.loss, self.weight = law, data, loss, weight
        self.theta = law.estimate(data, loss, weight)

    def replicates(self, weight: np.ndarray, loss: np.ndarray | None = None):
        """The recipe on every replicate: theta (r, p), and whether it has an answer, bool (r,)."""
        losses = np.broadcast_to(self.loss if loss is None else loss, weight.shape)
        found = [
            self.law.estimate(self.data, mine, heavy)
            for mine, heavy in zip(losses, weight, strict=True)
        ]
        thetas = np.array(found).reshape(-1, len(self.theta))
        return thetas, np.isfinite(thetas).all(axis=-1)
