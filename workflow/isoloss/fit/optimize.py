"""The optimum over many starts and many weightings of the runs, all advanced together.

Every minimisation is damped Newton with two curvatures at hand: the objective's own, and that of
the squares that lie above its penalties (iterative reweighting), which is never negative. The
second gets there from anywhere, the first ends with all digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from isoloss.core.matrices import cholesky_solve
from isoloss.fit.objectives import SMOOTH, Objective
from isoloss.laws._law import LawOnRuns

AGREE = 1e-6  # relative difference of objectives below which two ends are the same optimum
STATIONARY = 1e-6  # what may be left of a gradient, relative to the terms that cancel in it
AIM = 1e-10  # where the descent itself stops
EXACT = 1e-12  # root mean square log residual below which a fit is exact
ROUNDING = 1e-13  # relative size of what rounding does to an objective
DAMPING = 1e-2  # of Newton's step where a descent begins, or begins again
MOST, LAST = 1000, 200  # steps of a descent at most; of one to sharp corners
HALVED = 15  # steps at most on each objective on the way to sharp corners
SOON = 10  # steps after which the few that are not there yet go on together
# a descent that gains less than CRAWL in so many steps is damped afresh, LIVES times
DROP = 0.9  # of an amplitude, that one step takes off it at most
PATIENCE, CRAWL, LIVES = 40, 1e-6, 3
# where fewer starts than SOME of all agree, others are tried along a valley, HOPS times at most
SOME, HOPS = 0.25, 6
POINTS = 256  # of a pool, whose objectives for all replicates are looked at together
MOST_SINGLE = 1e30  # of a penalty in single precision, relative to the median
SCANNED, FAR = 200, 20.0  # points along one free coordinate, and how far from a start they reach
BLOCK = 1 << 15  # numbers in one array: theirs must stay in a core's cache


@dataclass(frozen=True)
class Affine:
    """Law coordinates as a function of what is free: theta = matrix @ free + shift.

    Attributes:
        matrix: (p, q).
        shift: (p,).
        low, high: bounds of what is free, (q,).
        terms: the term that each free coordinate is of; one may stand for several coordinates,
            as where groups of runs share others.
    """

    matrix: np.ndarray
    shift: np.ndarray
    low: np.ndarray
    high: np.ndarray
    terms: tuple[str, ...]

    def theta(self, free: np.ndarray) -> np.ndarray:
        """(..., q) -> (..., p)."""
        return free @ self.matrix.T + self.shift

    def free(self, theta: np.ndarray) -> np.ndarray:
        """The nearest free coordinates, inside the bounds: (..., p) -> (..., q)."""
        nearest = (theta - self.shift) @ np.linalg.pinv(self.matrix).T
        return np.clip(nearest, self.low, self.high)


@dataclass(frozen=True)
class Ends:
    """Where b descents ended.

    Attributes:
        free: end points, (b, q).
        objective: value there, (b,).
        gradient: largest component of the projected gradient, (b,).
        left: the same relative to the terms that cancel in it, (b,).
        iterations: steps taken, (b,).
    """

    free: np.ndarray
    objective: np.ndarray
    gradient: np.ndarray
    left: np.ndarray
    iterations: np.ndarray

    def __getitem__(self, which) -> Ends:
        return Ends(*(getattr(self, name)[which] for name in self.__dataclass_fields__))

    @property
    def converged(self) -> np.ndarray:
        """Whether the gradient vanishes to the accuracy of its terms, bool (b,)."""
        return np.isfinite(self.objective) & (self.left <= STATIONARY)


def join(parts: Sequence[Ends]) -> Ends:
    """Several sets of ends as one."""
    names = Ends.__dataclass_fields__
    return Ends(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


class FitProblem:
    """An objective over n runs as a function of what is free in a law.

    Args:
        law_on_runs: the law on the runs, in their own scale.
        loss: observed, (n,), in its own scale.
        objective: what is summed.
        affine: from free coordinates to the law's.

    Attributes:
        smoother: objectives that lead to one of sharp corners.
        damping: of the first step of a descent.
        most: steps of a descent at most.
    """

    def __init__(
        self, law_on_runs: LawOnRuns, loss: np.ndarray, objective: Objective, affine: Affine
    ):
        self.law_on_runs, self.affine = law_on_runs, affine
        self.loss, self.objective = loss, objective
        terms = {term.name: term for term in law_on_runs.law.terms}
        self.smoother = objective.halving(loss)
        sharp = bool(self.smoother) and objective.smooth < SMOOTH
        # descents on the way to sharp corners begin where Newton's own step is right
        self.damping = 0.0 if sharp else DAMPING
        # near a sharp corner few steps are enough, or none are
        self.most = LAST if sharp else MOST
        self.amplitudes = np.array([terms[name].amplitude for name in affine.terms], bool)

    def predicted(self, free: np.ndarray) -> np.ndarray:
        """Loss of every run, in its own scale, (b, q) -> (b, n)."""
        with np.errstate(all="ignore"):
            return self.law_on_runs.at(self.affine.theta(free))[0]

    def penalties(self, free: np.ndarray) -> np.ndarray:
        """Penalty of every run, (b, q) -> (b, n); their weighted sum is the objective."""
        with np.errstate(all="ignore"):
            return self.objective.values(self.predicted(free), self.loss)

    def residuals(self, free: np.ndarray) -> np.ndarray:
        """Predicted minus observed, of logarithms or not as the objective says, (b, n)."""
        with np.errstate(all="ignore"):
            return self.objective.residual(self.predicted(free), self.loss)

    def with_objective(self, objective: Objective) -> FitProblem:
        """The same runs and law with another objective, whose descents begin as those of this."""
        problem = FitProblem(self.law_on_runs, self.loss, objective, self.affine)
        problem.damping = self.damping
        return problem

    def project(self, free: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Starts moved to the best scales for their exponents, where the law has such."""
        with np.errstate(all="ignore"):
            theta = self.law_on_runs.project(self.affine.theta(free), self.loss, weight)
        return self.affine.free(theta)

    def look(
        self, free: np.ndarray, weight: np.ndarray, loss: np.ndarray, below: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, _State]:
        """Objective, and derivatives where it is not above a limit: they cost the most.

        Args:
            free: points, (b, q).
            weight: of the runs, (b, n).
            loss: observed, (n,) or (b, n).
            below: limit of the objective, (b,).

        Returns:
            The objective (b,), infinite where there is none; where it is not above the limit,
            bool (b,); the state of those points.
        """
        predicted, inner = self.law_on_runs.at(self.affine.theta(free))
        penalty = self.objective.penalty(predicted, loss)
        value = np.einsum("bn,bn->b", penalty.value, weight)
        value = np.where(np.isfinite(value), value, np.inf)
        near = value <= below
        slope, curvature, above = penalty.slope, penalty.curvature, penalty.weight
        if not near.all():
            inner, weight = self.law_on_runs.take(inner, near), weight[near]
            slope, curvature, above = slope[near], curvature[near], above[near]
        sums = self.law_on_runs.sums(inner, weight * slope, weight * curvature, weight * above)
        derivatives = (sums.gradient, sums.absolute, sums.hessian, sums.outer)
        matrix = self.affine.matrix
        if not np.array_equal(matrix, np.eye(len(matrix))):
            derivatives = (
                sums.gradient @ matrix,
                sums.absolute @ np.abs(matrix),
                matrix.T @ sums.hessian @ matrix,
                matrix.T @ sums.outer @ matrix,
            )
        sound = np.isfinite(derivatives[0]).all(axis=-1) & np.isfinite(derivatives[2]).all(
            axis=(-1, -2)
        )
        value[np.flatnonzero(near)[~sound]] = np.inf
        return value, near, _State(free[near], value[near], *derivatives)


@dataclass
class _State:
    free: np.ndarray
    value: np.ndarray
    gradient: np.ndarray
    absolute: np.ndarray
    hessian: np.ndarray
    outer: np.ndarray

    def take(self, which) -> _State:
        return _State(*(getattr(self, name)[which] for name in self.__dataclass_fields__))

    def put(self, which: np.ndarray, other: _State) -> None:
        for name in self.__dataclass_fields__:
            getattr(self, name)[which] = getattr(other, name)


def minimise(
    problem: FitProblem,
    begin: np.ndarray,
    weight: np.ndarray,
    loss: np.ndarray | None = None,
    iterations: int | None = None,
    held: np.ndarray | None = None,
    rivals: bool = False,
) -> Ends:
    """Descend from every start to where the gradient vanishes.

    Args:
        problem: what to minimise.
        begin: starts, (b, q).
        weight: of every run, (n,), or of every run for every start, (b, n).
        loss: observed, where every start has losses of its own, (b, n).
        iterations: at most; those of the problem if None.
        held: coordinates that stay where they start, bool (q,).
        rivals: whether the least end is all that counts, of starts with the same weights and
            losses: one that at its present rate cannot come below an end that is there already
            stops, and has not converged.

    Returns:
        The ends, in the order of the starts.
    """
    shape = (len(begin), len(problem.loss))
    weight = np.broadcast_to(weight, shape)
    loss = problem.loss if loss is None else loss
    size = max(1, BLOCK // max(1, shape[1]))
    if not len(begin):
        nothing = np.empty(0)
        return Ends(np.empty((0, begin.shape[1])), nothing, nothing, nothing, nothing)
    kept = np.zeros(begin.shape[1], dtype=bool) if held is None else held

    def descend(begin: np.ndarray, which: np.ndarray, most: int, best: float | None) -> Ends:
        """Some of the starts, block by block."""
        parts = [slice(at, at + size) for at in range(0, len(which), size)]
        return join(
            [
                _minimise(
                    problem, begin[p], weight[which[p]], _rows(loss, which[p]), most, kept, best
                )
                for p in parts
            ]
        )

    iterations = problem.most if iterations is None else iterations
    ends = descend(begin, np.arange(len(begin)), min(iterations, SOON), None)
    late = np.flatnonzero(ends.left > AIM)
    if len(late) and iterations > SOON:
        # together: no block of many waits for a few
        best = np.min(ends.objective[ends.converged], initial=np.inf) if rivals else None
        again = descend(ends.free[late], late, iterations - SOON, best)
        again = replace(again, iterations=again.iterations + SOON)
        for name in Ends.__dataclass_fields__:
            getattr(ends, name)[late] = getattr(again, name)
    return ends


def _minimise(
    problem: FitProblem,
    begin: np.ndarray,
    weight: np.ndarray,
    loss: np.ndarray,
    most: int,
    kept: np.ndarray,
    best: float | None,
) -> Ends:
    """The ends of a block of starts; `best` is the end of a rival, None where there are none."""
    low, high = problem.affine.low, problem.affine.high
    points = np.clip(begin, low, high).astype(float)
    count = len(points)
    value, gradient, left = np.full(count, np.inf), np.full(count, np.inf), np.full(count, np.inf)
    steps = np.zeros(count, dtype=int)
    who = np.arange(count)
    with np.errstate(all="ignore"):
        _, _, now = problem.look(points, weight, loss, np.full(count, np.inf))
        damping, stuck = np.full(count, problem.damping), np.zeros(count, dtype=int)
        milestone, lives = now.value.copy(), np.full(count, LIVES)
        for iteration in range(most + 1):
            held = (now.free <= low) & (now.gradient > 0) | (now.free >= high) & (now.gradient < 0)
            held |= kept
            size = np.where(held, 0.0, np.abs(now.gradient))
            relative = (size / np.maximum(now.absolute, 1e-300)).max(axis=-1)
            over = (relative <= AIM) | (stuck > 12) | ~np.isfinite(now.value) | (iteration == most)
            if iteration and iteration % PATIENCE == 0:
                crawling = milestone - now.value <= CRAWL * np.abs(now.value)
                over |= crawling & (lives == 0)
                if best is not None:
                    gain = (milestone - now.value) * (most - iteration) / PATIENCE
                    over |= now.value - gain > best * (1 + AGREE)
                lives, damping = lives - crawling, np.where(crawling, DAMPING, damping)
                milestone = now.value.copy()
            if over.any():
                finished = who[over]
                points[finished], value[finished] = now.free[over], now.value[over]
                gradient[finished], left[finished] = size[over].max(axis=-1), relative[over]
                steps[finished] = iteration
                if best is not None:
                    best = np.min(value[finished][left[finished] <= AIM], initial=best)
                go = ~over
                who, now, weight, loss = who[go], now.take(go), weight[go], _rows(loss, go)
                damping, stuck, held = damping[go], stuck[go], held[go]
                milestone, lives = milestone[go], lives[go]
                if not len(who):
                    break
            step = _step(now, held, damping, problem.amplitudes)
            limit = now.value + ROUNDING * np.abs(now.value)
            trial = np.clip(now.free + step, low, high)
            _, near, there = problem.look(trial, weight, loss, limit)
            here = now.value[near]
            flat = np.abs(there.value - here) <= ROUNDING * np.abs(here)
            # what rounding hides the gradient tells
            nearer = (np.abs(there.gradient) <= 0.9 * np.abs(now.gradient[near])) | held[near]
            good = np.where(flat, nearer.all(axis=-1), there.value < here)
            better = np.zeros(len(who), dtype=bool)
            better[np.flatnonzero(near)[good]] = True
            now.put(better, there.take(good))
            damping = np.where(better, damping * 0.1, np.maximum(damping, 1e-4) * 6)
            damping = np.where(damping < 1e-9, 0.0, damping)
            stuck = np.where(better, 0, stuck + 1)
    return Ends(points, value, gradient, left, steps)


def _rows(loss: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Losses of some descents: rows of (b, n), or the losses that all have in common, (n,)."""
    return loss if loss.ndim == 1 else loss[which]


def _step(now: _State, held: np.ndarray, damping: np.ndarray, amplitudes: np.ndarray) -> np.ndarray:
    """Newton's step, damped; with the curvature that is never negative where need be.

    The step of an amplitude is one of its value, relative to what it is: the loss is a straight
    line in it, and a valley along which it falls to nothing is bent in its logarithm.
    """
    step = _newton(now, now.gradient * amplitudes, held, damping)
    return np.where(amplitudes, np.log1p(np.maximum(step, -DROP)), step)


def _newton(now: _State, less: np.ndarray, held: np.ndarray, damping: np.ndarray) -> np.ndarray:
    """The damped step; `less` is taken off the diagonal of the objective's own curvature."""
    free = ~held
    mask = free[:, :, None] & free[:, None, :]
    eye = np.eye(held.shape[1])
    outer = np.where(mask, now.outer, eye)
    diagonal = np.einsum("bii->bi", outer)
    # a coordinate that nothing depends on must not blow up
    ridge = np.maximum(diagonal, 1e-14 * diagonal.max(axis=-1, keepdims=True))
    lift = damping[:, None] * ridge + 1e-13 * ridge
    towards = np.where(held, 0.0, -now.gradient)
    added = lift - np.where(free, less, 0.0)
    own, sound = cholesky_solve(np.where(mask, now.hessian, eye) + added[:, :, None] * eye, towards)
    if sound.all():
        return own
    bad = ~sound
    above, fine = cholesky_solve(
        outer[bad] + (lift[bad] + 1e-3 * ridge[bad])[:, :, None] * eye, towards[bad]
    )
    steepest = towards[bad] / np.maximum(ridge[bad], 1e-300)
    own[bad] = np.where(fine[:, None], above, steepest)
    return own


def optimise(
    problem: FitProblem, starts: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, Ends]:
    """Descend from a grid of starts; every end is one of the true objective.

    Starts are first moved to the best scales for their exponents; those that meet there are one,
    and if all do, others are added (`further_starts`), since one alone is no evidence.
    A Huber objective, and sharp corners, are approached from easier objectives (`narrowed`). Where
    few ends agree, others are sought along the law's valley (`Law.along_valley`).

    Args:
        problem: what to minimise.
        starts: (s, q).
        weight: of every run, (n,).

    Returns:
        The distinct starts (d, q) and their ends, both by objective, best first.
    """
    inside = np.clip(starts, problem.affine.low, problem.affine.high)
    begin = promising(problem, problem.project(inside, weight), weight)
    begin = distinct(
        np.concatenate([begin, further_starts(problem, distinct(begin), inside, weight)])
    )
    begin, ends = _descended(problem, begin, weight)
    for _ in range(HOPS):
        best = ends.objective[0]
        if not np.isfinite(best) or (ends.objective <= best + AGREE * abs(best)).mean() >= SOME:
            break
        law, affine = problem.law_on_runs.law, problem.affine
        others = affine.free(law.along_valley(affine.theta(ends.free[0])))
        if not len(others):
            break
        others, ends_of_others = _descended(problem, others, weight)
        begin, ends = np.concatenate([begin, others]), join([ends, ends_of_others])
        order = np.argsort(ends.objective, kind="stable")
        begin, ends = begin[order], ends[order]
        if not ends.objective[0] < best - AGREE * abs(best):
            break
    return begin, ends


def _descended(
    problem: FitProblem, begin: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, Ends]:
    """Starts (d, q) and their ends, both by objective, best first."""
    near = narrowed(problem, begin, weight)
    kept, met = _met(near)
    ends = minimise(problem, near[kept], weight, rivals=True)[met]
    order = np.argsort(ends.objective, kind="stable")
    return begin[order], ends[order]


def promising(problem: FitProblem, begin: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The starts from which a search descends, (d, q): all, or the best of a law with very many.

    Args:
        problem: what to minimise.
        begin: starts, moved, (s, q).
        weight: of every run, (n,).
    """
    most = problem.law_on_runs.descents
    if most is None or len(begin) <= most:
        return begin
    value = _cross(_penalties(problem, begin), weight[None])[:, 0]
    order = np.argsort(value, kind="stable")
    return begin[order[: max(1, min(most, int(np.isfinite(value).sum())))]]


def further_starts(
    problem: FitProblem, begin: np.ndarray, starts: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Starts where a grid leaves too few to tell whether its optimum is the only one, (k, q).

    Of one free coordinate every low point along all of its range is a start. Of several, where all
    starts of a grid meet in one once the best scales are known, there are four around it. None if
    it is the user who gave but one.

    Args:
        problem: what to minimise.
        begin: distinct starts, moved, (d, q).
        starts: as given, (s, q).
        weight: of every run, (n,).
    """
    none, count = begin[:0], begin.shape[1]
    if count == 1:
        return _low_points(problem, begin[0], weight)
    if len(begin) > 1 or (len(starts) == 1 and not problem.amplitudes.all()):
        return none
    turns = np.where(np.arange(count) % 2, -1.0, 1.0)
    around = begin + np.stack([np.ones(count), -np.ones(count), turns, -turns])
    return np.clip(around, problem.affine.low, problem.affine.high)


def _low_points(problem: FitProblem, middle: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Local minima of the objective of one free coordinate on a grid over its bounds, (k, 1)."""
    low, high = problem.affine.low[0], problem.affine.high[0]
    near = middle + np.sinh(np.linspace(-15.0, 15.0, SCANNED))  # dense where a start is
    ends = np.clip([middle[0] - FAR, middle[0] + FAR], low, high)
    points = np.unique(np.clip(np.append(near, np.linspace(*ends, SCANNED)), low, high))
    value = _cross(_penalties(problem, points[:, None]), weight[None])[:, 0]
    value = np.concatenate([[np.inf], value, [np.inf]])
    return points[(value[1:-1] < value[:-2]) & (value[1:-1] <= value[2:]), None]


def narrowed(
    problem: FitProblem, free: np.ndarray, weight: np.ndarray, loss: np.ndarray | None = None
) -> np.ndarray:
    """Points moved to near an optimum along easier objectives.

    A Huber objective is followed from wide deltas to its own (`Objective.easier`); sharp corners
    from smooth ones (`Objective.halving`). Points that meet on the way go on as one, where all have
    the same weights and losses.
    """
    alike, which = weight.ndim == 1 and loss is None, np.arange(len(free))
    for wide, most in problem.objective.easier():
        free = minimise(problem.with_objective(wide), free, weight, loss, iterations=most).free
        if alike:
            kept, met = _met(free)
            free, which = free[kept], met[which]
    before = None
    for smooth in problem.smoother:
        easier = problem.with_objective(smooth)
        begin = free if before is None else _ahead(easier, before, free, weight, loss)
        before, free = free, minimise(easier, begin, weight, loss, iterations=HALVED).free
        if alike:
            kept, met = _met(free)
            before, free, which = before[kept], free[kept], met[which]
    free = free if before is None else _ahead(problem, before, free, weight, loss)
    return free[which]


def _met(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of points (b, q) that are distinct to nine digits, and which of them each is."""
    _, kept, met = np.unique(np.round(points, 9), axis=0, return_index=True, return_inverse=True)
    return kept, met.ravel()


def _ahead(
    problem: FitProblem, before: np.ndarray, free: np.ndarray, weight: np.ndarray, loss
) -> np.ndarray:
    """Points where the optimum is when corners are half as wide, if they are better there.

    Once the runs that lie on corners are known, the optimum moves in proportion to the width.
    """
    low, high = problem.affine.low, problem.affine.high
    moved = np.clip(free + 0.5 * (free - before), low, high)
    here, there = (_objectives(problem, points, weight, loss) for points in (free, moved))
    return np.where((there < here)[:, None], moved, free)


def _objectives(problem: FitProblem, free: np.ndarray, weight: np.ndarray, loss) -> np.ndarray:
    """Objective at points (b, q), each with its own weights and losses or all alike, (b,)."""
    with np.errstate(all="ignore"):
        observed = problem.loss if loss is None else loss
        values = problem.objective.values(problem.predicted(free), observed)
    return np.sum(values * weight, axis=-1)


def refit(
    problem: FitProblem,
    ends: Ends,
    weight: np.ndarray,
    loss: np.ndarray | None = None,
    basins: int = 4,
) -> Ends:
    """The global optimum of every replicate of a fit: other weights of the runs, or other losses.

    A replicate starts from the optimum of the fit and from every other basin that is better for
    it. Then each replicate is restarted from any other replicate's end point that has a lower
    objective for it, until none improves. The others are those given here: of very many replicates
    or runs, those of one block (`resample.blocks`), so that memory is bounded; a replicate of
    another block whose end would have been better is then not tried.

    Args:
        problem: the fit.
        ends: what `optimise` found for it.
        weight: of every run for every replicate, (r, n).
        loss: observed, for every replicate, (r, n); those of the fit if None.
        basins: of the fit looked at, the optimum included.
    """
    problem = problem.with_objective(problem.objective.blunt())
    known = ends.free[separate(ends)[:basins]]
    begin = np.repeat(known[:1], len(weight), axis=0)
    if problem.smoother and problem.objective.smooth < SMOOTH:
        begin = narrowed(problem, begin, weight, loss)
    reached = minimise(problem, begin, weight, loss)
    late = np.flatnonzero(~reached.converged)  # lost among the corners: once more from afar
    if len(late):
        own_loss = None if loss is None else loss[late]
        begin = narrowed(problem, reached.free[late], weight[late], own_loss)
        _keep_better(reached, late, minimise(problem, begin, weight[late], own_loss))
    pool = known[1:]
    for _ in range(8):
        if len(pool):
            reached, moved = _look_around(problem, reached, pool, weight, loss)
            if not moved.any() and pool is not known:
                break
        pool = reached.free
    return reached


def _look_around(problem, ends: Ends, pool, weight, loss) -> tuple[Ends, np.ndarray]:
    """Go on from the point of a pool that is the best for a replicate, if it beats its own."""
    limit = ends.objective * (1 - AGREE * 1e-4)
    if loss is None:
        penalties = _penalties(problem, pool)
        maybe = may_lie_below(penalties, weight, limit, own=pool is ends.free)
        value = _cross(penalties, weight[maybe])
        best, gain = np.zeros(len(limit), dtype=int), np.zeros(len(limit), dtype=bool)
        best[maybe] = _lowest(value)
        gain[maybe] = value[best[maybe], np.arange(len(maybe))] < limit[maybe]
    else:
        value = np.stack([_own(problem, at, weight, loss) for at in pool], axis=0)
        best = np.argmin(value, axis=0)
        gain = value[best, np.arange(len(best))] < limit
    if gain.any():
        again = minimise(
            problem, pool[best[gain]], weight[gain], None if loss is None else loss[gain]
        )
        _keep_better(ends, np.flatnonzero(gain), again)
    return ends, gain


def may_lie_below(
    penalties: np.ndarray, weight: np.ndarray, limit: np.ndarray, own: bool
) -> np.ndarray:
    """Replicates for which a point of the pool may have an objective below a limit.

    In single precision, which takes half the time: no replicate is missed, since penalties are
    not negative, so that a sum of n of them is exact to n + 4 roundings; clipping and underflow
    make it smaller.

    Args:
        penalties: of every run at every point, (k, n).
        weight: of every run for every replicate, (r, n).
        limit: of the objective, (r,).
        own: whether point i is replicate i's own, which is not looked at.

    Returns:
        Positions of the replicates, (m,), ascending.
    """
    if np.nanmin(penalties, initial=0.0) < 0:  # a function of the user's
        return np.arange(len(limit))
    size = float(np.median(penalties[0]))
    size = size if 0 < size < np.inf else 1.0
    small = np.fmin(penalties / size, MOST_SINGLE).astype(np.float32)
    weight = weight.astype(np.float32).T
    lowest = np.full(len(limit), np.inf, dtype=np.float32)
    for at in range(0, len(small), POINTS):
        value = small[at : at + POINTS] @ weight
        if own:
            rows = np.arange(len(value))
            value[rows, at + rows] = np.inf
        np.minimum(lowest, value.min(axis=0), out=lowest)
    margin = 1 + (penalties.shape[1] + 4) * float(np.finfo(np.float32).eps)
    return np.flatnonzero(~(lowest.astype(float) > limit / size * margin))


def _lowest(value: np.ndarray) -> np.ndarray:
    """As `np.argmin(value, axis=0)` without NaN, (r,), row after row as they lie in memory."""
    best, lowest = np.zeros(value.shape[1], dtype=int), value[0].copy()
    if not value.shape[1]:
        return best
    for row in range(1, len(value)):
        best[value[row] < lowest] = row
        np.minimum(lowest, value[row], out=lowest)
    return best


def _keep_better(kept: Ends, which: np.ndarray, again: Ends) -> None:
    """Put ends found again at some positions where they are lower, or as low and converged."""
    near = again.objective <= kept.objective[which] * (1 + AGREE)
    better = (again.objective < kept.objective[which]) | (near & again.converged)
    for name in kept.__dataclass_fields__:
        getattr(kept, name)[which[better]] = getattr(again, name)[better]


def _penalties(problem: FitProblem, pool: np.ndarray) -> np.ndarray:
    """Penalty of every run at many points, (k, n), with room for those of a few at a time."""
    size = max(1, BLOCK // max(1, len(problem.loss)))
    parts = [problem.penalties(pool[at : at + size]) for at in range(0, len(pool), size)]
    return np.concatenate(parts)


def _cross(penalties: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Objective of every point (k, n) for every replicate (r, n), (k, r); infinite stays so."""
    bad = ~np.isfinite(penalties).all(axis=-1)
    value = np.where(bad[:, None], 0.0, penalties) @ weight.T
    value[bad] = np.inf
    return value


def _own(problem: FitProblem, free: np.ndarray, weight: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Objective of one point for replicates with losses of their own, (r,)."""
    with np.errstate(all="ignore"):
        values = problem.objective.values(problem.predicted(free[None]), loss)
    return np.einsum("rn,rn->r", values, weight)


def distinct(points: np.ndarray) -> np.ndarray:
    """Points without those that are another one to nine digits, in their order."""
    _, first = np.unique(np.round(points, 9), axis=0, return_index=True)
    return points[np.sort(first)]


def separate(ends: Ends) -> np.ndarray:
    """Positions of ends of different objective, best first (`ends` are sorted); finite ones."""
    positions = [0]
    for i in range(1, int(np.isfinite(ends.objective).sum())):
        last = ends.objective[positions[-1]]
        if ends.objective[i] - last > AGREE * abs(last):
            positions.append(i)
    return np.array(positions)
