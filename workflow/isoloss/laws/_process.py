"""A curve of effective data with a residual process beside it: covariances, and the search.

Losses are standardised: the priors are in units of their standard deviation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.linalg import LinAlgError, cholesky, lapack, solve_triangular
from scipy.optimize import minimize

from isoloss.laws._mixture import CURVE, Prior, curve, damped_least_squares


@dataclass(frozen=True)
class Hyperparameters:
    """Of the priors, normal all of them, of terms of standardised losses; and of the form.

    The priors were chosen by benchmarks/mixture_prior.py, which also reports other forms.

    Attributes:
        c, log_k, gamma: of the curve's terms, mean and SD.
        log_a: mean of the ln a of all domains but the loss's own.
        log_a_shared, log_a_each: SD of theirs, of all together and of each.
        log_amplitude: mean and SD, of the amplitudes of processes and noises.
        shifts: of the means of gamma and ln a, a pair for every member.
        present: whether the processes and the noise of scarcity are there: straight, additive,
            joint, scarce additive, scarce joint, scarce noise.
        lengths: of the additive and the joint processes, on an axis of log shares from 0 to 1.
        floor: least and greatest share at which that axis begins.
        many: runs from which one robust fit takes the place of an average of members.
        freedom: of the Student distribution of runs in a robust fit, above 2.
    """

    c: tuple[float, float] = (0.0, 2.0)
    log_k: tuple[float, float] = (0.0, 1.5)
    gamma: tuple[float, float] = (0.0, 0.5)
    log_a: float = -4.0
    log_a_shared: float = 1.0
    log_a_each: float = 1.0
    log_amplitude: tuple[float, float] = (np.log(0.2), 2.0)
    shifts: tuple[tuple[float, float], ...] = ((0.0, 0.0), (1.0, 1.5), (-1.0, -1.5))
    present: tuple[bool, ...] = (True,) * 6
    lengths: tuple[float, float] = (0.5, 1.0)
    floor: tuple[float, float] = (0.001, 0.01)
    many: int = 60
    freedom: float = 4.0


HYPERPARAMETERS = Hyperparameters()
LOG_A_OWN = 0.05  # SD of ln a of the loss's own domain, which sets the unit of all
AMPLITUDE_BOUNDS = [(np.log(1e-3), np.log(3.0))] * 6 + [(np.log(3e-3), np.log(3.0))]
FIRST_NOISE = np.log(0.2)  # from which the search for amplitudes starts
PLAIN, PROCESSES, AMPLITUDES = 3, 5, 7
NOTHING = -30.0  # logarithm of a size of nothing


# Covariances


def floor_of(shares: np.ndarray, bounds: tuple[float, float]) -> float:
    """Where the axis of log shares begins: below the small shares of the runs, inside bounds."""
    some = shares[shares > 0]
    return float(np.clip(np.quantile(some, 0.05) / 3, *bounds)) if len(some) else bounds[0]


def log_shares(shares: np.ndarray, floor: float) -> np.ndarray:
    """Shares on a logarithmic axis from 0 to 1 that is straight below the floor."""
    return np.log1p(shares / floor) / np.log1p(1 / floor)


def matern(squares: np.ndarray, length: float) -> np.ndarray:
    """Matern covariance (5/2) at squared distances."""
    away = np.sqrt(5 * squares) / length
    return (1 + away + away * away / 3) * np.exp(-away)


def kernels(
    here: np.ndarray, there: np.ndarray, floor: float, lengths: tuple[float, float]
) -> np.ndarray:
    """Covariances of the straight, the additive, the joint process between mixtures: (3, m, n)."""
    axes = zip(log_shares(here, floor).T, log_shares(there, floor).T, strict=True)
    squares = [(one[:, None] - other) ** 2 for one, other in axes]
    additive = sum(matern(square, lengths[0]) for square in squares)
    return np.stack([here @ there.T, additive, matern(sum(squares), lengths[1])])


def scarcity(log_a: np.ndarray, shares: np.ndarray, reference: float) -> np.ndarray:
    """2 where there is no effective data, 1 at the reference, near 0 where it abounds: (n,)."""
    return 2 / (1 + shares @ np.exp(log_a) / reference)


def scarce_end(log_a: np.ndarray, shares: np.ndarray) -> float:
    """The effective data that nine tenths of the runs have."""
    return float(np.quantile(shares @ np.exp(log_a), 0.1))


def inverse(root: np.ndarray) -> np.ndarray:
    """Inverse of a matrix from its lower Cholesky root."""
    half = lapack.dpotri(root, lower=1)[0]
    whole = half + half.T
    whole[np.diag_indices(len(whole))] *= 0.5
    return whole


# Priors


def curve_prior(
    domains: int, own: int | None, shift: tuple[float, float], hyper: Hyperparameters
) -> Prior:
    """Of (c, ln K, gamma, ln a): the weights of other domains are uncertain together and each.

    Args:
        domains: how many.
        own: position of the loss's own domain, or None.
        shift: of the means of gamma and ln a.
        hyper: of the prior.
    """
    head, (by_gamma, by_log_a) = np.array([hyper.c, hyper.log_k, hyper.gamma]), shift
    centre = np.append(head[:, 0], np.full(domains, hyper.log_a + by_log_a))
    centre[2] += by_gamma
    covariance = np.diag(np.append(head[:, 1], np.full(domains, hyper.log_a_each)) ** 2)
    others = np.arange(CURVE, CURVE + domains)
    if own is not None:
        centre[CURVE + own], covariance[CURVE + own, CURVE + own] = 0.0, LOG_A_OWN**2
        others = np.delete(others, own)
    covariance[np.ix_(others, others)] += hyper.log_a_shared**2
    return Prior.of(centre, covariance)


@dataclass(frozen=True)
class Processes:
    """Covariances of the processes and noises between runs, each of amplitude 1.

    Attributes:
        dense: of the processes, flattened, (5, n n).
        diagonal: of the noises, (2, n).
    """

    dense: np.ndarray
    diagonal: np.ndarray

    @classmethod
    def of(cls, covariances: np.ndarray, scarce: np.ndarray, weight: np.ndarray) -> Processes:
        """From `kernels` of the runs, their scarcity and weight."""
        dense = np.concatenate([covariances, covariances[1:] * np.outer(scarce, scarce)])
        return cls(dense.reshape(PROCESSES, -1), np.stack([scarce**2, 1 / weight]))

    def covariance(self, amplitudes: np.ndarray) -> np.ndarray:
        """Their sum, (n, n)."""
        size, n = np.exp(2 * amplitudes), self.diagonal.shape[1]
        total = (size[:PROCESSES] @ self.dense).reshape(n, n)
        total[np.diag_indices(n)] += size[PROCESSES:] @ self.diagonal
        return total

    def root(self, amplitudes: np.ndarray) -> np.ndarray:
        """Its lower Cholesky root."""
        return cholesky(self.covariance(amplitudes), lower=True, check_finite=False)


# A fitted law


@dataclass(frozen=True)
class Runs:
    """The data of the runs that a fitted law keeps.

    Attributes:
        shares: (n, k); zeros where a run has no weight.
        weight: one on average, (n,).
        floor: of the axis of log shares.
        sd: of their losses.
    """

    shares: np.ndarray
    weight: np.ndarray
    floor: float
    sd: float


@dataclass(frozen=True)
class Member:
    """A curve and its process.

    Attributes:
        curve: (c, ln K, gamma, ln a_1 .. ln a_k).
        amplitudes: logarithms, (7,).
        reference: effective data at which the scarcity is 1.
        pull: of every run on the process, (n,): the inverse covariance times what the curve left.
    """

    curve: np.ndarray
    amplitudes: np.ndarray
    reference: float
    pull: np.ndarray

    def scaled(self, mean: float, sd: float) -> Member:
        """As the law of losses of a mean and SD, where this one is of standardised losses."""
        head, log_sd = self.curve.copy(), np.log(sd)
        head[0], head[1] = mean + sd * head[0], head[1] + log_sd
        return replace(self, curve=head, amplitudes=self.amplitudes + log_sd, pull=self.pull / sd)

    def loss(self, shares: np.ndarray, runs: np.ndarray, covariances: np.ndarray) -> np.ndarray:
        """At mixtures (m, k); shares of the runs (n, k), `kernels` of both (3, m, n): (m,)."""
        return curve(self.curve, shares)[0] + self._between(shares, runs, covariances) @ self.pull

    def slopes(self, shares: np.ndarray, runs: np.ndarray, covariances: np.ndarray) -> np.ndarray:
        """Derivatives of the loss by the curve's terms, (m, 3 + k), what else it has held."""
        scarce_here, scarce_there, _, scarce = self._parts(shares, runs, covariances)
        rate = np.exp(self.curve[CURVE:]) / self.reference
        by_here = -0.5 * scarce_here[:, None] ** 2 * shares * rate
        by_there = -0.5 * scarce_there[:, None] ** 2 * runs * rate
        derivatives = curve(self.curve, shares)[1]
        derivatives[:, CURVE:] += by_here * (scarce @ (scarce_there * self.pull))[:, None]
        derivatives[:, CURVE:] += scarce_here[:, None] * (scarce @ (by_there * self.pull[:, None]))
        return derivatives

    def variances(
        self,
        shares: np.ndarray,
        known: Runs,
        covariances: np.ndarray,
        between_runs: np.ndarray,
        prior: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Posterior variance of the loss at mixtures, and the noise of a run there: (m,) each.

        The amplitudes are given, and the curve is straight in its terms near the mode (Laplace):
        Rasmussen and Williams 2006, equation 2.42, with the curve's slopes as the basis.

        Args:
            shares: of the mixtures, (m, k).
            known: the runs, (n, k).
            covariances: `kernels` of both, (3, m, n).
            between_runs: `kernels` of the runs, (3, n, n).
            prior: covariance of the curve's terms, (3 + k, 3 + k).
        """
        size, runs = np.exp(2 * self.amplitudes), known.shares
        here, there = (scarcity(self.curve[CURVE:], p, self.reference) for p in (shares, runs))
        slopes_here, slopes = (curve(self.curve, p)[1] for p in (shares, runs))
        processes = Processes.of(between_runs, there, known.weight)

        def solved(root: np.ndarray, columns: np.ndarray) -> np.ndarray:
            return solve_triangular(root, columns, lower=True, check_finite=False)

        root = processes.root(self.amplitudes)
        told, basis = solved(root, self._between(shares, runs, covariances).T), solved(root, slopes)
        before = solved(np.linalg.cholesky(prior), np.eye(len(prior)))
        precise = np.linalg.qr(np.concatenate([basis, before]), mode="r").T
        by_curve = solved(precise, (slopes_here - told.T @ basis).T)
        domains = shares.shape[1]  # the additive process is a sum of as many
        process = size[0] * (shares**2).sum(axis=1) + size[1] * domains + size[2]
        process += here**2 * (size[3] * domains + size[4]) - (told**2).sum(axis=0)
        noise = size[PROCESSES] * here**2 + size[PROCESSES + 1]
        return np.maximum(process, 0.0) + (by_curve**2).sum(axis=0), noise

    def _between(self, shares, runs, covariances) -> np.ndarray:
        """Covariance of the process between mixtures and runs, (m, n)."""
        scarce_here, scarce_there, plain, scarce = self._parts(shares, runs, covariances)
        return plain + scarce_here[:, None] * scarce * scarce_there

    def _parts(self, shares, runs, covariances) -> tuple[np.ndarray, ...]:
        log_a, size = self.curve[CURVE:], np.exp(2 * self.amplitudes)
        here, there = (scarcity(log_a, p, self.reference) for p in (shares, runs))
        plain = np.tensordot(size[:PLAIN], covariances, 1)
        return here, there, plain, np.tensordot(size[PLAIN:PROCESSES], covariances[1:], 1)


@dataclass(frozen=True, eq=False)
class State:
    """What a fitted law keeps beside its parameters.

    Attributes:
        members: curves with their processes; the curve of the first is the law's parameters.
        runs: that were fitted.
    """

    members: tuple[Member, ...]
    runs: Runs

    @cached_property
    def finite(self) -> bool:
        """Whether all of it are finite numbers."""
        return bool(np.isfinite(self.numbers()).all())

    def numbers(self) -> np.ndarray:
        """All but the first curve as one array, for tables: (m,).

        The number of members, the floor and the losses' SD; of every member its curve (of all but
        the first), amplitudes, reference and pulls; the shares of the runs, and their weights.
        """
        members, runs = self.members, self.runs
        header = [len(members), runs.floor, runs.sd]
        pieces = [part for m in members for part in (m.curve, m.amplitudes, [m.reference], m.pull)]
        return np.concatenate([header, *pieces[1:], runs.shares.ravel(), runs.weight])

    @classmethod
    def of(cls, curve: np.ndarray, numbers: np.ndarray) -> State:
        """The state of which `numbers` is the array.

        Args:
            curve: of the first member, the law's parameters, (3 + k,).
            numbers: (m,).
        """
        head, domains = len(curve), len(curve) - CURVE
        count, floor, sd = int(numbers[0]), *numbers[1:3]
        tail = head + AMPLITUDES  # where a member's reference stands
        rest = np.concatenate([curve, numbers[3:]])
        n = (len(rest) - count * (tail + 1)) // (count + domains + 1)
        blocks = rest[: count * (tail + 1 + n)].reshape(count, tail + 1 + n)
        members = tuple(Member(m[:head], m[head:tail], m[tail], m[tail + 1 :]) for m in blocks)
        shares, weight = rest[blocks.size : -n].reshape(n, domains), rest[-n:]
        return cls(members, Runs(shares, weight, floor, sd))


# The search for it


@dataclass(frozen=True)
class Search:
    """The search for a member.

    Attributes:
        shares: of the runs, (n, k).
        target: standardised losses, (n,).
        weight: above 0, one on average, (n,).
        covariances: `kernels` of the runs.
        prior: of the curve.
        hyper: of the amplitudes.
    """

    shares: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    covariances: np.ndarray
    prior: Prior
    hyper: Hyperparameters

    def member(self) -> Member:
        """The curve and the amplitudes in turn, three times."""
        amplitudes = np.full(AMPLITUDES, self.hyper.log_amplitude[0])
        amplitudes[-1] = FIRST_NOISE
        amplitudes[:-1][~np.array(self.hyper.present)] = NOTHING
        return self._in_turn(self.prior.centre, amplitudes, steps=(30, 12, 12))

    def again(self, near: Member) -> Member:
        """The same once, from a member of these runs with other weights."""
        return self._in_turn(near.curve, near.amplitudes, steps=(30,))

    def at_amplitudes(self, near: Member) -> Member:
        """The curve alone, from a member of these runs with other losses or weights."""
        return self._finished(near.curve, near.amplitudes)

    def robust(self, near: Member) -> Search:
        """The same search with less weight on runs that the others do not predict."""
        root = self._processes(near.curve).root(near.amplitudes)
        unexpected = near.pull**2 / np.diag(inverse(root))
        freedom = self.hyper.freedom
        return replace(self, weight=self.weight * (freedom + 1) / (freedom + unexpected))

    def _in_turn(self, theta, amplitudes, steps: tuple[int, ...]) -> Member:
        for most in steps:
            theta = self._curve(theta, self._processes(theta).root(amplitudes))
            amplitudes = self._amplitudes(theta, amplitudes, most)
        return self._finished(theta, amplitudes)

    def _finished(self, theta: np.ndarray, amplitudes: np.ndarray) -> Member:
        """The best curve for given amplitudes, and the process through what it leaves."""
        theta = self._curve(theta, self._processes(theta).root(amplitudes))
        root = self._processes(theta).root(amplitudes)
        left = self.target - curve(theta, self.shares)[0]
        pull = lapack.dpotrs(root, left, lower=1)[0]
        return Member(theta, amplitudes, scarce_end(theta[CURVE:], self.shares), pull)

    def _processes(self, theta: np.ndarray) -> Processes:
        log_a = theta[CURVE:]
        scarce = scarcity(log_a, self.shares, scarce_end(log_a, self.shares))
        return Processes.of(self.covariances, scarce, self.weight)

    def _curve(self, theta: np.ndarray, root: np.ndarray) -> np.ndarray:
        """The curve of greatest posterior density, for a covariance of process and noise."""

        def whiten(columns: np.ndarray) -> np.ndarray:
            return solve_triangular(root, columns, lower=True, check_finite=False)

        def model(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return curve(at, self.shares)

        mode = damped_least_squares(model, theta, self.prior, self.target, whiten, 1e-4, 40)
        return mode.theta

    def _amplitudes(self, theta: np.ndarray, amplitudes: np.ndarray, most: int) -> np.ndarray:
        """Amplitudes of greatest evidence times prior, the curve integrated out (Laplace)."""
        processes = self._processes(theta)
        value, slopes = curve(theta, self.shares)
        left = self.target - value - slopes @ (self.prior.centre - theta)
        uncertain = slopes @ self.prior.covariance @ slopes.T
        centre, sd = self.hyper.log_amplitude

        def cost(at: np.ndarray) -> tuple[float, np.ndarray]:
            try:
                covariance = processes.covariance(at) + uncertain
                root = cholesky(covariance, lower=True, check_finite=False)
            except LinAlgError:
                return 1e9, np.zeros(AMPLITUDES)
            pull = lapack.dpotrs(root, left, lower=1)[0]
            slope = inverse(root) - np.outer(pull, pull)
            away = (at - centre) / sd
            total = left @ pull + 2 * np.log(np.diag(root)).sum() + away @ away
            by_size = np.concatenate(
                [processes.dense @ slope.ravel(), processes.diagonal @ np.diag(slope)]
            )
            return total, 2 * np.exp(2 * at) * by_size + 2 * away / sd

        there = (*self.hyper.present, True)
        bounds = [b if p else (NOTHING,) * 2 for b, p in zip(AMPLITUDE_BOUNDS, there, strict=True)]
        options = {"maxiter": most, "ftol": 1e-5 if len(left) < 100 else 1e-4}
        mode = minimize(
            cost, amplitudes, jac=True, method="L-BFGS-B", bounds=bounds, options=options
        )
        return mode.x
