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

from collections.abc import Generator, Hashable, Iterator, Sequence
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
CALM, WILD = 0.2, 4.0  # factors of the damping after a step that led down, and after another
DAMPED = 1e-3  # what the damping is at least raised from
ROUND = 1e-2  # share of a damping's own scale that is equal in all directions
REACHED = 2  # times that a step is made anew because it reached further bounds
MOST, LAST = 1000, 200  # steps of a descent at most; of one to sharp corners
REPLICATE = 250  # of a replicate: the few that need more are begun again from others' ends
SOON = 10  # steps after which the few that are not there yet go on together
# a descent that gains less than CRAWL in so many steps is damped afresh, LIVES times
DROP = 0.9  # of an amplitude, that one step takes off it at most
PATIENCE, CRAWL, LIVES = 40, 1e-6, 3
BLOCK = 1 << 15  # numbers in one array: theirs must stay in a core's cache
# steps after which the rows that are left of several blocks go on as one
FEWER = (30, 60, 100, 150, 200, 300, 400, 600)
# of replicates: a descent ends where Newton's steps, CALM_STEPS in a row, can take no more than
# this share off the objective
SETTLED, CALM_STEPS = 1e-9, 6
REFUSED = 13  # steps in a row not taken, after which a descent ends
SHORT = 32  # runs, up to which all groups go together: a step of few rows costs that of an array
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
        left: the same relative to the terms that cancel in it, (b,); 0 of one that has settled.
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
        """Whether the gradient vanishes to the accuracy of its terms, bool (b,).

        Or the descent has settled, where that is asked for (`Descents.settled`).
        """
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
        self._filled: LawOnRuns | None = None

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
        problem.damping, problem._filled = self.damping, self.filled()
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
        asked = Descents(self, free[None], weight)
        block = _Block.of([_Piece(asked, slice(0, 1), 0, 0, np.inf)])
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
        on_runs, terms = self.law_on_runs, self.affine.terms
        return id(on_runs.law), type(on_runs), self.length, terms, self.objective.name

    @property
    def length(self) -> int:
        """The number of runs with those that fill it up, which have weight 0."""
        n = len(self.loss)
        if n > PADDED or not self.side_by_side:
            return n
        step = max(8, (1 << (n - 1).bit_length()) // 16)
        return max(SHORT, -(-n // step) * step)

    def filled(self) -> LawOnRuns:
        """The law on its runs, filled up to `length` with copies of the first."""
        if self._filled is None:
            self._filled, length = self.law_on_runs, self.length
            if length > len(self.loss):
                data = {k: filled(v, length) for k, v in self.law_on_runs.data.items()}
                self._filled = self.law_on_runs.with_data(data)
        return self._filled


def filled(values: np.ndarray, length: int, weights: bool = False) -> np.ndarray:
    """Numbers of runs (..., n), filled up to a length with those of the first run or with zeros."""
    more = length - values.shape[-1]
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
        settled: share of the objective that is nothing: a descent whose steps, by their own
            curvature, can gain no more has converged. 0 where the gradient must vanish. Of
            replicates: they take REPLICATE steps at most.
    """

    problem: FitProblem
    begin: np.ndarray
    weight: np.ndarray
    loss: np.ndarray | None = None
    iterations: int | None = None
    held: np.ndarray | None = None
    rivals: bool = False
    settled: float = 0.0

    @property
    def most(self) -> int:
        """Steps at most."""
        most = self.problem.most if self.iterations is None else self.iterations
        return min(most, REPLICATE) if self.settled else most

    @property
    def turning(self) -> bool:
        """Whether a step that was not taken makes the next one of the other kind; see `_step`."""
        return self.settled > 0 or self.problem.law_on_runs.trading


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


@dataclass(frozen=True)
class _Piece:
    """Descents that stay together, whatever the company: some of those asked for.

    Attributes:
        asked: the descents.
        rows: which of them.
        first: position of their first one among all of the company.
        most: steps at most.
        best: objective of a rival's end.
    """

    asked: Descents
    rows: slice
    first: int
    most: int
    best: float

    @property
    def count(self) -> int:
        """Descents."""
        return self.rows.stop - self.rows.start

    @property
    def length(self) -> int:
        """Runs, with those that fill them up."""
        return self.asked.problem.length


def _descended(asked: Sequence[Descents], most: Sequence[int], best: Sequence[float]) -> list[Ends]:
    """The ends of descents of problems that go together.

    They go in blocks; after some steps those that are left of several blocks go on as one.
    """
    counts = [len(one.begin) for one in asked]
    total, q = sum(counts), asked[0].begin.shape[1]
    shape, flat = (total, q), (total,)
    ends = Ends(np.empty(shape), *np.empty((3, *flat)), np.zeros(flat, dtype=int))
    pieces, first = [], 0
    for one, steps, rival in zip(asked, most, best, strict=True):
        size = max(1, BLOCK // max(1, one.problem.length))
        for at in range(0, len(one.begin), size):
            rows = slice(at, min(at + size, len(one.begin)))
            pieces.append(_Piece(one, rows, first + at, steps, rival))
        first += len(one.begin)
    stages = (*FEWER, max(most) + 1)
    under_way = []
    for some in _packed(pieces):
        rows = _Rows.of(some, ends)
        rows.advance(stages[0])
        if rows.count:
            under_way.append(rows)
    for until in stages[1:]:
        under_way = [_Rows.join(some) for some in _packed(under_way)]
        for rows in under_way:
            rows.advance(until)
        under_way = [rows for rows in under_way if rows.count]
    last = np.cumsum(counts)
    return [ends[end - count : end] for end, count in zip(last, counts, strict=True)]


def _packed(parts: Sequence[_Piece] | Sequence[_Rows]) -> Iterator[list]:
    """Parts of blocks as blocks of numbers of runs that stay in a cache, the short ones first."""
    some, count = [], 0
    for part in sorted(parts, key=lambda part: part.length):
        count += part.count
        if some and count * part.length > BLOCK:
            yield some
            some, count = [], part.count
        some.append(part)
    if some:
        yield some


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
    """The runs of descents, one a row, with the law of each.

    Args:
        pieces: that rows are of.
        number: the piece of every row, (b,), ascending.
        weight: of every run, (b, n).
        loss: observed, (b, n); or (n,) where there is one piece, whose rows have the same.
    """

    def __init__(
        self, pieces: Sequence[_Piece], number: np.ndarray, weight: np.ndarray, loss: np.ndarray
    ):
        self.pieces, self.number, self.loss = pieces, number, loss
        self.weight = np.ascontiguousarray(weight)  # sums of another layout have other last bits
        self.problems = [piece.asked.problem for piece in pieces]
        self.laws = [problem.filled() for problem in self.problems]
        law, self.several = self.laws[0], len(pieces) > 1
        self.by_row = self.several and law.by_row
        self.data = {}
        if self.by_row and any(other is not law for other in self.laws):
            length = weight.shape[1]
            columns = {k: [filled(one.data[k], length) for one in self.laws] for k in law.data}
            self.data = {k: np.stack(of)[number] for k, of in columns.items()}
        self.objective, self.matrix, self.shift = self._objective(), None, None
        affines = [problem.affine for problem in self.problems]
        straight = (np.array_equal(a.matrix, np.eye(len(a.matrix))) for a in affines)
        if not all(straight) or any(a.shift.any() for a in affines):
            self.matrix = np.stack([a.matrix for a in affines])
            self.shift = np.stack([a.shift for a in affines])

    @classmethod
    def of(cls, pieces: Sequence[_Piece]) -> _Block:
        """That of all rows of some pieces."""
        length = max(piece.length for piece in pieces)
        weights, losses = [], []
        for piece in pieces:
            asked, rows = piece.asked, piece.rows
            own = asked.weight if asked.weight.ndim == 1 else asked.weight[rows]
            weights.append(
                np.broadcast_to(filled(own, length, weights=True), (piece.count, length))
            )
            loss = asked.problem.loss if asked.loss is None else asked.loss[rows]
            losses.append(filled(loss, length))
        number = np.repeat(np.arange(len(pieces)), [piece.count for piece in pieces])
        if len(pieces) == 1:
            return cls(pieces, number, weights[0], losses[0])
        rows = [np.broadcast_to(loss, w.shape) for loss, w in zip(losses, weights, strict=True)]
        return cls(pieces, number, np.concatenate(weights), np.concatenate(rows))

    @classmethod
    def join(cls, blocks: Sequence[_Block]) -> _Block:
        """Several as one; pieces of which no row is left are not in it."""
        length = max(block.weight.shape[1] for block in blocks)
        pieces, numbers, weights, losses = [], [], [], []
        for block in blocks:
            left, number = np.unique(block.number, return_inverse=True)
            numbers.append(number + len(pieces))
            pieces += [block.pieces[i] for i in left]
            weights.append(filled(block.weight, length, weights=True))
            losses.append(np.broadcast_to(filled(block.loss, length), weights[-1].shape))
        loss = losses[0][0] if len(blocks) == 1 and blocks[0].loss.ndim == 1 else None
        loss = np.concatenate(losses) if loss is None or len(pieces) > 1 else loss
        return cls(pieces, np.concatenate(numbers), np.concatenate(weights), loss)

    def _objective(self) -> Objective:
        """That of all rows: its numbers are arrays (b, 1) where they differ from piece to piece.

        A number of every run, (n,), is that of groups that share parameters: they go alone.
        """
        first, differing = self.problems[0].objective, {}
        for name in _NUMBERS:
            values = [getattr(problem.objective, name) for problem in self.problems]
            if any(np.ndim(value) == 0 and value != values[0] for value in values):
                differing[name] = np.array(values, dtype=float)[self.number, None]
        return replace(first, **differing) if differing else first

    def keep(self, which: np.ndarray) -> None:
        """Go on with some of the rows, bool (b,)."""
        self.number, self.weight = self.number[which], self.weight[which]
        if self.loss.ndim == 2:
            self.loss = self.loss[which]
        self.data = {k: v[which] for k, v in self.data.items()}
        arrays = {k: getattr(self.objective, k) for k in _NUMBERS}
        arrays = {k: v[which] for k, v in arrays.items() if np.ndim(v) == 2}
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
            law = self.laws[0]
            return (law.with_data(self.data) if self.data else law).at(theta)
        parts = [law.at(theta[rows]) for law, rows in self._sides(self.number)]
        return np.concatenate([loss for loss, _ in parts]), [inner for _, inner in parts]

    def _sums(self, inner, near: np.ndarray | None, slope, curvature, above):
        """Sums over runs of derivatives by the law's coordinates, where rows are near."""
        if self.several and not self.by_row:
            return self._sums_of_sides(inner, near, slope, curvature, above)
        law = self.laws[0]
        if near is not None:
            inner = law.take(inner, near)
        if self.data:
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


@dataclass
class _Rows:
    """Descents under way, one a row.

    Attributes:
        block: their runs and laws.
        ends: of all of the company; those that are there are written into it.
        best: objective of a rival's end, of every piece of the block; infinite where none counts.
        step: how many they have taken.
        who: position of every row among the ends, (b,).
        now: where they are.
        damping: of the next step, (b,).
        stuck: how many steps in a row were not taken, (b,).
        calm: how many steps in a row could gain nothing that counts, (b,).
        settled: share of the objective that does not count, (b,).
        turning: whether a step that was not taken turns `by_value`, (b,).
        by_value: whether a step of an amplitude is one of its value, or of its logarithm, (b,).
        milestone: the objective when progress was looked at last, (b,).
        lives: how often a row may still crawl, (b,).
        most: steps at most, (b,).
        low, high: bounds, (b, q).
        kept: coordinates that do not move, bool (b, q).
    """

    block: _Block
    ends: Ends
    best: np.ndarray
    step: int
    who: np.ndarray
    now: _State
    damping: np.ndarray
    stuck: np.ndarray
    calm: np.ndarray
    settled: np.ndarray
    turning: np.ndarray
    by_value: np.ndarray
    milestone: np.ndarray
    lives: np.ndarray
    most: np.ndarray
    low: np.ndarray
    high: np.ndarray
    kept: np.ndarray

    @classmethod
    def of(cls, pieces: Sequence[_Piece], ends: Ends) -> _Rows:
        """All rows of some pieces, where they begin."""
        block = _Block.of(pieces)
        number, asked = block.number, [piece.asked for piece in pieces]
        affines = [one.problem.affine for one in asked]
        low, high = (np.stack([getattr(a, s) for a in affines])[number] for s in ("low", "high"))
        points = np.concatenate([piece.asked.begin[piece.rows] for piece in pieces])
        points = np.clip(points, low, high).astype(float)
        none = np.zeros(points.shape[1], dtype=bool)
        held = np.stack([none if one.held is None else one.held for one in asked])
        best = [piece.best if piece.asked.rivals else np.inf for piece in pieces]
        with np.errstate(all="ignore"):
            now = block.look(points, np.full(len(points), np.inf))[2]
        return cls(
            block=block,
            ends=ends,
            best=np.array(best),
            step=0,
            who=np.concatenate([piece.first + np.arange(piece.count) for piece in pieces]),
            now=now,
            damping=np.array([one.problem.damping for one in asked])[number],
            stuck=np.zeros(len(points), dtype=int),
            calm=np.zeros(len(points), dtype=int),
            settled=np.array([one.settled for one in asked])[number],
            turning=np.array([one.turning for one in asked])[number],
            by_value=np.ones(len(points), dtype=bool),
            milestone=now.value.copy(),
            lives=np.full(len(points), LIVES),
            most=np.array([piece.most for piece in pieces])[number],
            low=low,
            high=high,
            kept=held[number],
        )

    @classmethod
    def join(cls, parts: Sequence[_Rows]) -> _Rows:
        """Rows of several blocks, which are at the same step, as those of one."""
        if len(parts) == 1:
            return parts[0]
        best = [part.best[np.unique(part.block.number)] for part in parts]
        states = [part.now for part in parts]
        now = _State(
            *(
                np.concatenate([getattr(one, name) for one in states])
                for name in _State.__dataclass_fields__
            )
        )
        return cls(
            _Block.join([part.block for part in parts]),
            parts[0].ends,
            np.concatenate(best),
            parts[0].step,
            now=now,
            **{name: np.concatenate([getattr(p, name) for p in parts]) for name in _OF_ROWS},
        )

    @property
    def count(self) -> int:
        """Descents that are not there yet."""
        return len(self.who)

    @property
    def length(self) -> int:
        """Runs, with those that fill them up."""
        return self.block.weight.shape[1]

    def advance(self, until: int) -> None:
        """Go on until so many steps were taken, or all are there."""
        with np.errstate(all="ignore"):
            while self.step < until and self.count:
                held, size, relative = self._gradients()
                over = self._over(relative)
                if over.any():
                    self._finish(over, size, relative)
                    held = held[~over]
                if self.count:
                    self._move(held)
                self.step += 1

    def _gradients(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coordinates that do not move, bool (b, q); gradients, and relative to their terms."""
        now = self.now
        held = (now.free <= self.low) & (now.gradient > 0)
        held |= (now.free >= self.high) & (now.gradient < 0)
        held |= self.kept
        size = np.where(held, 0.0, np.abs(now.gradient))
        return held, size, (size / np.maximum(now.absolute, 1e-300)).max(axis=-1)

    def _left(self, size: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Relative gradients without coordinates along which rounding hides all that is to gain.

        Of some rows, positions (k,).
        """
        now, size = self.now, size[which]
        floor = ROUNDING * np.abs(now.value[which])[:, None]
        bent = np.einsum("bii->bi", now.hessian)[which]
        hidden = (bent > 0) & (0.5 * size**2 <= floor * bent)
        hidden |= size * (self.high - self.low)[which] <= floor
        return np.where(hidden, 0.0, size / np.maximum(now.absolute[which], 1e-300)).max(axis=-1)

    def _over(self, relative: np.ndarray) -> np.ndarray:
        """Rows that are there, or get nowhere, bool (b,)."""
        value = self.now.value
        over = (relative <= AIM) | (self.stuck >= REFUSED) | ~np.isfinite(value)
        over |= (self.step >= self.most) | (self.calm >= CALM_STEPS)
        if self.step and self.step % PATIENCE == 0:
            crawling = self.milestone - value <= CRAWL * np.abs(value)
            over |= crawling & (self.lives == 0)
            gain = (self.milestone - value) * (self.most - self.step) / PATIENCE
            over |= value - gain > self.best[self.block.number] * (1 + AGREE)
            self.lives = self.lives - crawling
            self.damping = np.where(crawling, DAMPING, self.damping)
            self.milestone = value.copy()
        return over

    def _finish(self, over: np.ndarray, size: np.ndarray, relative: np.ndarray) -> None:
        """Write the ends of some rows down, and go on without them."""
        finished, now, ends, number = self.who[over], self.now, self.ends, self.block.number[over]
        ends.free[finished], ends.objective[finished] = now.free[over], now.value[over]
        ends.gradient[finished] = size[over].max(axis=-1)
        left, refused = relative.copy(), np.flatnonzero(over & (self.stuck >= REFUSED))
        left[refused] = self._left(size, refused)
        ends.left[finished] = np.where(self.calm[over] >= CALM_STEPS, 0.0, left[over])
        ends.iterations[finished] = self.step
        rivals = np.array([piece.asked.rivals for piece in self.block.pieces])
        there = rivals[number] & (relative[over] <= AIM)
        np.minimum.at(self.best, number[there], now.value[over][there])
        go = ~over
        self.block.keep(go)
        self.now = now.take(go)
        for name in _OF_ROWS:
            setattr(self, name, getattr(self, name)[go])

    def _move(self, held: np.ndarray) -> None:
        """A step of every row, which is taken where it leads down."""
        now, amplitudes = self.now, self.block.problems[0].amplitudes & self.by_value[:, None]
        step, curved = _step(now, held, self.damping, amplitudes, (self.low, self.high))
        if self.settled.any():
            gain = -0.5 * np.einsum("bq,bq->b", now.gradient, step)
            # steps that are damped more, or of logarithms, may gain little anywhere
            tells = (self.damping <= DAMPING) & self.by_value & (self.settled > 0)
            calm = gain <= self.settled * np.abs(now.value)
            self.calm = np.where(tells, np.where(calm, self.calm + 1, 0), self.calm)
        limit = now.value + ROUNDING * np.abs(now.value)
        trial = np.clip(now.free + step, self.low, self.high)
        _, near, there = self.block.look(trial, limit)
        here = now.value[near]
        flat = np.abs(there.value - here) <= ROUNDING * np.abs(here)
        # what rounding hides the gradient tells
        nearer = (np.abs(there.gradient) <= 0.9 * np.abs(now.gradient[near])) | held[near]
        good = np.where(flat, nearer.all(axis=-1), there.value < here)
        better = np.zeros(self.count, dtype=bool)
        better[np.flatnonzero(near)[good]] = True
        now.put(better, there.take(good))
        # where Newton's own step was not to be had, one that led down is no reason to damp less
        more = np.maximum(self.damping, DAMPED) * WILD
        damping = np.where(better & curved, self.damping * CALM, more)
        self.damping = np.where(damping < 1e-9, 0.0, damping)
        self.stuck = np.where(better, 0, self.stuck + 1)
        # one valley is straight in the values of amplitudes, another in their logarithms
        self.by_value ^= ~better & self.turning


# of _Rows: arrays with a number, or a row of numbers, for every row
_OF_ROWS = (
    *("who", "damping", "stuck", "calm", "settled", "turning", "by_value"),
    *("milestone", "lives", "most", "low", "high", "kept"),
)


def _step(
    now: _State,
    held: np.ndarray,
    damping: np.ndarray,
    amplitudes: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Newton's step, damped, (b, q), and where it is by the objective's own curvature, bool (b,).

    The step of an amplitude in `amplitudes`, bool (b, q), is one of its value, relative to what it
    is: the loss is a straight line in it, and a valley along which it falls to nothing is bent in
    its logarithm. A valley along which it trades with an exponent is straight in its logarithm, as
    other coordinates are. Where a step reaches bounds, the other coordinates take the step that is
    best with those there.
    """
    low, high = bounds
    step, curved = _newton(now, amplitudes, held, damping, None)
    step, stopped = _of_value(step, amplitudes), held
    for _ in range(REACHED):
        trial = now.free + step
        beyond = ((trial > high) | (trial < low)) & ~stopped
        rows = np.flatnonzero(beyond.any(axis=-1))
        if not len(rows):
            break
        stopped = stopped | beyond
        some, here = now.take(rows), stopped[rows]
        to_bounds = np.clip(trial[rows], low[rows], high[rows]) - some.free
        to_bounds = np.where(here & ~held[rows], to_bounds, 0.0)
        of_value = amplitudes[rows]
        moved = np.where(of_value, np.expm1(to_bounds), to_bounds)
        again, curved[rows] = _newton(some, of_value, here, damping[rows], moved)
        step[rows] = np.where(here, to_bounds, _of_value(again, of_value))
    return step, curved


def _of_value(step: np.ndarray, amplitudes: np.ndarray) -> np.ndarray:
    """A step in which amplitudes move relative to their values as one of the coordinates."""
    return np.where(amplitudes, np.log1p(np.maximum(step, -DROP)), step)


def _newton(
    now: _State,
    amplitudes: np.ndarray,
    held: np.ndarray,
    damping: np.ndarray,
    moved: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """The damped step, and whether the damped curvature is that of a minimum, bool (b,).

    The damping is in proportion to the curvature of the squares above the objective, so that it is
    the same in whatever coordinates: along a narrow valley it is as weak as the valley is flat.

    Args:
        now: where the rows are.
        amplitudes: coordinates whose step is relative to their value, bool (b, q).
        held: coordinates that are not moved here, bool (b, q).
        damping: of every row, (b,).
        moved: how far those that are held move with the others, (b, q); 0 if None.
    """
    free = ~held
    mask = free[:, :, None] & free[:, None, :]
    eye = np.eye(held.shape[1])
    outer = np.where(mask, now.outer, eye)
    diagonal = np.einsum("bii->bi", outer)
    # a coordinate that nothing depends on must not blow up
    ridge = np.maximum(diagonal, 1e-14 * diagonal.max(axis=-1, keepdims=True))
    lift = ROUND * damping[:, None] * ridge + 1e-13 * ridge
    added = lift - np.where(free, now.gradient * amplitudes, 0.0)
    hessian = np.where(mask, now.hessian, eye) + damping[:, None, None] * outer
    towards = _towards(now.gradient, now.hessian, held, moved)
    own, curved = cholesky_solve(hessian + added[:, :, None] * eye, towards)
    if not curved.all():
        bad = ~curved
        moved_there = None if moved is None else moved[bad]
        towards = _towards(now.gradient[bad], now.outer[bad], held[bad], moved_there)
        lift, ridge = lift[bad] + ROUND * DAMPED * ridge[bad], ridge[bad]
        outer = outer[bad] * (1 + damping[bad, None, None])
        above, fine = cholesky_solve(outer + lift[:, :, None] * eye, towards)
        own[bad] = np.where(fine[:, None], above, towards / np.maximum(ridge, 1e-300))
    return own, curved


def _towards(
    gradient: np.ndarray, curvature: np.ndarray, held: np.ndarray, moved: np.ndarray | None
) -> np.ndarray:
    """Where a quadratic objective falls once those held have moved, (b, q); 0 for them."""
    if moved is not None:
        gradient = gradient + (curvature @ moved[:, :, None])[:, :, 0]
    return np.where(held, 0.0, -gradient)
