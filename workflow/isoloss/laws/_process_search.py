"""The search for curves with residual processes: many of them side by side.

Every array of a search has one row for each law that is sought (a member of an estimate, of a
replicate, of a fold), so that small matrices are factored together. Laws of fewer runs than others
have rows of no effect in the place of runs: covariance 1 with themselves, nothing to explain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from isoloss.laws._mixture import CURVE, Curvature, Prior, curve, descend, roots
from isoloss.laws._process import (
    AMPLITUDE_BOUNDS,
    AMPLITUDES,
    NOTHING,
    PROCESSES,
    Hyperparameters,
    Member,
    Processes,
    inverses,
    kernels,
    scarce_end,
    scarcity,
)

TOGETHER = 1 << 17  # numbers of covariances that are looked at together: they stay in the cache
BLOCK = 1 << 20  # numbers of the covariances of laws that are kept at a time
FIRST_NOISE = np.log(0.2)  # from which the search for amplitudes starts
CURVE_STEPS, AMPLITUDE_STEPS = 80, 40  # looks at most
ON_THE_WAY, TOLERANCE = 1e-4, 1e-6  # relative gain below which a descent ends
STEP = 1.5  # of a parameter in one step, at most


@dataclass(frozen=True)
class Task:
    """A law that is sought: its runs, its prior, and where the search starts.

    Attributes:
        shares: of the runs, (n, k).
        target: standardised losses, (n,).
        weight: above 0, one on average, (n,).
        floor: of the axis of log shares.
        prior: of the curve.
        robust: whether runs that the others do not predict count less.
        near: the law to start from; None for the prior's centre.
    """

    shares: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    floor: float
    prior: Prior
    robust: bool
    near: Member | None = None


def searched(tasks: Sequence[Task], hyper: Hyperparameters) -> list[tuple[Member, np.ndarray]]:
    """The law of every task, and the weights that its runs had in the end, (n,).

    Args:
        tasks: all from a law to start from, or none.
        hyper: of the priors.
    """
    ends: dict[int, tuple[Member, np.ndarray]] = {}
    for block in _blocks(tasks):
        some = [tasks[i] for i in block]
        reached, weight = _of_block(Search.of(some, hyper), some)
        for row, i in enumerate(block):
            n = len(tasks[i].target)
            ends[i] = reached.member(row, n), weight[row, :n]
    return [ends[i] for i in range(len(tasks))]


def _blocks(tasks: Sequence[Task]) -> Iterator[list[int]]:
    """Numbers of tasks that are searched for together: alike in kind, and nearly in runs."""
    sizes = [(task.robust, len(task.target)) for task in tasks]
    block: list[int] = []
    for i in sorted(range(len(tasks)), key=sizes.__getitem__):
        robust, n = sizes[i]
        full = PROCESSES * n * n * (len(block) + 1) > BLOCK
        if block and (full or robust != sizes[block[0]][0]):
            yield block
            block = []
        block.append(i)
    if block:
        yield block


def _of_block(search: Search, tasks: Sequence[Task]) -> tuple[Found, np.ndarray]:
    """What a search ends at, and the weights of its runs."""
    near = [task.near for task in tasks if task.near is not None]
    if near:
        begin = np.array([one.curve for one in near]), np.array([one.amplitudes for one in near])
        if not tasks[0].robust:
            return search.again(*begin), search.weight
        reached = search.at_amplitudes(*begin)
        robust = search.robust(reached)
        return robust.at_amplitudes(reached.theta, reached.amplitudes), robust.weight
    reached = search.members()
    if not tasks[0].robust:
        return reached, search.weight
    robust = search.robust(reached)
    return robust.again(reached.theta, reached.amplitudes), robust.weight


@dataclass(frozen=True)
class Search:
    """The search for b laws of at most n runs.

    Attributes:
        shares: of the runs, (b, n, k); even where there is none.
        present: whether there is a run, (b, n).
        target: standardised losses, (b, n); 0 where there is no run.
        weight: above 0, one on average, (b, n).
        covariances: `kernels` of the runs, (b, 3, n, n).
        prior: of every curve.
        hyper: of the amplitudes.
    """

    shares: np.ndarray
    present: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    covariances: np.ndarray
    prior: Prior
    hyper: Hyperparameters

    @classmethod
    def of(cls, tasks: Sequence[Task], hyper: Hyperparameters) -> Search:
        """Of tasks that may differ in their runs."""
        count, n = len(tasks), max(len(task.target) for task in tasks)
        k = tasks[0].shares.shape[1]
        shares, present = np.full((count, n, k), 1 / k), np.zeros((count, n), dtype=bool)
        target, weight = np.zeros((count, n)), np.ones((count, n))
        for i, task in enumerate(tasks):
            own = len(task.target)
            shares[i, :own], present[i, :own] = task.shares, True
            target[i, :own], weight[i, :own] = task.target, task.weight
        floor = np.array([task.floor for task in tasks])
        covariances = kernels(shares, shares, floor, hyper.lengths)
        both = present[:, None, :, None] & present[:, None, None, :]
        priors = [task.prior for task in tasks]
        prior = Prior(
            np.array([prior.centre for prior in priors]),
            np.array([prior.covariance for prior in priors]),
            np.array([prior.precision for prior in priors]),
        )
        return cls(shares, present, target, weight, covariances * both, prior, hyper)

    # What is found

    def members(self) -> Found:
        """From the priors' centres: the curve and the amplitudes in turn, three times."""
        amplitudes = np.full((len(self.target), AMPLITUDES), self.hyper.log_amplitude[0])
        amplitudes[:, -1] = FIRST_NOISE
        amplitudes[:, :-1][:, ~np.array(self.hyper.present)] = NOTHING
        return self._in_turn(self.prior.centre, amplitudes, 3)

    def again(self, theta: np.ndarray, amplitudes: np.ndarray) -> Found:
        """The same once, from laws of these runs with other weights."""
        return self._in_turn(theta, amplitudes, 1)

    def at_amplitudes(self, theta: np.ndarray, amplitudes: np.ndarray) -> Found:
        """The curves alone, from laws of these runs with other losses or weights."""
        theta = self._curves(theta, self._inverse(theta, amplitudes), TOLERANCE)
        inverse = self._inverse(theta, amplitudes)
        left = self.target - self._values(theta)[0]
        pull = (inverse @ left[..., None])[..., 0]
        reference = scarce_end(theta[:, CURVE:], self.shares, self.present)
        return Found(theta, amplitudes, reference, pull, np.diagonal(inverse, 0, 1, 2))

    def robust(self, reached: Found) -> Search:
        """The same search with less weight on runs that the others do not predict."""
        freedom, unexpected = self.hyper.freedom, reached.pull**2 / reached.precision
        weight = self.weight * (freedom + 1) / (freedom + unexpected)
        return replace(self, weight=np.where(self.present, weight, 1.0))

    def _in_turn(self, theta: np.ndarray, amplitudes: np.ndarray, rounds: int) -> Found:
        for _ in range(rounds):
            theta = self._curves(theta, self._inverse(theta, amplitudes), ON_THE_WAY)
            amplitudes = self._amplitudes(theta, amplitudes)
        return self.at_amplitudes(theta, amplitudes)

    # Steps of the search

    @property
    def _abreast(self) -> int:
        """Laws whose covariances are looked at together."""
        return max(1, TOGETHER // (PROCESSES * self.target.shape[1] ** 2))

    def _values(self, theta: np.ndarray, rows=slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """The curves at the runs (b, n) and their slopes (b, n, p); 0 where there is no run."""
        values, slopes = curve(theta, self.shares[rows])
        there = self.present[rows]
        return np.where(there, values, 0.0), slopes * there[..., None]

    def _processes(self, theta: np.ndarray) -> Processes:
        log_a = theta[:, CURVE:]
        reference = scarce_end(log_a, self.shares, self.present)
        scarce = scarcity(log_a, self.shares, reference[:, None]) * self.present
        return Processes.of(self.covariances, scarce, self.weight, self.present)

    def _inverse(self, theta: np.ndarray, amplitudes: np.ndarray) -> np.ndarray:
        """Inverse covariances of the runs, (b, n, n)."""
        covariance = self._processes(theta).covariance(np.exp(2 * amplitudes))
        return inverses(covariance, roots(covariance))

    def _curves(self, theta: np.ndarray, inverse: np.ndarray, tolerance: float) -> np.ndarray:
        """The curves of greatest posterior density, for inverse covariances of what they leave."""
        prior = self.prior

        def look(rows: np.ndarray, at: np.ndarray) -> Curvature:
            value, slopes = self._values(at, rows)
            left = self.target[rows] - value
            columns = np.concatenate([left[..., None], slopes], axis=-1)
            products = columns.swapaxes(-1, -2) @ (inverse[rows] @ columns)
            precision, away = prior.precision[rows], at - prior.centre[rows]
            pull = (precision @ away[..., None])[..., 0]
            objective = products[:, 0, 0] + (away * pull).sum(axis=-1)
            # Gauss and Newton's: with all of it a descent leaves the basin of the prior's centre
            curvature = products[:, 1:, 1:] + precision
            return Curvature(objective, 2 * (pull - products[:, 1:, 0]), 2 * curvature)

        bounds = np.full(theta.shape, np.inf)
        ends = (-bounds, bounds, tolerance, CURVE_STEPS, STEP)
        return descend(look, theta, *ends, self._abreast, convex=True)

    def _amplitudes(self, theta: np.ndarray, amplitudes: np.ndarray) -> np.ndarray:
        """Amplitudes of greatest evidence times prior, the curve integrated out (Laplace)."""
        processes = self._processes(theta)
        value, slopes = self._values(theta)
        to_centre = (slopes @ (self.prior.centre - theta)[..., None])[..., 0]
        left = self.target - value - to_centre
        uncertain = slopes @ self.prior.covariance @ slopes.swapaxes(-1, -2)
        centre, sd = self.hyper.log_amplitude

        def look(rows: np.ndarray, at: np.ndarray) -> Curvature:
            evidence = processes.some(rows).evidence(at, left[rows], uncertain[rows])
            away = (at - centre) / sd
            evidence.curvature[:, range(AMPLITUDES), range(AMPLITUDES)] += 2 / sd**2
            objective = evidence.objective + (away**2).sum(axis=-1)
            return Curvature(objective, evidence.gradient + 2 * away / sd, evidence.curvature)

        there = (*self.hyper.present, True)
        bounds = [b if p else (NOTHING,) * 2 for b, p in zip(AMPLITUDE_BOUNDS, there, strict=True)]
        low, high = (np.tile(side, (len(amplitudes), 1)) for side in np.transpose(bounds))
        ends = (low, high, TOLERANCE, AMPLITUDE_STEPS, STEP)
        return descend(look, amplitudes, *ends, self._abreast)


@dataclass(frozen=True)
class Found:
    """Laws that a search ended at, a row each.

    Attributes:
        theta: curves, (b, 3 + k).
        amplitudes: logarithms, (b, 7).
        reference: effective data at which the scarcity is 1, (b,).
        pull: of every run on the process, (b, n).
        precision: diagonal of the inverse covariance of the runs, (b, n).
    """

    theta: np.ndarray
    amplitudes: np.ndarray
    reference: np.ndarray
    pull: np.ndarray
    precision: np.ndarray

    def member(self, row: int, runs: int) -> Member:
        """The law of a row, which has so many runs."""
        reference = float(self.reference[row])
        return Member(self.theta[row], self.amplitudes[row], reference, self.pull[row, :runs])
