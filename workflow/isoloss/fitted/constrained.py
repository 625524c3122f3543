"""The least value of a function of a few variables under constraints, for many problems at once.

Thousands of replicates of a fit ask for the optimum of the same question, each with parameters of
its own, so that every step here is of arrays. Constraints enter by an augmented Lagrangian (Nocedal
and Wright 2006, chapter 17), whose inner problem in a box is solved by Newton's method on the
variables that are not at an end. Gradients and second derivatives are those of the functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

Derived = tuple[np.ndarray, np.ndarray, np.ndarray]  # value (b,), gradient (b, q), Hessian

_OUTER, _INNER, _HALVES = 20, 40, 25  # updates of multipliers, Newton steps, halves of a step
_LOST = 3  # inner searches without an end after which a start is given up
_EXACT = 1e-10  # a constraint is met, and a step is too short to matter
_AT_END = 1e-7  # of a coordinate
_LONGEST = 4.0  # step of a coordinate
_FLAT = 1e-12  # curvature below which a direction is not determined
_FIRST, _MOST = 10.0, 1e8  # weights of the penalty


class Function(Protocol):
    """A function of coordinates that every problem has with parameters of its own."""

    def value(self, point: np.ndarray, problem: np.ndarray) -> np.ndarray:
        """At points (b, q) of problems (b,): (b,)."""

    def derived(self, point: np.ndarray, problem: np.ndarray) -> Derived:
        """The value with gradient (b, q) and Hessian (b, q, q)."""


@dataclass(frozen=True)
class Task:
    """A function to minimise under constraints, in coordinates of order one.

    Attributes:
        objective: the function.
        constraints: functions that may not be above 0, or must be 0.
        equal: which of them must be 0.
    """

    objective: Function
    constraints: Sequence[Function] = ()
    equal: Sequence[bool] = ()


@dataclass(frozen=True)
class Minima:
    """Where problems have their least value.

    Attributes:
        point: coordinates, (b, q).
        value: of the objective, (b,).
        slack: of every constraint, (b, m): its value.
        multipliers: of every constraint, (b, m): how much the value falls as it gives way; above
            0 where an inequality is active.
        met: whether all constraints are met, bool (b,).
        settled: whether the search came to its end, bool (b,).
        flat: how much of a direction without curvature every coordinate has, 0 to 1, (b, q).
    """

    point: np.ndarray
    value: np.ndarray
    slack: np.ndarray
    multipliers: np.ndarray
    met: np.ndarray
    settled: np.ndarray
    flat: np.ndarray

    @property
    def sound(self) -> np.ndarray:
        """Whether a minimum is one: constraints met, search at its end; bool (b,)."""
        return self.met & self.settled

    def take(self, which: np.ndarray) -> Minima:
        """Some of the minima."""
        return Minima(*(getattr(self, name)[which] for name in self.__dataclass_fields__))


def minimised(
    task: Task, start: np.ndarray, low: np.ndarray, high: np.ndarray, problem: np.ndarray
) -> Minima:
    """The local minimum that each start leads to.

    Args:
        task: what is minimised.
        start: coordinates, (b, q).
        low: lower ends of the box of each start, (b, q).
        high: upper ends, (b, q).
        problem: which problem each start is of, (b,): the functions are told.
    """
    count, m = len(start), len(task.constraints)
    point = np.clip(start, low, high)
    multipliers, weight = np.zeros((count, m)), np.full(count, _FIRST)
    settled, before = np.zeros(count, dtype=bool), np.full(count, np.inf)
    lost = np.zeros(count, dtype=int)
    slack, curved = np.zeros((count, m)), np.zeros((count, *point.shape[1:], point.shape[1]))
    scale = _sizes(task, point, problem)
    rows = np.arange(count)
    for _ in range(_OUTER):
        augmented = _Augmented(task, multipliers[rows], weight[rows], problem[rows], scale[rows])
        moved, ended, curved[rows] = _newton(augmented, point[rows], low[rows], high[rows])
        step = np.abs(moved - point[rows]).max(axis=1, initial=0.0)
        point[rows] = moved
        slack[rows] = augmented.slack(moved)
        off = _violation(slack[rows], task.equal)
        multipliers[rows] = augmented.updated(slack[rows])
        over = (off <= _EXACT) & ended & ((step <= 1e-6) | (m == 0))
        settled[rows] |= over
        slow = off > before[rows] / 4
        weight[rows] = np.where(slow, np.minimum(weight[rows] * 10, _MOST), weight[rows])
        before[rows] = off
        lost[rows] += ~ended
        rows = rows[~over & (lost[rows] < _LOST)]
        if not len(rows):
            break
    with np.errstate(all="ignore"):
        value = task.objective.value(point, problem)
    return Minima(
        point,
        value,
        slack * scale,
        multipliers / scale,
        _violation(slack, task.equal) <= 10 * _EXACT,
        settled & np.isfinite(value),
        _flat(curved, point, low, high),
    )


def best_of(
    minima: Minima, problem: np.ndarray, count: int, later: np.ndarray | None = None
) -> Minima:
    """The lowest sound minimum of every problem; of one without any, the least bad.

    Args:
        minima: of several starts a problem.
        problem: which problem each is of, (b,), each at least once.
        count: of problems.
        later: which are taken only where a problem has no other, bool (b,).
    """
    later = np.zeros(len(problem), dtype=bool) if later is None else later
    worth = np.where(np.isfinite(minima.value), minima.value, np.inf)
    order = np.lexsort((worth, later, ~minima.sound, problem))
    first = np.searchsorted(problem[order], np.arange(count))
    return minima.take(order[first])


class _Augmented:
    """The augmented Lagrangian of some problems: constraints in units of their first slopes."""

    def __init__(self, task: Task, multipliers, weight, problem, scale):
        self.task, self.multipliers, self.weight = task, multipliers, weight
        self.problem, self.scale = problem, scale

    def slack(self, point: np.ndarray) -> np.ndarray:
        """The constraints in their units, (b, m)."""
        with np.errstate(all="ignore"):
            values = [one.value(point, self.problem) for one in self.task.constraints]
        return np.stack(values, axis=-1) / self.scale if values else np.zeros((len(point), 0))

    def updated(self, slack: np.ndarray) -> np.ndarray:
        """The multipliers by first order, (b, m)."""
        pull = self.multipliers + self.weight[:, None] * slack
        return np.where(np.array(self.task.equal, dtype=bool), pull, np.maximum(pull, 0.0))

    def value(self, point: np.ndarray, which: np.ndarray) -> np.ndarray:
        """At points of some of the problems, (k,); infinite where it is not a number."""
        problem, weight = self.problem[which], self.weight[which]
        with np.errstate(all="ignore"):
            value = np.copy(self.task.objective.value(point, problem))
            for i, one in enumerate(self.task.constraints):
                off, held = one.value(point, problem) / self.scale[which, i], self.multipliers
                value += _penalty(off, held[which, i], weight, self.task.equal[i])
        return np.where(np.isnan(value), np.inf, value)

    def at(self, point: np.ndarray, which: np.ndarray) -> Derived:
        """Value, gradient and Hessian at points of some of the problems."""
        problem, weight = self.problem[which], self.weight[which]
        with np.errstate(all="ignore"):
            value, gradient, hessian = map(np.copy, self.task.objective.derived(point, problem))
            for i, (one, equal) in enumerate(
                zip(self.task.constraints, self.task.equal, strict=True)
            ):
                size, held = self.scale[which, i], self.multipliers[which, i]
                off, slope, turn = one.derived(point, problem)
                off, slope, turn = off / size, slope / size[:, None], turn / size[:, None, None]
                pull = held + weight * off
                on = np.ones_like(pull) if equal else (pull > 0).astype(float)
                value += _penalty(off, held, weight, equal)
                gradient += (on * pull)[:, None] * slope
                hessian += (on * pull)[:, None, None] * turn
                hessian += (on * weight)[:, None, None] * slope[:, :, None] * slope[:, None, :]
        return np.where(np.isnan(value), np.inf, value), gradient, hessian


def _penalty(off: np.ndarray, held: np.ndarray, weight: np.ndarray, equal: bool) -> np.ndarray:
    """What a constraint adds to the augmented Lagrangian, (b,)."""
    inside = held * off + weight * off**2 / 2
    return inside if equal else np.where(held + weight * off > 0, inside, -(held**2) / weight / 2)


def _newton(
    augmented: _Augmented, point: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Minima in a box by projected Newton steps: points, whether each ended, and Hessians."""
    point, rows = point.copy(), np.arange(len(point))
    value, gradient, hessian = augmented.at(point, rows)
    ended = np.zeros(len(point), dtype=bool)
    for _ in range(_INNER):
        here, slope = point[rows], gradient[rows]
        step = _step(slope, hessian[rows], here, low[rows], high[rows])
        usable = np.isfinite(step).all(axis=1) & np.isfinite(value[rows])
        short = np.abs(step).max(axis=1, initial=0.0) <= _EXACT
        ended[rows[usable & short]] = True
        keep = usable & ~short
        rows, here, slope, step = rows[keep], here[keep], slope[keep], step[keep]
        if not len(rows):
            break
        went = _searched(augmented, rows, (here, slope, step), (low, high), point, value)
        stuck = ~went
        ended[rows[stuck]] = np.abs(step[stuck]).max(axis=1, initial=0.0) <= 1e-5
        rows = rows[went]
        if not len(rows):
            break
        value[rows], gradient[rows], hessian[rows] = augmented.at(point[rows], rows)
    return point, ended, hessian


def _searched(augmented, rows, line, box, point, value) -> np.ndarray:
    """Move points along their steps to where the value is lower; whether each moved, bool (k,).

    `point` is changed in place.
    """
    (here, slope, step), (low, high) = line, box
    went, length = np.zeros(len(rows), dtype=bool), np.ones(len(rows))
    for _ in range(_HALVES):
        left = np.flatnonzero(~went)
        if not len(left):
            break
        at = rows[left]
        there = np.clip(here[left] + length[left, None] * step[left], low[at], high[at])
        reached = augmented.value(there, at)
        gain = 1e-4 * np.einsum("bq,bq->b", slope[left], there - here[left])
        rounding = 1e-14 * (1 + np.abs(value[at]))
        moves = (reached <= value[at] + gain + rounding) & (there != here[left]).any(axis=1)
        point[at[moves]] = there[moves]
        went[left[moves]] = True
        length[left] /= 2
    return went


def _step(gradient, hessian, point, low, high) -> np.ndarray:
    """Newton's step of the coordinates that may move, (b, q), downhill where the value bends down.

    A coordinate at an end of its box stays there if the value rises inwards. One whose step would
    leave the box goes to its end, and the others' steps are those that are best with it there.
    """
    count = point.shape[1]
    free = ~(((point <= low) & (gradient > 0)) | ((point >= high) & (gradient < 0)) | (low >= high))
    finite = np.isfinite(hessian).all(axis=(1, 2)) & np.isfinite(gradient).all(axis=1)
    hessian = np.where(finite[:, None, None], hessian, 0.0)
    slope, free = np.where(finite[:, None], gradient, 0.0), free & finite[:, None]
    step = np.zeros_like(point)
    for _ in range(count):
        held = np.where(free, 0.0, step)  # what goes to an end of the box
        moved = slope + np.einsum("bqk,bk->bq", hessian, held)
        newton = _newtons(np.where(free, moved, 0.0), hessian, free)
        longest = np.abs(newton).max(axis=1, keepdims=True, initial=0.0)
        newton *= np.minimum(1.0, _LONGEST / np.where(longest > 0, longest, 1.0))
        inside = np.clip(newton, low - point, high - point)
        step = np.where(free, inside, held)
        leaves = free & (inside != newton)
        free = free & ~leaves
        if not leaves.any():
            break
    uphill = np.einsum("bq,bq->b", step, slope) > 0
    if uphill.any():
        size = np.maximum(np.abs(hessian[:, np.arange(count), np.arange(count)]), 1e-3)
        down = np.clip(-slope / size, low - point, high - point)
        step = np.where(uphill[:, None], np.clip(down, -_LONGEST, _LONGEST), step)
    return step


def _newtons(slope: np.ndarray, hessian: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Newton's step of the free coordinates, (b, q), along which no direction goes uphill."""
    inner = np.where(free[:, :, None] & free[:, None, :], hessian, np.eye(slope.shape[1]))
    values, vectors = np.linalg.eigh(inner)
    values = np.maximum(np.abs(values), 1e-14)
    return -np.einsum("bqk,bk->bq", vectors, np.einsum("bqk,bq->bk", vectors, slope) / values)


def _sizes(task: Task, point: np.ndarray, problem: np.ndarray) -> np.ndarray:
    """Length of every constraint's slope at the starts, (b, m); 1 where it has none."""
    sizes = []
    with np.errstate(all="ignore"):
        for one in task.constraints:
            length = np.linalg.norm(one.derived(point, problem)[1], axis=1)
            sizes.append(np.where(np.isfinite(length) & (length > 1e-9), length, 1.0))
    return np.stack(sizes, axis=-1) if sizes else np.zeros((len(point), 0))


def _violation(slack: np.ndarray, equal: Sequence[bool]) -> np.ndarray:
    """How far the constraint that is least met is from being met, (b,); infinite for NaN."""
    off = np.where(np.array(equal, dtype=bool), np.abs(slack), np.maximum(slack, 0.0))
    return np.where(np.isnan(off), np.inf, off).max(axis=1, initial=0.0)


def _flat(hessian, point, low, high) -> np.ndarray:
    """How much each coordinate inside the box shares in a direction without curvature, (b, q)."""
    inside = (point > low + _AT_END) & (point < high - _AT_END)
    inner = np.where(inside[:, :, None] & inside[:, None, :], hessian, np.eye(point.shape[1]))
    inner = np.where(np.isfinite(inner).all(axis=(1, 2))[:, None, None], inner, 0.0)
    values, vectors = np.linalg.eigh(inner)
    return (np.abs(vectors) * (values < _FLAT)[:, None, :]).max(axis=2) * inside
