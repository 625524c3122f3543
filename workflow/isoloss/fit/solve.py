"""A law on some runs: its optimum with the evidence for it, and the same for every replicate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from isoloss.fit.coordinates import free_coordinates, scale_of
from isoloss.fit.objectives import Objective
from isoloss.fit.optimize import EXACT, Affine, Problem, minimise, optimise, refit
from isoloss.laws._law import Bound, Data, Estimator, Law, Sums

PROFILED = 120  # steps of a descent along a profile


@dataclass(frozen=True)
class Constraints:
    """What a user holds still: values, ties and bounds of terms, in the law's own units."""

    fixed: Mapping[str, float] = field(default_factory=dict)
    tied: Sequence[Sequence[str]] = ()
    bounds: Mapping[str, Sequence[float | None]] = field(default_factory=dict)

    def hold(self, law: Law) -> list[bool]:
        """Terms that are not fitted: fixed, or tied to another; in the order of theta."""
        followers = {name for group in self.tied for name in group[1:]}
        return [term.name in self.fixed or term.name in followers for term in law.terms]


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
        low, high = problem.affine.low, problem.affine.high
        centre = problem.affine.free(self.scale.inner(self.theta))
        held = np.arange(len(centre)) == where
        # the others follow as they would if the law were straight
        every, loss = np.full(1, np.inf), problem.loss[None]
        with np.errstate(all="ignore"):
            _, _, here = problem.look(centre[None], self.weight[None], loss, every)
        outer = here.outer[0] if len(here.outer) else np.eye(len(centre))
        follow = np.ones(len(centre))
        follow[~held] = -np.linalg.pinv(outer[~held][:, ~held], rcond=1e-10) @ outer[~held, where]
        offsets = np.linspace(-span, span, 2 * points + 1)
        begin = np.clip(centre + offsets[:, None] * follow, low, high)
        ends = minimise(problem, begin, self.weight, iterations=PROFILED, held=held)
        for shift in (1, -1):  # a point that its neighbour's end suits better goes on from there
            moved = np.roll(ends.free, shift, axis=0)
            moved[:, where] = begin[:, where]
            again = minimise(problem, moved, self.weight, iterations=PROFILED // 4, held=held)
            better = again.objective < ends.objective
            for name in ends.__dataclass_fields__:
                getattr(ends, name)[better] = getattr(again, name)[better]
        return begin[:, where], ends.objective, float(self.ends.objective[0])

    def slopes(self, term: str) -> tuple[np.ndarray, int]:
        """Derivatives of the residuals at the optimum by what is free to move there.

        Args:
            term: which of the coordinates of `along` is asked for.

        Returns:
            Derivatives up to a constant factor (n, q), and the term's position among the q.
        """
        problem, where = self.along(term)
        affine = problem.affine
        free = affine.free(self.scale.inner(self.theta))
        moves = (free > affine.low) & (free < affine.high)
        moves[where] = True
        theta = affine.theta(free)
        data, law = self.problem.bound.data, self.law
        gradient = law.gradient(theta, data) @ affine.matrix[:, moves]
        if self.objective.logarithmic:
            gradient /= law.loss(theta, data)[:, None]
        return gradient, int(moves[:where].sum())

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
        alone = np.count_nonzero(row) == 1  # then its bounds in the runs' scale are bounds here
        low[where] = row[where] * low[where] + constant if alone else -np.inf
        high[where] = row[where] * high[where] + constant if alone else np.inf
        moved = replace(
            affine,
            matrix=affine.matrix @ swap,
            shift=affine.matrix @ move + affine.shift,
            low=low,
            high=high,
        )
        problem = self.problem
        return Problem(problem.bound, problem.loss, problem.objective, moved), where


class Face(Optimum):
    """One group's side of an optimum over several groups that share terms.

    Attributes:
        position: of the group's theta in that of all groups.
    """

    def __init__(self, law, objective, scale, problem, weight, begin, ends, position):
        self.law, self.objective, self.scale, self.weight = law, objective, scale, weight
        self.size = float(np.exp(scale.loss))
        self.problem, self.begin, self.ends, self.position = problem, begin, ends, position
        self.theta = self.outer(ends.free[0])

    def at_bound(self) -> list[bool]:
        """Terms that lie on a bound, in the order of theta."""
        free, affine = self.ends.free[0], self.problem.affine
        touching = (free <= affine.low) | (free >= affine.high)
        uses = self.problem.affine.matrix[self.position] != 0
        names = [{n for n, used in zip(affine.names, row, strict=True) if used} for row in uses]
        held = {n for n, touches in zip(affine.names, touching, strict=True) if touches}
        return [
            term.name in {name.split("@")[0] for name in mine & held}
            for term, mine in zip(self.law.terms, names, strict=True)
        ]

    def outer(self, free: np.ndarray) -> np.ndarray:
        """The group's theta in the user's units, (..., q) -> (..., p)."""
        return self.scale.outer(self.problem.affine.theta(free)[..., self.position])

    def joint_replicates(self, weight: np.ndarray, loss: np.ndarray | None):
        """Replicates of all groups at once: theta (r, groups * p), and which converged (r,)."""
        whole = len(self.problem.affine.matrix)
        if not len(weight):
            return np.empty((0, whole)), np.empty(0, dtype=bool)
        found = refit(self.problem, self.ends, weight, None if loss is None else loss / self.size)
        inner = self.problem.affine.theta(found.free)
        outer = self.scale.outer(inner.reshape(len(inner), -1, len(self.law.terms)))
        return outer.reshape(len(inner), whole), found.converged


class _Side(Bound):
    """A law on the runs of several groups, each with a theta of its own, laid end to end."""

    def __init__(self, law: Law, bounds: Sequence[Bound], counts: Sequence[int]):
        self.law, self.bounds = law, bounds
        p, ends = len(law.terms), np.cumsum(counts)
        self.thetas = [slice(i * p, (i + 1) * p) for i in range(len(bounds))]
        self.runs = [slice(end - n, end) for end, n in zip(ends, counts, strict=True)]

    def at(self, theta: np.ndarray):
        found = [b.at(theta[:, t]) for b, t in zip(self.bounds, self.thetas, strict=True)]
        return np.concatenate([loss for loss, _ in found], axis=-1), [inner for _, inner in found]

    def take(self, inner, which: np.ndarray):
        return [bound.take(mine, which) for bound, mine in zip(self.bounds, inner, strict=True)]

    def project(self, theta: np.ndarray, loss: np.ndarray, weight: np.ndarray) -> np.ndarray:
        sides = zip(self.bounds, self.thetas, self.runs, strict=True)
        moved = [b.project(theta[:, t], loss[r], weight[r]) for b, t, r in sides]
        return np.concatenate(moved, axis=-1)

    def sums(self, inner, slope: np.ndarray, bend: np.ndarray, weight: np.ndarray) -> Sums:
        parts = [
            bound.sums(mine, slope[:, r], bend[:, r], weight[:, r])
            for bound, mine, r in zip(self.bounds, inner, self.runs, strict=True)
        ]
        size = self.thetas[-1].stop
        hessian, outer = np.zeros((2, len(slope), size, size))
        for part, t in zip(parts, self.thetas, strict=True):
            hessian[:, t, t], outer[:, t, t] = part.hessian, part.outer
        return Sums(
            np.concatenate([part.gradient for part in parts], axis=-1),
            np.concatenate([part.absolute for part in parts], axis=-1),
            hessian,
            outer,
        )


def together(
    law: Law,
    parts: Sequence[tuple[Data, np.ndarray, np.ndarray]],
    shared: Sequence[str],
    objective: Objective,
    constraints: Constraints,
    starts: np.ndarray | None = None,
) -> list[Face]:
    """A law on several groups of runs that share some terms: the side of each group.

    Args:
        law: the law.
        parts: data, loss and weight of every group.
        shared: terms of one value in all groups.
        objective: what is summed over the runs of all groups.
        constraints: terms held, tied or bounded, in every group.
        starts: as of Optimum.
    """
    count, p = len(parts), len(law.terms)
    data = {v: np.concatenate([part[0][v] for part in parts]) for v in law.variables}
    loss = np.concatenate([part[1] for part in parts])
    weight = np.concatenate([part[2] for part in parts])
    scale = scale_of(law, data, loss)
    c = constraints
    # a scale in the user's units, so that a value shared there is one coordinate here
    scales = [t.name for t in law.terms if t.log and t.name in shared and t.name not in c.fixed]
    held = {name: c.bounds.get(name, (None, None)) for name in scales}
    base = free_coordinates(law, scale, c.fixed, c.tied, {**c.bounds, **held})
    columns, names = [], []
    for k, name in enumerate(base.names):
        for group in [None] if name in shared else range(count):
            column = np.zeros((count, p))
            column[slice(None) if group is None else group] = base.matrix[:, k]
            columns.append((k, column.ravel()))
            names.append(name if group is None else f"{name}@{group}")
    which = [k for k, _ in columns]
    affine = Affine(
        np.stack([column for _, column in columns], axis=-1),
        np.tile(base.shift, count),
        base.low[which],
        base.high[which],
        tuple(names),
    )
    size = float(np.exp(scale.loss))
    inner = objective if objective.logarithmic else replace(objective, delta=objective.delta / size)
    bounds = [law.bind(scale.data(part[0])) for part in parts]
    problem = Problem(
        _Side(law, bounds, [len(part[1]) for part in parts]), loss / size, inner, affine
    )
    grid = law.starts() if starts is None else scale.inner(np.asarray(starts, float))
    begin, ends = optimise(problem, affine.free(np.tile(grid, (1, count))), weight)
    positions = [slice(i * p, (i + 1) * p) for i in range(count)]
    return [Face(law, objective, scale, problem, weight, begin, ends, at) for at in positions]


class Recipe:
    """A law with a recipe of its own, with the face of an Optimum."""

    def __init__(self, law: Estimator, data: Data, loss: np.ndarray, weight: np.ndarray):
        self.law, self.data, self.loss, self.weight = law, data, loss, weight
        self.theta = law.estimate(data, loss, weight)

    def replicates(self, weight: np.ndarray, loss: np.ndarray | None = None):
        """The recipe on every replicate: theta (r, p), and whether it has an answer, bool (r,)."""
        losses = np.broadcast_to(self.loss if loss is None else loss, weight.shape)
        found = [
            self.law.again(self.theta, self.data, mine, heavy)
            for mine, heavy in zip(losses, weight, strict=True)
        ]
        thetas = np.array(found).reshape(-1, len(self.theta))
        return thetas, np.isfinite(thetas).all(axis=-1)
