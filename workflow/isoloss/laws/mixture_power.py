"""Losses by effective data, and what a random process finds beside it: the law to predict with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import LinAlgError, cholesky, lapack, solve_triangular
from scipy.optimize import minimize

from isoloss.laws._law import Data, Estimator, Term
from isoloss.laws._mixture import (
    CURVE,
    LEAST_DATA,
    Prior,
    curve,
    damped_least_squares,
    domain_terms,
    shares_of,
    standard,
)

TITLE = "Power law in effective data, with a residual process"
FORMULA = "L = c + K (v^-γ - 1) / γ + r(p) with v = sum_j a_j p_j"
LATEX = r"L = c + K \frac{v^{-\gamma} - 1}{\gamma} + r(p), \quad v = \sum_j a_j p_j"
SOURCE = (
    "This project; γ and a shared scale as in shifted power laws of a domain's own share, r a"
    " Gaussian process (Rasmussen and Williams 2006, chapters 2 and 5). Compared on the runs of"
    " Ye et al. 2024, arXiv:2403.16952, and Liu et al. 2024, arXiv:2407.01492"
)
DOMAIN = (
    "Shares p_j of k domains that sum to 1, zeros allowed; three runs or more; priors are said for"
    " losses over their standard deviation, and a_j = 1 (nearly) of the domain itself. Below 60"
    " runs three fits with different priors of a are averaged, and the terms are those of the"
    " middle one; from 60 on, runs far from the others count less. Far outside the runs r fades."
    " Intervals hold the process's amplitudes still"
)
OPTIONS = {}
PRESETS = {}
NEEDS = "mixture"

MANY = 60  # runs from which one robust fit takes the place of an average of three
SHIFTS = (0.0, 1.5, -1.5)  # of the prior mean of ln a; the terms are those of the first
FREEDOM = 4.0  # of the Student distribution of runs that do not fit in
# Normal priors, mean and standard deviation, of losses in standard deviations.
C, LOG_K, GAMMA = (-1.0, 2.0), (np.log(0.5), 1.0), (0.3, 0.5)
LOG_A, LOG_A_ALONE = -5.0, -3.0  # means: beside a domain of the loss's own, and without one
LOG_A_SHARED, LOG_A_EACH, LOG_A_OWN = 1.5, 1.2, 0.05  # standard deviations
# Amplitudes: of the straight, the additive and the joint process; of those two where effective
# data is scarce; of noise there, and of noise anywhere.
LOG_AMPLITUDE = np.log([0.2, 0.1, 0.05, 0.1, 0.05, 0.05, 0.1])
LOG_AMPLITUDE_SD = np.array([1.2] * 6 + [2.0])
AMPLITUDE_BOUNDS = [(np.log(1e-3), np.log(3.0))] * 6 + [(np.log(3e-3), np.log(3.0))]
FIRST_NOISE = np.log(0.2)  # from which the search for amplitudes starts
PROCESSES, AMPLITUDES = 5, 7
ADDITIVE_LENGTH, JOINT_LENGTH = 0.5, 1.0  # on an axis of log shares from 0 to 1
NOTHING = -30.0  # logarithm of an amplitude of nothing, where all losses are the same


# Covariances of the residual process


def log_shares(shares: np.ndarray, floor: float) -> np.ndarray:
    """Shares on a logarithmic axis from 0 to 1 that is straight below the floor."""
    return np.log1p(shares / floor) / np.log1p(1 / floor)


def matern(squares: np.ndarray, length: float) -> np.ndarray:
    """Matern covariance (5/2) at squared distances."""
    away = np.sqrt(5 * np.maximum(squares, 0)) / length
    return (1 + away + away * away / 3) * np.exp(-away)


def kernels(here: np.ndarray, there: np.ndarray, floor: float) -> np.ndarray:
    """Covariances between mixtures of the straight, the additive, the joint process: (3, m, n)."""
    additive, joint = np.zeros((2, len(here), len(there)))
    for one, other in zip(log_shares(here, floor).T, log_shares(there, floor).T, strict=True):
        squares = (one[:, None] - other) ** 2
        additive += matern(squares, ADDITIVE_LENGTH)
        joint += squares
    return np.stack([here @ there.T, additive, matern(joint, JOINT_LENGTH)])


def scarcity(log_a: np.ndarray, shares: np.ndarray, reference: float) -> np.ndarray:
    """2 where there is no effective data, 1 at the reference, 0 where it abounds: (n,)."""
    return 2 / (1 + shares @ np.exp(log_a) / reference)


def scarce_end(log_a: np.ndarray, shares: np.ndarray) -> float:
    """The effective data that a tenth of the runs do not have."""
    return float(np.quantile(shares @ np.exp(log_a), 0.1))


def floor_of(shares: np.ndarray) -> float:
    """Where the axis of log shares begins: below the small shares of the runs."""
    some = shares[shares > 0]
    return float(np.clip(np.quantile(some, 0.05) / 3, 0.001, 0.01)) if len(some) else 0.001


# One member: a curve and a process


@dataclass(frozen=True)
class Member:
    """A fitted law.

    Attributes:
        curve: (c, ln K, gamma, ln a_1 .. ln a_k).
        amplitudes: logarithms, (7,).
        reference: effective data at which the scarcity is 1.
        pull: of every run on the process, (n,): the inverse covariance times the residuals.
    """

    curve: np.ndarray
    amplitudes: np.ndarray
    reference: float
    pull: np.ndarray

    def loss(self, shares: np.ndarray, runs: np.ndarray, covariances: np.ndarray) -> np.ndarray:
        """At mixtures (m, k), from the runs' (n, k) and `kernels` of the two: (m,)."""
        return curve(self.curve, shares)[0] + self.process(shares, runs, covariances)[0]

    def process(
        self, shares: np.ndarray, runs: np.ndarray, covariances: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The residual process (m,), and its derivatives by ln a (m, k)."""
        log_a = self.curve[CURVE:]
        size = np.exp(2 * self.amplitudes[:PROCESSES])
        here, there = (scarcity(log_a, p, self.reference) for p in (shares, runs))
        plain = np.tensordot(size[:3], covariances, 1)
        scarce = np.tensordot(size[3:], covariances[1:], 1)
        by_here, by_there = (
            -m[:, None] * (1 - m / 2)[:, None] * p * np.exp(log_a) / effective(p, log_a)[:, None]
            for m, p in ((here, shares), (there, runs))
        )
        towards = scarce @ (there * self.pull)
        value = plain @ self.pull + here * towards
        slopes = by_here * towards[:, None]
        slopes += here[:, None] * (scarce @ (by_there * self.pull[:, None]))
        return value, slopes

    def scaled(self, mean: float, sd: float) -> Member:
        """A law of standardised losses as one of losses (mean and SD given)."""
        head = self.curve.copy()
        head[0], head[1] = mean + sd * head[0], head[1] + np.log(sd)
        return replace(
            self, curve=head, amplitudes=self.amplitudes + np.log(sd), pull=self.pull / sd
        )


def effective(shares: np.ndarray, log_a: np.ndarray) -> np.ndarray:
    """Effective data, (n,)."""
    return np.maximum(shares @ np.exp(log_a), LEAST_DATA)


class Search:
    """The search for a member on some runs.

    Args:
        shares: of every run, (n, k).
        target: standardised losses, (n,).
        weight: of every run, above 0, (n,); one on average.
        own: position of the domain that the loss is of, or None.
        shift: of the prior mean of ln a.
        covariances: `kernels` of the runs with each other.
    """

    def __init__(
        self,
        shares: np.ndarray,
        target: np.ndarray,
        weight: np.ndarray,
        own: int | None,
        shift: float,
        covariances: np.ndarray,
    ):
        self.shares, self.target, self.weight = shares, target, weight
        self.prior = curve_prior(shares.shape[1], own, shift)
        self.covariances = covariances

    def member(self) -> Member:
        """From nothing: the curve and the amplitudes in turn, three times."""
        amplitudes = LOG_AMPLITUDE.copy()
        amplitudes[-1] = FIRST_NOISE
        return self._in_turn(self.prior.centre, amplitudes, rounds=(30, 12, 12))

    def again(self, near: Member) -> Member:
        """From a member of the same runs with other weights: once."""
        return self._in_turn(near.curve, near.amplitudes, rounds=(30,))

    def with_amplitudes(self, near: Member) -> Member:
        """From a member of the same runs, whose amplitudes stay: the curve and the process."""
        return self._finished(near.curve, near.amplitudes)

    def robust(self, near: Member) -> Search:
        """The same search with less weight on runs that the others do not predict."""
        covariance = self._covariance(near.amplitudes, self._processes(near.curve[CURVE:]))
        precision = np.diag(inverse(cholesky(covariance, lower=True, check_finite=False)))
        trust = (FREEDOM + 1) / (FREEDOM + near.pull**2 / precision)
        found = Search.__new__(Search)
        found.__dict__.update(self.__dict__, weight=self.weight * trust)
        return found

    def _in_turn(
        self, theta: np.ndarray, amplitudes: np.ndarray, rounds: tuple[int, ...]
    ) -> Member:
        processes = self._processes(theta[CURVE:])
        for steps in rounds:
            theta = self._curve(theta, self._root(amplitudes, processes))
            processes = self._processes(theta[CURVE:])
            amplitudes = self._amplitudes(theta, amplitudes, processes, steps)
        return self._finished(theta, amplitudes, processes)

    def _finished(self, theta, amplitudes, processes=None) -> Member:
        """The best curve for given amplitudes, and the process that is left."""
        if processes is None:
            processes = self._processes(theta[CURVE:])
        theta = self._curve(theta, self._root(amplitudes, processes))
        root = self._root(amplitudes, self._processes(theta[CURVE:]))
        left = self.target - curve(theta, self.shares)[0]
        pull = lapack.dpotrs(root, left, lower=1)[0]
        return Member(theta, amplitudes, scarce_end(theta[CURVE:], self.shares), pull)

    def _curve(self, theta: np.ndarray, root: np.ndarray) -> np.ndarray:
        """The curve of greatest posterior density, noise and process having a covariance."""

        def whiten(columns: np.ndarray) -> np.ndarray:
            return solve_triangular(root, columns, lower=True, check_finite=False)

        def model(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return curve(at, self.shares)

        return damped_least_squares(
            model, theta, self.prior, self.target, whiten, tolerance=1e-4, steps=40
        ).theta

    def _processes(self, log_a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Unit covariances, flattened: dense (5, n n), and of noise the diagonals (2, n)."""
        scarce = scarcity(log_a, self.shares, scarce_end(log_a, self.shares))
        dense = np.concatenate([self.covariances, self.covariances[1:] * np.outer(scarce, scarce)])
        return dense.reshape(PROCESSES, -1), np.stack([scarce**2, 1 / self.weight])

    def _covariance(self, amplitudes: np.ndarray, processes) -> np.ndarray:
        """Of process and noise, (n, n)."""
        dense, diagonal = processes
        size, n = np.exp(2 * amplitudes), len(self.target)
        found = (size[:PROCESSES] @ dense).reshape(n, n)
        found[np.diag_indices(n)] += size[PROCESSES:] @ (
            diagonal if diagonal.shape[1] == n else diagonal.T
        )
        return found

    def _root(self, amplitudes: np.ndarray, processes) -> np.ndarray:
        return cholesky(self._covariance(amplitudes, processes), lower=True, check_finite=False)

    def _amplitudes(self, theta, amplitudes, processes, steps: int) -> np.ndarray:
        """Amplitudes of greatest evidence times prior, the curve integrated out (Laplace)."""
        value, slopes = curve(theta, self.shares)
        left = self.target - value - slopes @ (self.prior.centre - theta)
        linear = slopes @ self.prior.covariance @ slopes.T
        dense, diagonal = processes

        def cost(at: np.ndarray) -> tuple[float, np.ndarray]:
            try:
                covariance = self._covariance(at, processes) + linear
                root = cholesky(covariance, lower=True, check_finite=False)
            except LinAlgError:
                return 1e9, np.zeros(AMPLITUDES)
            pull = lapack.dpotrs(root, left, lower=1)[0]
            slope = inverse(root) - np.outer(pull, pull)
            away = (at - LOG_AMPLITUDE) / LOG_AMPLITUDE_SD
            total = left @ pull + 2 * np.log(np.diag(root)).sum() + away @ away
            by_size = np.concatenate([dense @ slope.ravel(), diagonal @ np.diag(slope)])
            return total, 2 * np.exp(2 * at) * by_size + 2 * away / LOG_AMPLITUDE_SD

        accuracy = 1e-5 if len(left) < 100 else 1e-4
        options = {"maxiter": steps, "ftol": accuracy}
        return minimize(
            cost, amplitudes, jac=True, method="L-BFGS-B", bounds=AMPLITUDE_BOUNDS, options=options
        ).x


def curve_prior(domains: int, own: int | None, shift: float) -> Prior:
    """Of (c, ln K, gamma, ln a): the weights of other domains are uncertain together and each."""
    log_a = (LOG_A_ALONE if own is None else LOG_A) + shift
    centre = np.concatenate([[C[0], LOG_K[0], GAMMA[0]], np.full(domains, log_a)])
    spread = np.concatenate([[C[1], LOG_K[1], GAMMA[1]], np.full(domains, LOG_A_EACH)])
    covariance = np.diag(spread**2)
    others = np.arange(CURVE, CURVE + domains)
    if own is not None:
        centre[CURVE + own], covariance[CURVE + own, CURVE + own] = 0.0, LOG_A_OWN**2
        others = np.delete(others, own)
    covariance[np.ix_(others, others)] += LOG_A_SHARED**2
    return Prior.of(centre, covariance)


def inverse(root: np.ndarray) -> np.ndarray:
    """Inverse of a matrix from its lower Cholesky root."""
    half = lapack.dpotri(root, lower=1)[0]
    found = half + half.T
    found[np.diag_indices(len(found))] *= 0.5
    return found


# The law


class MixturePower(Estimator):
    """theta = (c, ln K, gamma, ln a_1 .. ln a_k, ln sigma) of the first member, and a memory.

    The memory: number of members, floor of the log shares; of the first member amplitudes (but
    the noise), reference, pulls; of each other one terms and the same; shares of the runs. What
    a run without weight has in it is zeros.
    """

    recipe = (
        "greatest posterior density of the curve, and of the process's amplitudes by Laplace's"
        " evidence, in turn"
    )
    formula = FORMULA
    flat = True
    least = 3

    def __init__(self, domains: Sequence[str], own: str | None):
        self.variables = tuple(domains)
        self.own = None if own is None else self.variables.index(own)
        self.terms = (
            Term("c", "c", "nats/token", False, -100.0, 100.0, (0.0,)),
            Term("K", "K", "nats/token", True, -40.0, 10.0, (0.0,)),
            Term("gamma", "γ", "1", False, -10.0, 10.0, (0.3,)),
            *domain_terms("a", domains, "1", log=True),
            Term("sigma", "σ", "nats/token", True, -40.0, 5.0, (0.0,)),
        )

    def estimate(self, data: Data, loss: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """theta with its memory, from the runs of weight above 0; NaN without one."""

        def members(searches: list[Search]) -> list[Member]:
            found = [search.member() for search in searches]
            if len(searches) == 1:
                found = [searches[0].robust(found[0]).again(found[0])]
            return found

        return self._remembered(data, loss, weight, members)

    def again(
        self, theta: np.ndarray, data: Data, loss: np.ndarray, weight: np.ndarray
    ) -> np.ndarray:
        """As `estimate`, with the amplitudes of an estimate: for replicates."""
        if not np.isfinite(theta).all():
            return self.estimate(data, loss, weight)
        known = self._recall(theta)[0]

        def members(searches: list[Search]) -> list[Member]:
            mean, sd = searches[0].scale
            near = [one.scaled(-mean / sd, 1 / sd) for one in known]
            found = [s.with_amplitudes(m) for s, m in zip(searches, near, strict=True)]
            if len(searches) == 1:
                found = [searches[0].robust(found[0]).with_amplitudes(found[0])]
            return found

        return self._remembered(data, loss, weight, members)

    def _remembered(self, data: Data, loss, weight, members) -> np.ndarray:
        """theta of the members that a search on the runs of some weight finds."""
        n, shares = len(loss), shares_of(data, self.variables)
        count, drawn = 1 if n >= MANY else len(SHIFTS), np.flatnonzero(weight > 0)
        if not len(drawn):
            return np.full(self._length(n, count), np.nan)
        heavy = weight[drawn] / weight[drawn].mean()
        target, mean, sd = standard(loss[drawn], heavy)
        floor, own_shares = floor_of(shares[drawn]), np.ascontiguousarray(shares[drawn])
        if sd == 0:
            found = [self._constant(mean, len(drawn))] * count
        else:
            between = kernels(own_shares, own_shares, floor)
            searches = [
                Search(own_shares, target, heavy, self.own, shift, between)
                for shift in SHIFTS[:count]
            ]
            for search in searches:
                search.scale = (mean, sd)
            found = [one.scaled(mean, sd) for one in members(searches)]
        known = np.zeros_like(shares)
        known[drawn] = own_shares
        pulls = np.zeros((count, n))
        pulls[:, drawn] = [one.pull for one in found]
        return self._written(found, floor, pulls, known)
