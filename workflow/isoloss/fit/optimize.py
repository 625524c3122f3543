"""The optimum over many starts and many weightings of the runs, all advanced together.

A search is a generator that yields the descents (`descent.Descents`) that it needs, so that those
of several fits advance side by side (`descent.together`); each fit's search decides for itself.
"""

from __future__ import annotations

import numpy as np

from isoloss.fit.descent import (
    AGREE,
    SETTLED,
    Affine,
    Descents,
    Ends,
    FitProblem,
    Search,
    alone,
    join,
)
from isoloss.fit.objectives import SMOOTH

EXACT = 1e-12  # root mean square log residual below which a fit is exact
HALVED = 15  # steps at most on each objective on the way to sharp corners
# where fewer starts than SOME of all agree, others are tried along a valley, HOPS times at most
SOME, HOPS = 0.25, 6
TRIED = 64  # points of a pool that replicates with losses of their own are compared at
POINTS = 256  # of a pool, whose objectives for all replicates are looked at together
MOST_SINGLE = 1e30  # of a penalty in single precision, relative to the median
SCANNED, FAR = 200, 20.0  # points along one free coordinate, and how far from a start they reach
NEARER = 8  # times that starts where the law has no value come nearer, at most
AT_LIMIT = 100  # steps of a replicate at most, at the end of a valley
LOST_ENDS = 4  # ends in a valley, which had not converged, that go on from where it ends
BLOCK = 1 << 15  # numbers in one array of penalties


def optimise(
    problem: FitProblem, starts: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, Ends]:
    """The optimum of one problem; see `searching`."""
    return alone(searching(problem, starts, weight))


def searching(
    problem: FitProblem, starts: np.ndarray, weight: np.ndarray
) -> Search[tuple[np.ndarray, Ends]]:
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
    begin, ends = yield from _descended(problem, begin, weight)
    begin, ends = yield from _with_limits(problem, begin, ends, weight)
    for _ in range(HOPS):
        best = ends.objective[0]
        if not np.isfinite(best) or (ends.objective <= best + AGREE * abs(best)).mean() >= SOME:
            break
        law, affine = problem.law_on_runs.law, problem.affine
        others = affine.free(law.along_valley(affine.theta(ends.free[0])))
        if not len(others):
            break
        others, ends_of_others = yield from _descended(problem, others, weight)
        begin, ends = np.concatenate([begin, others]), join([ends, ends_of_others])
        order = np.argsort(ends.objective, kind="stable")
        begin, ends = begin[order], ends[order]
        if not ends.objective[0] < best - AGREE * abs(best):
            break
    return begin, ends


def _with_limits(
    problem: FitProblem, begin: np.ndarray, ends: Ends, weight: np.ndarray
) -> Search[tuple[np.ndarray, Ends]]:
    """Starts and ends with those at the ends of valleys near the optimum (`LawOnRuns.limits`)."""
    if not np.isfinite(ends.objective[0]):
        return begin, ends
    lost, affine = not ends.converged[0], problem.affine
    best = ends.free[: LOST_ENDS if lost else 1]
    theta = affine.theta(best)
    moves = problem.law_on_runs.limits(theta[0], problem.loss, lost=lost)
    if not moves:
        return begin, ends
    others = distinct(np.concatenate([_as_far(affine, best, move(theta)) for move in moves]))
    far = yield Descents(problem, others, weight)
    begin, ends = np.concatenate([begin, others]), join([ends, far])
    same = ends.objective <= ends.objective.min() * (1 + AGREE)
    order = np.lexsort((ends.objective, ~(same & ends.converged)))  # of the same optimum, an end
    return begin[order], ends[order]


def _descended(
    problem: FitProblem, begin: np.ndarray, weight: np.ndarray
) -> Search[tuple[np.ndarray, Ends]]:
    """Starts (d, q) and their ends, both by objective, best first."""
    near = yield from narrowed(problem, begin, weight)
    kept, met = _met(near)
    ends = (yield Descents(problem, near[kept], weight, rivals=True))[met]
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
    starts of a grid meet in one once the best scales are known, there are four around it, nearer
    to it where the law has no value farther away. None if it is the user who gave but one.

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
    steps = np.stack([np.ones(count), -np.ones(count), turns, -turns])
    for _ in range(NEARER):
        around = np.clip(begin + steps, problem.affine.low, problem.affine.high)
        lost = ~np.isfinite(_cross(_penalties(problem, around), weight[None])[:, 0])
        if not lost.any():
            break
        steps[lost] /= 4.0
    return around


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
) -> Search[np.ndarray]:
    """Points moved to near an optimum along easier objectives.

    A Huber objective is followed from wide deltas to its own (`Objective.easier`); sharp corners
    from smooth ones (`Objective.halving`). Points that meet on the way go on as one, where all have
    the same weights and losses.
    """
    alike, which = weight.ndim == 1 and loss is None, np.arange(len(free))
    for wide, most in problem.objective.easier():
        free = (yield Descents(problem.with_objective(wide), free, weight, loss, most)).free
        if alike:
            kept, met = _met(free)
            free, which = free[kept], met[which]
    before = None
    for smooth in problem.smoother:
        easier = problem.with_objective(smooth)
        begin = free if before is None else _ahead(easier, before, free, weight, loss)
        before, free = free, (yield Descents(easier, begin, weight, loss, HALVED)).free
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
    """The global optimum of every replicate of one fit; see `refitting`."""
    return alone(refitting(problem, ends, weight, loss, basins))


def refitting(
    problem: FitProblem,
    ends: Ends,
    weight: np.ndarray,
    loss: np.ndarray | None = None,
    basins: int = 4,
) -> Search[Ends]:
    """The global optimum of every replicate of a fit: other weights of the runs, or other losses.

    A replicate starts from the optimum of the fit and from every other basin that is better for
    it. Then each replicate is restarted from any other replicate's end point that has a lower
    objective for it, until none improves. The others are those given here: of very many replicates
    or runs, those of one block (`resample.blocks`), so that memory is bounded; a replicate of
    another block whose end would have been better is then not tried. Nor are all of them where
    replicates have losses of their own, whose objectives are not one matrix product: those tried
    are TRIED that lie far from each other.

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
        begin = yield from narrowed(problem, begin, weight, loss)
    reached = yield Descents(problem, begin, weight, loss, settled=SETTLED)
    late = np.flatnonzero(~reached.converged)  # lost among the corners: once more from afar
    if len(late):
        own_loss = None if loss is None else loss[late]
        begin = yield from narrowed(problem, reached.free[late], weight[late], own_loss)
        again = yield Descents(problem, begin, weight[late], own_loss, settled=SETTLED)
        _keep_better(reached, late, again)
        yield from _to_limits(problem, known[0], reached, weight, loss)
    pool = known[1:]
    for _ in range(8):
        if len(pool):
            reached, moved = yield from _look_around(problem, reached, pool, weight, loss)
            if not moved.any() and pool is not known:
                break
        pool = reached.free
    return reached


def _to_limits(problem: FitProblem, best: np.ndarray, ends: Ends, weight, loss) -> Search[None]:
    """Replicates that are lost in a valley go on from its end (`LawOnRuns.limits`)."""
    affine, moves = problem.affine, ()
    if not ends.converged.all():
        moves = problem.law_on_runs.limits(affine.theta(best), problem.loss)
    for move in moves:
        late = np.flatnonzero(~ends.converged)
        if not len(late):
            return
        begin = _as_far(affine, ends.free[late], move(affine.theta(ends.free[late])))
        own_loss = None if loss is None else loss[late]
        far = yield Descents(problem, begin, weight[late], own_loss, AT_LIMIT)
        _keep_better(ends, late, far)


def _as_far(affine: Affine, free: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Points on the way from free (b, q) to theta (b, p), as far as all bounds hold, (b, q)."""
    with np.errstate(all="ignore"):
        step = (theta - affine.shift) @ np.linalg.pinv(affine.matrix).T - free
        room = np.where(step > 0, affine.high - free, affine.low - free) / step
        share = np.where(step != 0, room, np.inf).min(axis=-1, initial=1.0, where=np.isfinite(room))
    moved = free + np.clip(share, 0.0, 1.0)[:, None] * step
    return np.clip(np.where(np.isfinite(moved), moved, free), affine.low, affine.high)


def _look_around(problem, ends: Ends, pool, weight, loss) -> Search[tuple[Ends, np.ndarray]]:
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
        pool = pool[far_apart(pool, TRIED)]
        value = np.stack([_own(problem, at, weight, loss) for at in pool], axis=0)
        best = np.argmin(value, axis=0)
        gain = value[best, np.arange(len(best))] < limit
    if gain.any():
        own_loss = None if loss is None else loss[gain]
        begin = pool[best[gain]]
        again = yield Descents(problem, begin, weight[gain], own_loss, settled=SETTLED)
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


def far_apart(points: np.ndarray, most: int) -> np.ndarray:
    """Positions of points (k, q) that lie far from each other, `most` of them at most, ascending.

    The first, and then always the one that is furthest from those before, in units of the spread
    of each coordinate: ends of different basins are among them, however many lie in one.

    Example:
        >>> far_apart(np.array([[0.0], [0.1], [0.2], [9.0]]), 2)
        array([0, 3])
    """
    if len(points) <= most:
        return np.arange(len(points))
    spread = points.std(axis=0)
    scaled = points / np.where(spread > 0, spread, 1.0)
    chosen, distance = [0], np.full(len(points), np.inf)
    while len(chosen) < most:
        distance = np.minimum(distance, np.sum((scaled - scaled[chosen[-1]]) ** 2, axis=-1))
        chosen.append(int(np.argmax(distance)))
    return np.sort(chosen)


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
