"""Descents of damped Newton from many starts, of one fit or of several side by side.

Every minimisation has two curvatures at hand: the objective's own, and that of the squares that
lie above its penalties (iterative reweighting), which is never negative. The second gets there
from anywhere, the first ends with all digits.

Descents of several problems (groups of runs, folds, phases of a search) advance together where
their laws are one. Nothing that a descent does depends on its companions, to the last bit: runs are
padded to a length that depends on their own number alone, and every sum over runs is one of its
own row, or of rows that are always the same.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from isoloss.core.matrices import cholesky_solve
from isoloss.fit.objectives import SMOOTH, Objective
from isoloss.laws._law import LawOnRuns

AGREE = 1e-6  # relative difference of objectives below which two ends are the same optimum
STATIONARY = 1e-6  # what may be left of a gradient, relative to the terms that cancel in it
AIM = 1e-10  # where the descent itself stops
ROUNDING = 1e-13  # relative size of what rounding does to an objective
DAMPING = 1e-2  # of Newton's step where a descent begins, or begins again
MOST, LAST = 1000, 200  # steps of a descent at most; of one to sharp corners
SOON = 10  # steps after which the few that are not there yet go on together
# a descent that gains less than CRAWL in so many steps is damped afresh, LIVES times
DROP = 0.9  # of an amplitude, that one step takes off it at most
PATIENCE, CRAWL, LIVES = 40, 1e-6, 3
BLOCK = 1 << 15  # numbers in one array: theirs must stay in a core's cache
PADDED = 512  # runs, above which groups go together only where they have as many

# of an objective whose penalties are elementwise: what may differ from problem to problem
_NUMBERS = tuple(name for name in ("delta", "spread") if name in Objective.__dataclass_fields__)

Result = TypeVar("Result")


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
        self._filled: tuple[LawOnRuns, np.ndarray] | None = None

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
        problem.damping, problem._filled = self.damping, self._filled
        return problem

    def project(self, free: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Starts moved to the best scales for their exponents, where the law has such."""
        with np.errstate(all="ignore"):
            theta = self.law_on_runs.project(self.affine.theta(free), self.loss, weight)
        return self.affine.free(theta)

    def outer(self, free: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Curvature of the squares above the objective at one point (q,): (q, q), never negative.

        None where the objective is not finite there: (0, q, q).
        """
        block = _Block([_Piece(Descents(self, free[None], weight), slice(0, 1), 0, np.inf)])
        with np.errstate(all="ignore"):
            return block.look(free[None], np.full(1, np.inf))[2].outer

    @property
    def side_by_side(self) -> bool:
        """Whether its descents may go together with those of other problems."""
        elementwise = not (self.objective.cornered or self.objective.penalty_of)
        return elementwise and self.law_on_runs.side_by_side

    @property
    def company(self) -> Hashable:
        """What problems whose descents go together have in common."""
        if not self.side_by_side:
            return id(self)
        alike = id(self.law_on_runs.law), self.length, self.affine.terms, self.objective.name
        return (*alike, type(self.law_on_runs))

    @property
    def length(self) -> int:
        """The number of runs with those that fill it up, which have weight 0."""
        n = len(self.loss)
        if n > PADDED or not self.side_by_side:
            return n
        step = max(8, (1 << (n - 1).bit_length()) // 16)
        return -(-n // step) * step

    def filled(self) -> tuple[LawOnRuns, np.ndarray]:
        """The law on its runs filled up to `length` with copies of the first, and their losses."""
        if self.length == len(self.loss):
            return self.law_on_runs, self.loss
        if self._filled is None:
            data = {k: self.fill(v) for k, v in self.law_on_runs.data.items()}
            self._filled = self.law_on_runs.with_data(data), self.fill(self.loss)
        return self._filled

    def fill(self, values: np.ndarray, weights: bool = False) -> np.ndarray:
        """Numbers of the runs (..., n), filled up with those of the first run or with zeros."""
        more = self.length - values.shape[-1]
        if not more:
            return values
        first = np.zeros_like(values[..., :1]) if weights else values[..., :1]
        return np.concatenate([values, np.repeat(first, more, axis=-1)], axis=-1)


@dataclass(frozen=True)
class Descents:
    """Starts from which an objective is minimised; what a search asks for.

    Attributes:
        problem: what to minimise.
        begin: starts, (b, q).
        weight: of every run, (n,), or of every run for every start, (b, n).
        loss: observed, where every start has losses of its own, (b, n).
        iterations: at most; those of the problem if None.
        held: coordinates that stay where they start, bool (q,).
        rivals: whether the least end is all that counts, of starts with the same weights and
            losses: one that at its present rate cannot come below an end that is there already
            stops, and has not converged.
    """

    problem: FitProblem
    begin: np.ndarray
    weight: np.ndarray
    loss: np.ndarray | None = None
    iterations: int | None = None
    held: np.ndarray | None = None
    rivals: bool = False

    @property
    def most(self) -> int:
        """Steps at most."""
        return self.problem.most if self.iterations is None else self.iterations


# a search yields what it asks for and is sent the ends, until it returns what it found
Search = Generator[Descents, Ends, Result]


def alone(search: Search[Result]) -> Result:
    """What a search finds."""
    return together([search])[0]


def together(searches: Sequence[Search[Result]]) -> list[Result]:
    """What several searches find; the descents that they ask for advance side by side."""
    results: list[Result] = [None] * len(searches)
    waiting: dict[int, Descents] = {}

    def go_on(number: int, ends: Ends | None) -> None:
        try:
            waiting[number] = searches[number].send(ends)
        except StopIteration as stop:
            waiting.pop(number, None)
            results[number] = stop.value

    for number in range(len(searches)):
        go_on(number, None)
    while waiting:
        numbers = list(waiting)
        for number, ends in zip(numbers, minimise_all(list(waiting.values())), strict=True):
            go_on(number, ends)
    return results


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

    Args: as of `Descents`.

    Returns:
        The ends, in the order of the starts.
    """
    return minimise_all([Descents(problem, begin, weight, loss, iterations, held, rivals)])[0]


def minimise_all(asked: Sequence[Descents]) -> list[Ends]:
    """Descend from every start of several problems to where the gradients vanish.

    Returns:
        The ends of each, in the order of its starts.
    """
    companies: dict[Hashable, list[int]] = {}
    for number, one in enumerate(asked):
        companies.setdefault((one.problem.company, one.begin.shape[1]), []).append(number)
    ends: list[Ends] = [None] * len(asked)
    for numbers in companies.values():
        for number, own in zip(numbers, _in_company([asked[i] for i in numbers]), strict=True):
            ends[number] = own
    return ends


def _in_company(asked: Sequence[Descents]) -> list[Ends]:
    """The ends of descents of problems that go together."""
    ends = _descended(asked, [min(one.most, SOON) for one in asked], [np.inf] * len(asked))
    late = [
        np.flatnonzero(own.left > AIM) if one.most > SOON else np.empty(0, dtype=int)
        for one, own in zip(asked, ends, strict=True)
    ]
    rest, most, best = [], [], []
    for one, own, rows in zip(asked, ends, late, strict=True):
        # together: no block of many waits for a few
        weight = one.weight if one.weight.ndim == 1 else one.weight[rows]
        loss = None if one.loss is None else one.loss[rows]
        rest.append(replace(one, begin=own.free[rows], weight=weight, loss=loss))
        most.append(one.most - SOON)
        best.append(np.min(own.objective[own.converged], initial=np.inf))
    for own, rows, again in zip(ends, late, _descended(rest, most, best), strict=True):
        again = replace(again, iterations=again.iterations + SOON)
        for name in Ends.__dataclass_fields__:
            getattr(own, name)[rows] = getattr(again, name)
    return ends


@dataclass
class _Piece:
    """Descents that stay together, whatever the company: some of those asked for.

    Attributes:
        asked: the descents.
        rows: which of them.
        most: steps at most.
        best: objective of a rival's end.
    """

    asked: Descents
    rows: slice
    most: int
    best: float

    @property
    def count(self) -> int:
        """Descents."""
        return self.rows.stop - self.rows.start


def _descended(asked: Sequence[Descents], most: Sequence[int], best: Sequence[float]) -> list[Ends]:
    """The ends of descents of problems that go together, block by block."""
    size = max(1, BLOCK // max(1, asked[0].problem.length))
    pieces = [
        _Piece(one, slice(at, min(at + size, len(one.begin))), steps, rival)
        for one, steps, rival in zip(asked, most, best, strict=True)
        for at in range(0, len(one.begin), size)
    ]
    parts: list[Ends] = []
    some: list[_Piece] = []
    for piece in [*pieces, None]:
        full = some and (piece is None or sum(p.count for p in some) + piece.count > size)
        if full:
            parts += _minimise(some)
            some = []
        if piece is not None:
            some.append(piece)
    ends, at = [], 0
    for one in asked:
        count = -(-len(one.begin) // size)
        nothing = np.empty(0)
        none = Ends(np.empty((0, one.begin.shape[1])), nothing, nothing, nothing, nothing)
        ends.append(join(parts[at : at + count]) if count else none)
        at += count
    return ends


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


class _Block:
    """Descents of several pieces, one a row, of which those that are there leave.

    Attributes:
        number: the piece of every row, (b,), ascending.
        weight: of every run, (b, n).
        loss: observed, (b, n); or (n,) where all rows have the same.
    """

    def __init__(self, pieces: Sequence[_Piece]):
        self.pieces, problems = pieces, [piece.asked.problem for piece in pieces]
        self.problems, self.several = problems, len(pieces) > 1
        self.number = np.repeat(np.arange(len(pieces)), [piece.count for piece in pieces])
        filled = [problem.filled() for problem in problems]
        self.laws = [on_runs for on_runs, _ in filled]
        self.by_row = self.several and self.laws[0].by_row
        if self.by_row:
            names = self.laws[0].data
            self.data = {
                k: np.stack([one.data[k] for one in self.laws])[self.number] for k in names
            }
        weights, losses = [], []
        for piece, (_, loss) in zip(pieces, filled, strict=True):
            asked, problem, rows = piece.asked, piece.asked.problem, piece.rows
            own = asked.weight if asked.weight.ndim == 1 else asked.weight[rows]
            shape = (piece.count, problem.length)
            weights.append(np.broadcast_to(problem.fill(own, weights=True), shape))
            if asked.loss is not None:
                loss = problem.fill(asked.loss[rows])
            losses.append(np.broadcast_to(loss, shape) if self.several else loss)
        self.weight = np.concatenate(weights) if self.several else weights[0]
        self.loss = np.concatenate(losses) if self.several else losses[0]
        self.objective, self.matrix, self.shift = self._objective(), None, None
        affines = [problem.affine for problem in problems]
        straight = (np.array_equal(a.matrix, np.eye(len(a.matrix))) for a in affines)
        if not all(straight) or any(a.shift.any() for a in affines):
            self.matrix = np.stack([a.matrix for a in affines])
            self.shift = np.stack([a.shift for a in affines])

    def _objective(self) -> Objective:
        """That of all rows: its numbers are arrays (b, 1) where they differ from piece to piece."""
        first, differing = self.problems[0].objective, {}
        for name in _NUMBERS:
            values = [getattr(problem.objective, name) for problem in self.problems]
            if any(value != values[0] for value in values):
                differing[name] = np.array(values, dtype=float)[self.number, None]
        return replace(first, **differing) if differing else first

    def keep(self, which: np.ndarray) -> None:
        """Go on with some of the rows, bool (b,)."""
        self.number, self.weight = self.number[which], self.weight[which]
        if self.loss.ndim == 2:
            self.loss = self.loss[which]
        if self.by_row:
            self.data = {k: v[which] for k, v in self.data.items()}
        arrays = {k: getattr(self.objective, k) for k in _NUMBERS}
        arrays = {k: v[which] for k, v in arrays.items() if isinstance(v, np.ndarray)}
        self.objective = replace(self.objective, **arrays) if arrays else self.objective

    def theta(self, free: np.ndarray) -> np.ndarray:
        """The law's coordinates, (b, q) -> (b, p)."""
        if self.matrix is None:
            return free
        if not self.problems[0].side_by_side:
            return self.problems[0].affine.theta(free)
        matrix, shift = (
            self._of_rows(self.matrix, self.number),
            self._of_rows(self.shift, self.number),
        )
        return (free[:, None, :] @ np.swapaxes(matrix, -1, -2))[:, 0] + shift

    def _of_rows(self, values: np.ndarray, number: np.ndarray) -> np.ndarray:
        return values[number] if self.several else values

    def _sides(self, number: np.ndarray) -> list[tuple[LawOnRuns, slice]]:
        """The laws of the pieces with the rows that they have."""
        ends = np.searchsorted(number, np.arange(len(self.pieces) + 1))
        sides = zip(self.laws, ends[:-1].tolist(), ends[1:].tolist(), strict=True)
        return [(law, slice(low, high)) for law, low, high in sides if high > low]

    def _at(self, theta: np.ndarray):
        """Losses (b, n), and what sums need."""
        if not self.several:
            return self.laws[0].at(theta)
        if self.by_row:
            return self.laws[0].with_data(self.data).at(theta)
        parts = [law.at(theta[rows]) for law, rows in self._sides(self.number)]
        return np.concatenate([loss for loss, _ in parts]), [inner for _, inner in parts]

    def _sums(self, inner, near: np.ndarray | None, slope, curvature, above):
        """Sums over runs of derivatives by the law's coordinates, where rows are near."""
        if self.several and not self.by_row:
            return self._sums_of_sides(inner, near, slope, curvature, above)
        law = self.laws[0]
        if near is not None:
            inner = law.take(inner, near)
        if self.by_row:
            kept = self.data if near is None else {k: v[near] for k, v in self.data.items()}
            law = law.with_data(kept)
        sums = law.sums(inner, slope, curvature, above)
        return sums.gradient, sums.absolute, sums.hessian, sums.outer

    def _sums_of_sides(self, inner, near: np.ndarray | None, slope, curvature, above):
        parts, at = [], 0
        for own, (law, rows) in zip(inner, self._sides(self.number), strict=True):
            count = rows.stop - rows.start
            if near is not None:
                count = int(near[rows].sum())
                if not count:
                    continue
                own = law.take(own, near[rows]) if count < rows.stop - rows.start else own
            here = slice(at, at + count)
            parts.append(law.sums(own, slope[here], curvature[here], above[here]))
            at += count
        names = ("gradient", "absolute", "hessian", "outer")
        return tuple(np.concatenate([getattr(part, name) for part in parts]) for name in names)

    def look(self, free: np.ndarray, below: np.ndarray) -> tuple[np.ndarray, np.ndarray, _State]:
        """Objective, and derivatives where it is not above a limit: they cost the most.

        Args:
            free: points, (b, q).
            below: limit of the objective, (b,).

        Returns:
            The objective (b,), infinite where there is none; where it is not above the limit,
            bool (b,); the state of those points.
        """
        predicted, inner = self._at(self.theta(free))
        penalty, weight = self.objective.penalty(predicted, self.loss), self.weight
        value = np.einsum("bn,bn->b", penalty.value, weight)
        value = np.where(np.isfinite(value), value, np.inf)
        near = value <= below
        slope, curvature, above = penalty.slope, penalty.curvature, penalty.weight
        some = None if near.all() else near
        if some is not None:
            if not near.any():
                return value, near, self._nothing(free.shape[1])
            weight, slope, curvature, above = (
                values[near] for values in (weight, slope, curvature, above)
            )
        derivatives = self._sums(inner, some, weight * slope, weight * curvature, weight * above)
        derivatives = self._by_free(derivatives, self.number if some is None else self.number[near])
        sound = np.isfinite(derivatives[0]).all(axis=-1)
        sound &= np.isfinite(derivatives[2]).all(axis=(-1, -2))
        value[np.flatnonzero(near)[~sound]] = np.inf
        return value, near, _State(free[near], value[near], *derivatives)

    @staticmethod
    def _nothing(q: int) -> _State:
        flat, square = np.empty((0, q)), np.empty((0, q, q))
        return _State(flat, np.empty(0), flat, flat, square, square)

    def _by_free(self, derivatives: tuple[np.ndarray, ...], number: np.ndarray):
        """Gradient, absolute, hessian and outer by what is free."""
        if self.matrix is None:
            return derivatives
        gradient, absolute, hessian, outer = derivatives
        matrix = self._of_rows(self.matrix, number)
        turned = np.swapaxes(matrix, -1, -2)
        return (
            (gradient[:, None, :] @ matrix)[:, 0],
            (absolute[:, None, :] @ np.abs(matrix))[:, 0],
            turned @ hessian @ matrix,
            turned @ outer @ matrix,
        )


def _minimise(pieces: Sequence[_Piece]) -> list[Ends]:
    """The ends of the pieces of a block."""
    block = _Block(pieces)
    number = block.number
    affines = [piece.asked.problem.affine for piece in pieces]
    low, high = (np.stack([getattr(a, s) for a in affines])[number] for s in ("low", "high"))
    points = np.concatenate([piece.asked.begin[piece.rows] for piece in pieces])
    points = np.clip(points, low, high).astype(float)
    none = np.zeros(points.shape[1], dtype=bool)
    held = [none if piece.asked.held is None else piece.asked.held for piece in pieces]
    kept, most = np.stack(held)[number], np.array([piece.most for piece in pieces])[number]
    rivals = np.array([piece.asked.rivals for piece in pieces])
    best = np.where(rivals, [piece.best for piece in pieces], np.inf)
    amplitudes = pieces[0].asked.problem.amplitudes
    count = len(points)
    value, gradient, left = np.full((3, count), np.inf)
    steps, who = np.zeros(count, dtype=int), np.arange(count)
    with np.errstate(all="ignore"):
        _, _, now = block.look(points, np.full(count, np.inf))
        damping = np.array([piece.asked.problem.damping for piece in pieces])[number]
        stuck = np.zeros(count, dtype=int)
        milestone, lives = now.value.copy(), np.full(count, LIVES)
        for iteration in range(int(most.max(initial=0)) + 1):
            held = (now.free <= low) & (now.gradient > 0) | (now.free >= high) & (now.gradient < 0)
            held |= kept
            size = np.where(held, 0.0, np.abs(now.gradient))
            relative = (size / np.maximum(now.absolute, 1e-300)).max(axis=-1)
            over = (relative <= AIM) | (stuck > 12) | ~np.isfinite(now.value) | (iteration >= most)
            if iteration and iteration % PATIENCE == 0:
                crawling = milestone - now.value <= CRAWL * np.abs(now.value)
                over |= crawling & (lives == 0)
                gain = (milestone - now.value) * (most - iteration) / PATIENCE
                over |= now.value - gain > best[block.number] * (1 + AGREE)
                lives, damping = lives - crawling, np.where(crawling, DAMPING, damping)
                milestone = now.value.copy()
            if over.any():
                finished = who[over]
                points[finished], value[finished] = now.free[over], now.value[over]
                gradient[finished], left[finished] = size[over].max(axis=-1), relative[over]
                steps[finished] = iteration
                there = rivals[block.number[over]] & (relative[over] <= AIM)
                np.minimum.at(best, block.number[over][there], now.value[over][there])
                go = ~over
                who, now = who[go], now.take(go)
                block.keep(go)
                damping, stuck, held, most = damping[go], stuck[go], held[go], most[go]
                milestone, lives = milestone[go], lives[go]
                low, high, kept = low[go], high[go], kept[go]
                if not len(who):
                    break
            step = _step(now, held, damping, amplitudes)
            limit = now.value + ROUNDING * np.abs(now.value)
            trial = np.clip(now.free + step, low, high)
            _, near, there = block.look(trial, limit)
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
    ends, last = Ends(points, value, gradient, left, steps), np.cumsum([p.count for p in pieces])
    return [ends[end - p.count : end] for end, p in zip(last, pieces, strict=True)]


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
