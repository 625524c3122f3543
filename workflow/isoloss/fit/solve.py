"""Solutions of one law on some runs: an optimum of an objective, or what an estimator found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from isoloss.fit import profile
from isoloss.fit.coordinates import Scale, free_coordinates, scale_of
from isoloss.fit.descent import (
    AGREE,
    Affine,
    Ends,
    FitProblem,
    Search,
    alone,
    minimise,
    together,
)
from isoloss.fit.objectives import Objective
from isoloss.fit.optimize import EXACT, refitting, searching, separate
from isoloss.fit.solution import Replicates, Solution, join_replicates
from isoloss.laws._law import Data, Estimate, Estimator, Law, LawOnRuns, Sample, stacked

PROFILED = 120  # steps of a descent along a profile
UNMOVED = 1e-8  # change of a coordinate below which a start is its own end


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


def problem_of(
    law_on_runs: LawOnRuns, loss: np.ndarray, objective: Objective, scale: Scale, affine: Affine
) -> FitProblem:
    """The search for the least objective of losses (n,) in nats, in the scale of the runs."""
    size = float(np.exp(scale.loss))
    objective = objective.of_values(loss).divided(size)
    return FitProblem(law_on_runs, loss / size, objective, affine)


def grid_of(
    law_on_runs: LawOnRuns, loss: np.ndarray, scale: Scale, starts: np.ndarray | None
) -> np.ndarray:
    """Starts in the scale of the runs, (s, p): those given in the user's units, or the law's.

    Args:
        law_on_runs: the law on them, in their scale.
        loss: observed, (n,), in their scale.
        scale: of the runs.
        starts: given, (s, p), or None.
    """
    given = starts is not None
    return scale.inner(np.asarray(starts, float)) if given else law_on_runs.starts(loss)


class Minimum:
    """A law at the least value of an objective that was found; see `Solution`.

    Attributes:
        law: the law.
        objective: what is summed over runs.
        scale: of the runs.
        problem: the search.
        weight: of every run in it.
        begin, ends: distinct starts and where they ended, best first (inner coordinates).
        estimate: the optimum, theta (p,).
    """

    def __init__(
        self,
        law: Law,
        objective: Objective,
        scale: Scale,
        problem: FitProblem,
        weight: np.ndarray,
        searched: tuple[np.ndarray, Ends],
    ):
        self.law, self.objective, self.scale = law, objective, scale
        self.problem, self.weight = problem, weight
        self.begin, self.ends = searched
        self.size = float(np.exp(scale.loss))  # of the loss
        self.estimate = Estimate(self.outer(self.ends.free[0]))

    @property
    def theta(self) -> np.ndarray:
        """The optimum, (p,)."""
        return self.estimate.theta

    @property
    def minimised(self) -> str:
        """The objective."""
        return str(self.objective)

    @property
    def objective_value(self) -> float:
        """At the optimum, in the user's units."""
        return float(self.ends.objective[0] * self.objective.unit(self.size))

    @property
    def exact(self) -> np.ndarray:
        """Ends at which nothing but rounding is left of the residuals, bool."""
        return self._exact(self.ends)

    @property
    def converged(self) -> np.ndarray:
        """Ends whose gradient vanishes, or that fit exactly, bool."""
        return self.ends.converged | self.exact

    @property
    def sound(self) -> bool:
        """Whether the gradient vanishes at the optimum."""
        return bool(self.converged[0])

    def at_bound(self) -> list[bool]:
        """Whether each parameter lies on a bound, in the order of theta."""
        return self._on_bounds(np.ones_like(self.problem.affine.matrix, dtype=bool))

    def undetermined(self, free: list[str]) -> list[str]:
        """All of those that the gradient does not see."""
        return free

    def outer(self, free: np.ndarray) -> np.ndarray:
        """Free coordinates as theta in the user's units, (..., q) -> (..., p)."""
        return self.scale.outer(self.problem.affine.theta(free))

    def search(self) -> dict[str, float | int]:
        """How many starts there were, and how many of them agree on the optimum."""
        ends, exact = self.ends, self.exact
        best, apart = ends.objective[0], separate(ends)
        with np.errstate(invalid="ignore"):  # no start may have an objective that is finite
            above = ends.objective - best
            gap = above[apart[1]] / abs(best) if len(apart) > 1 and best else np.nan
        moved = np.abs(self.begin - ends.free).max(axis=-1)
        agree = exact.sum() if exact[0] else (above <= AGREE * abs(best)).sum()
        return {
            "objective_value": self.objective_value,
            "gradient_norm": float(ends.gradient[0]),
            "n_starts": len(ends.objective),
            "n_agree": int(agree),
            "n_starts_converged": int(self.converged.sum()),
            "n_unmoved": int((moved < UNMOVED).sum()),
            "second_objective_gap": float(gap),
        }

    def starts(self) -> pd.DataFrame:
        """Where each start of the search began and ended, best first."""
        ends, unit = self.ends, self.objective.unit(self.size)
        return pd.DataFrame(
            {
                "start": range(len(ends.objective)),
                "begin": list(self.outer(self.begin)),
                "end": list(self.outer(ends.free)),
                "objective_value": ends.objective * unit,
                "gradient_norm": ends.gradient,
                "status": np.where(self.converged, "converged", "not_converged"),
            }
        )

    def refitting(
        self, weight: np.ndarray, loss: np.ndarray | None
    ) -> Search[tuple[Ends, np.ndarray]]:
        """The ends of every replicate, and whether each converged or fits exactly, bool (r,)."""
        own_loss = None if loss is None else loss / self.size
        ends = yield from refitting(self.problem, self.ends, weight, own_loss)
        return ends, ends.converged | self._exact(ends)

    def _exact(self, ends: Ends) -> np.ndarray:
        residuals = self.problem.residuals(ends.free)
        with np.errstate(invalid="ignore"):
            return np.sqrt(np.mean(residuals**2, axis=-1)) < EXACT

    def _on_bounds(self, rows: np.ndarray) -> list[bool]:
        """Whether each term has a free coordinate on a bound, of those in a row, bool (p, q)."""
        free, affine = self.ends.free[0], self.problem.affine
        touching = (free <= affine.low) | (free >= affine.high)
        named = [np.array([own == term.name for own in affine.terms]) for term in self.law.terms]
        return [bool((touching & of & row).any()) for of, row in zip(named, rows, strict=True)]


class Optimum(Minimum):
    """A law fitted by minimising an objective; see `Solution`.

    Args:
        law: the law.
        data: its variables, each (n,).
        loss: observed, (n,).
        weight: of every run, (n,).
        objective: what is summed over runs.
        constraints: terms held, tied or bounded.
        starts: in the law's coordinates and the user's units, (s, p); the law's own grid if None.
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
        sample = data, loss, weight
        self._search(alone(self._searching(law, sample, objective, constraints, starts)))

    @classmethod
    def side_by_side(
        cls,
        laws: Sequence[Law],
        samples: Sequence[Sample],
        objective: Objective,
        constraints: Constraints,
        starts: np.ndarray | None = None,
    ) -> list[Optimum]:
        """Laws fitted to samples of runs each, their searches side by side.

        Each is what `Optimum` gives for it alone.

        Args:
            laws: one for each sample; those that are one object advance together.
            samples: data, losses and weights of each.
            objective: of all of them.
            constraints: of all of them.
            starts: of all of them; the law's own if None.
        """
        searches = [
            cls._searching(law, sample, objective, constraints, starts)
            for law, sample in zip(laws, samples, strict=True)
        ]
        optima = []
        for facts in together(searches):
            optima.append(cls.__new__(cls))
            optima[-1]._search(facts)
        return optima

    def _search(self, facts: tuple) -> None:
        super().__init__(*facts)

    @staticmethod
    def _searching(
        law: Law,
        sample: Sample,
        objective: Objective,
        constraints: Constraints,
        starts: np.ndarray | None,
    ) -> Search[tuple]:
        """What a Minimum is made of."""
        data, loss, weight = sample
        scale, c = scale_of(law, data, loss), constraints
        affine = free_coordinates(law, scale, c.fixed, c.tied, c.bounds)
        problem = problem_of(law.on(scale.data(data)), loss, objective, scale, affine)
        grid = grid_of(problem.law_on_runs, problem.loss, scale, starts)
        searched = yield from searching(problem, affine.free(grid), weight)
        return law, objective, scale, problem, weight, searched

    def profiles(self, clusters: np.ndarray, level: float) -> pd.DataFrame:
        """See `profile.profiles`."""
        return profile.profiles(self, clusters, level)

    def replicates(self, weight: np.ndarray, loss: np.ndarray | None = None) -> Replicates:
        """The global optimum of every replicate; see `Solution`."""
        return alone(self.replicating(weight, loss))

    def replicating(self, weight: np.ndarray, loss: np.ndarray | None) -> Search[Replicates]:
        """The same as a search."""
        if not len(weight):
            return Replicates(Estimate(np.empty((0, len(self.theta)))), np.empty(0, dtype=bool))
        ends, converged = yield from self.refitting(weight, loss)
        return Replicates(Estimate(self.outer(ends.free)), converged)

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
        outer = problem.outer(centre, self.weight)
        outer = outer[0] if len(outer) else np.eye(len(centre))
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
        data, law = self.problem.law_on_runs.data, self.law
        gradient = law.gradient(theta, data) @ affine.matrix[:, moves]
        if self.objective.logarithmic:
            gradient /= law.loss(theta, data)[:, None]
        return gradient, int(moves[:where].sum())

    def along(self, term: str) -> tuple[FitProblem, int]:
        """The problem with a term in the user's units among what is free, and its position."""
        position = self.law.index(term)
        outward = np.linalg.inv(self.scale.matrix)[position]
        affine = self.problem.affine
        where = affine.terms.index(term)
        # theta_term = outward @ (M f + m - shift): solve it for the coordinate of the same name
        row = outward @ affine.matrix
        constant = float(outward @ (affine.shift - self.scale.shift))
        swap = np.eye(len(affine.terms))
        swap[where] = -row / row[where]
        swap[where, where] = 1.0 / row[where]
        move = np.zeros(len(affine.terms))
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
        return FitProblem(problem.law_on_runs, problem.loss, problem.objective, moved), where


class EstimatorFit:
    """What a law with a method of its own found; see `Solution`.

    Args:
        law: the law.
        data: its variables, each (n,).
        loss: observed, (n,).
        weight: of every run, (n,).
    """

    def __init__(self, law: Estimator, data: Data, loss: np.ndarray, weight: np.ndarray):
        self.law, self.data, self.loss, self.weight = law, data, loss, weight
        self.estimate = law.estimate(data, loss, weight)

    @property
    def minimised(self) -> str:
        """The recipe."""
        return self.law.recipe

    @property
    def sound(self) -> bool:
        """Whether there is an answer."""
        return bool(np.isfinite(self.law.to_numbers(self.estimate)).all())

    def at_bound(self) -> list[bool]:
        """None of them: there are no bounds."""
        return [False] * len(self.law.terms)

    def undetermined(self, free: list[str]) -> list[str]:
        """Those of which the law knows it; else the recipe decides where the runs do not."""
        return self.law.undetermined(self.estimate)

    def search(self) -> dict[str, float | int]:
        """There was none."""
        return {}

    def starts(self) -> pd.DataFrame:
        """One row, whose end is the estimate."""
        numbers = self.law.to_numbers(self.estimate)
        row = {
            "start": 0,
            "objective_value": np.nan,
            "gradient_norm": np.nan,
            "status": "converged" if self.sound else "not_converged",
            "begin": numbers,
            "end": numbers,
        }
        return pd.DataFrame([row])

    def profiles(self, clusters: np.ndarray, level: float) -> pd.DataFrame:
        """None: there is no objective."""
        return profile.empty()

    def replicates(self, weight: np.ndarray, loss: np.ndarray | None = None) -> Replicates:
        """The recipe on every replicate, and whether it has an answer; see `Solution`."""
        return replicates_of([self], [[(weight, loss)]])[0]

    def samples(self, weight: np.ndarray, loss: np.ndarray | None) -> list[Sample]:
        """The runs with the weights, and the losses, of every replicate."""
        losses = np.broadcast_to(self.loss if loss is None else loss, weight.shape)
        return [(self.data, *drawn) for drawn in zip(losses, weight, strict=True)]


Draws = Iterable[tuple[np.ndarray, np.ndarray | None]]  # arguments of `Solution.replicates`


def replicates_of(
    fits: Sequence[EstimatorFit] | Sequence[Optimum], draws: Sequence[Draws]
) -> list[Replicates]:
    """The replicates of fits of one card, searched for side by side.

    Args:
        fits: of groups, or of laws that differ by their responses.
        draws: of every fit weights (r, n), and losses or None, block by block.
    """
    if not fits[0].law.recipe:
        return _refitted(fits, draws)
    asked = [
        (fit.law, fit.estimate, [one for draw in own for one in fit.samples(*draw)])
        for fit, own in zip(fits, draws, strict=True)
    ]
    replicates = []
    for (law, _, _), own in zip(asked, fits[0].law.together(asked), strict=True):
        terms = len(law.terms)
        many = stacked(own, terms) if own else law.from_numbers(np.empty((0, terms)))
        replicates.append(Replicates(many, np.isfinite(law.to_numbers(many)).all(axis=-1)))
    return replicates


def _refitted(fits: Sequence[Optimum], draws: Sequence[Draws]) -> list[Replicates]:
    """The replicates of fits that are searched for: a block of every fit at a time."""
    rest = {number: iter(own) for number, own in enumerate(draws)}
    parts: list[list[Replicates]] = [[] for _ in fits]
    while rest:
        blocks = {number: next(own, None) for number, own in rest.items()}
        rest = {number: own for number, own in rest.items() if blocks[number] is not None}
        searches = [fits[number].replicating(*blocks[number]) for number in rest]
        for number, replicates in zip(rest, together(searches), strict=True):
            parts[number].append(replicates)
    return [join_replicates(own) for own in parts]


def solve(
    law: Law,
    data: Data,
    loss: np.ndarray,
    weight: np.ndarray,
    objective: Objective,
    constraints: Constraints,
    starts: np.ndarray | None = None,
) -> Solution:
    """A law fitted to runs: by its own method if it has one, else by minimising an objective.

    Args: as of `Optimum`; an estimator reads the first four.
    """
    return solve_all([law], [(data, loss, weight)], objective, constraints, starts)[0]


def solve_all(
    laws: Sequence[Law],
    samples: Sequence[Sample],
    objective: Objective,
    constraints: Constraints,
    starts: np.ndarray | None = None,
) -> list[Solution]:
    """Laws of one card fitted to samples of runs each; see `solve`."""
    if laws and laws[0].recipe:
        return [EstimatorFit(law, *sample) for law, sample in zip(laws, samples, strict=True)]
    return Optimum.side_by_side(laws, samples, objective, constraints, starts)
