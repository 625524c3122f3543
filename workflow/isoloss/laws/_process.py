"""A curve of effective data with a residual process beside it: covariances, and a fitted law.

Losses are standardised: the priors are in units of their standard deviation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
from scipy.linalg import lapack, solve_triangular

from isoloss.laws._mixture import CURVE, Curvature, Prior, curve, curve_of, roots


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
    lengths: tuple[float, float] = (2.0, 1.0)
    floor: tuple[float, float] = (0.001, 0.01)
    many: int = 60
    freedom: float = 4.0


HYPERPARAMETERS = Hyperparameters()
ALONE = 64  # runs from which a matrix is inverted by itself, from its Cholesky root
LOG_A_OWN = 0.05  # SD of ln a of the loss's own domain, which sets the unit of all
AMPLITUDE_BOUNDS = [(np.log(1e-3), np.log(3.0))] * 6 + [(np.log(3e-3), np.log(3.0))]
PLAIN, PROCESSES, AMPLITUDES = 3, 5, 7
NOTHING = -30.0  # logarithm of a size of nothing


# Covariances


def floor_of(shares: np.ndarray, bounds: tuple[float, float]) -> float:
    """Where the axis of log shares begins: below the small shares of the runs, inside bounds."""
    some = np.sort(shares[shares > 0])
    if not len(some):
        return bounds[0]
    below, between = divmod(0.05 * (len(some) - 1), 1.0)  # np.quantile takes ten times as long
    low, high = some[int(below)], some[min(int(below) + 1, len(some) - 1)]
    return float(np.clip((low + between * (high - low)) / 3, *bounds))


def log_shares(shares: np.ndarray, floor: float | np.ndarray) -> np.ndarray:
    """Shares on a logarithmic axis from 0 to 1 that is straight below the floor."""
    return np.log1p(shares / floor) / np.log1p(1 / floor)


def matern(squares: np.ndarray, length: float) -> np.ndarray:
    """Matern covariance (5/2) at squared distances."""
    away = np.sqrt(5 * squares) / length
    return (1 + away + away * away / 3) * np.exp(-away)


def kernels(
    here: np.ndarray,
    there: np.ndarray,
    floor: float | np.ndarray,
    lengths: tuple[float, float],
) -> np.ndarray:
    """Covariances of the straight, the additive, the joint process between mixtures.

    Args:
        here: mixtures, (..., m, k).
        there: others, (..., n, k).
        floor: of the axis of log shares, (...).
        lengths: of the additive and the joint process.

    Returns:
        (..., 3, m, n).
    """
    each = np.asarray(floor)[..., None, None]
    axes = [np.moveaxis(log_shares(shares, each), -1, 0) for shares in (here, there)]
    joint = additive = 0.0
    for one, other in zip(*axes, strict=True):
        square = (one[..., :, None] - other[..., None, :]) ** 2
        additive = additive + matern(square, lengths[0])
        joint = joint + square
    straight = here @ np.swapaxes(there, -1, -2)
    return np.stack([straight, additive, matern(joint, lengths[1])], axis=-3)


def effective(log_a: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The data that mixtures (..., n, k) are worth, (..., n), by ln a (..., k)."""
    return (shares @ np.exp(log_a)[..., None])[..., 0]


def scarcity(log_a: np.ndarray, shares: np.ndarray, reference: float | np.ndarray) -> np.ndarray:
    """2 where there is no effective data, 1 at the reference, near 0 where it abounds: (..., n)."""
    return 2 / (1 + effective(log_a, shares) / reference)


def scarce_end(log_a: np.ndarray, shares: np.ndarray, present: np.ndarray) -> np.ndarray:
    """The effective data that nine tenths of the runs have, (b,); of those present, (b, n)."""
    data = np.sort(np.where(present, effective(log_a, shares), np.inf), axis=-1)
    place = 0.1 * (present.sum(axis=-1) - 1)
    below = np.floor(place).astype(int)[:, None]
    above = np.minimum(below + 1, present.sum(axis=-1)[:, None] - 1)
    low, high = (np.take_along_axis(data, at, axis=-1)[:, 0] for at in (below, above))
    return low + (place - below[:, 0]) * (high - low)


# Priors


@cache
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
        dense: of the processes, flattened, (b, 5, n n).
        diagonal: of the noises, (b, 2, n).
        absent: 1 where there is no run, (b, n).
    """

    dense: np.ndarray
    diagonal: np.ndarray
    absent: np.ndarray

    @classmethod
    def of(cls, covariances, scarce, weight: np.ndarray, present: np.ndarray) -> Processes:
        """From `kernels` of the runs, their scarcity and weight, and whether they are there."""
        both = scarce[:, None, :, None] * scarce[:, None, None, :]
        dense = np.concatenate([covariances, covariances[:, 1:] * both], axis=1)
        noises = np.stack([scarce**2, present / weight], axis=1)
        return cls(dense.reshape(len(scarce), PROCESSES, -1), noises, 1.0 - present)

    def some(self, rows: np.ndarray) -> Processes:
        """Of some of the laws."""
        return Processes(self.dense[rows], self.diagonal[rows], self.absent[rows])

    def covariance(self, size: np.ndarray) -> np.ndarray:
        """Their sum with sizes (squared amplitudes, (b, 7)): (b, n, n)."""
        count, n = self.absent.shape
        total = (size[:, None, :PROCESSES] @ self.dense).reshape(count, n, n)
        own = (size[:, None, PROCESSES:] @ self.diagonal)[:, 0] + self.absent
        total[:, range(n), range(n)] += own
        return total

    def evidence(self, log_size: np.ndarray, left: np.ndarray, more: np.ndarray) -> Curvature:
        """-2 log likelihood of what is left, (b, n), with more covariance, (b, n, n).

        Its slopes by the amplitudes, and its curvature: from ALONE runs on the average of the
        observed and the expected information (Gilmour et al. 1995), which takes no product of
        large matrices.
        """
        size, (count, n) = np.exp(2 * log_size), left.shape
        covariance = self.covariance(size) + more
        root = roots(covariance)
        inverse = inverses(covariance, root)
        pull = (inverse @ left[..., None])[..., 0]
        by_dense = self.dense.reshape(count, PROCESSES * n, n) @ pull[..., None]
        by_dense = by_dense.reshape(count, PROCESSES, n)
        moved = np.concatenate([by_dense, self.diagonal * pull[:, None]], axis=1)
        moved *= 2 * size[..., None]
        traces = np.concatenate(
            [
                (self.dense @ inverse.reshape(count, -1, 1))[..., 0],
                (self.diagonal @ np.diagonal(inverse, 0, 1, 2)[..., None])[..., 0],
            ],
            axis=1,
        )
        gradient = 2 * size * traces - (moved @ pull[..., None])[..., 0]
        objective = (left * pull).sum(axis=-1)
        objective += 2 * np.log(np.diagonal(root, 0, 1, 2)).sum(axis=-1)
        curvature = moved @ inverse @ moved.swapaxes(-1, -2)
        if n < ALONE:
            both = 4 * size[:, :, None] * size[:, None, :]
            curvature = 2 * curvature - both * self._expected(inverse)
            curvature[:, range(AMPLITUDES), range(AMPLITUDES)] += 2 * gradient
        return Curvature(objective, gradient, curvature)

    def _expected(self, inverse: np.ndarray) -> np.ndarray:
        """Traces of products of two of the covariances, each after the inverse, (b, 7, 7)."""
        count, n = self.absent.shape
        products = self.dense.reshape(count, PROCESSES * n, n) @ inverse
        products = products.reshape(count, PROCESSES, n, n)
        others = np.empty((count, AMPLITUDES, n, n))
        others[:, :PROCESSES] = products.swapaxes(-1, -2)
        others[:, PROCESSES:] = inverse[:, None] * self.diagonal[:, :, None, :]
        flat, traces = (count, -1, n * n), np.empty((count, AMPLITUDES, AMPLITUDES))
        own = products.reshape(flat) @ others.reshape(flat).swapaxes(-1, -2)
        traces[:, :PROCESSES] = own
        traces[:, PROCESSES:, :PROCESSES] = own[:, :, PROCESSES:].swapaxes(-1, -2)
        noises = self.diagonal @ inverse**2 @ self.diagonal.swapaxes(-1, -2)
        traces[:, PROCESSES:, PROCESSES:] = noises
        return traces


def inverses(covariances: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Inverses of matrices, (b, n, n), whose lower Cholesky roots are given."""
    n = covariances.shape[-1]
    if n < ALONE:
        sound = np.isfinite(root).all(axis=(-1, -2))
        return np.linalg.inv(np.where(sound[:, None, None], covariances, np.nan + np.eye(n)))
    whole = np.stack([lapack.dpotri(one, lower=1)[0] for one in root])
    whole = np.tril(whole)
    whole += np.tril(whole, -1).swapaxes(-1, -2)
    return whole


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

    def like(self, other: Runs) -> bool:
        """Whether others have the same mixtures on the same axis."""
        return self.floor == other.floor and np.array_equal(self.shares, other.shares)


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
        processes = Processes.of(
            between_runs[None], there[None], known.weight[None], np.ones((1, len(runs)))
        )

        def solved(root: np.ndarray, columns: np.ndarray) -> np.ndarray:
            return solve_triangular(root, columns, lower=True, check_finite=False)

        root = np.linalg.cholesky(processes.covariance(size[None])[0])
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


@dataclass(frozen=True)
class Blend:
    """A weighted sum of members of the same runs, with what does not depend on mixtures summed.

    Attributes:
        curves: of the members, (m, 3 + k).
        weight: of the members, (m,).
        reference: of their scarcity, (m,).
        plain: what each run adds by the straight, the additive, the joint process, (3, n).
        scarce: the same by the additive and the joint process of scarcity, (2, n, m).
        runs: that they were fitted to.
    """

    curves: np.ndarray
    weight: np.ndarray
    reference: np.ndarray
    plain: np.ndarray
    scarce: np.ndarray
    runs: Runs

    @classmethod
    def of(cls, members: Sequence[Member], weight: np.ndarray, runs: Runs) -> Blend:
        """Of members and their weights."""
        curves = np.array([one.curve for one in members])
        reference = np.array([one.reference for one in members])
        size = np.exp(2 * np.array([one.amplitudes[:PROCESSES] for one in members]))
        pull = weight[:, None] * np.array([one.pull for one in members])
        held = pull * 2 / (1 + (runs.shares @ np.exp(curves[:, CURVE:]).T).T / reference[:, None])
        plain = size[:, :PLAIN].T @ pull
        scarce = size[:, PLAIN:].T[..., None] * held
        return cls(curves, weight, reference, plain, scarce.swapaxes(-1, -2), runs)

    def loss(self, shares: np.ndarray, lengths: tuple[float, float]) -> np.ndarray:
        """At mixtures (x, k): (x,)."""
        between = kernels(shares, self.runs.shares, self.runs.floor, lengths)
        total = (between @ self.plain[..., None]).sum(axis=(0, -1))
        data = shares @ np.exp(self.curves[:, CURVE:]).T
        scarce = 2 / (1 + data / self.reference)
        total += (scarce * (between[1:] @ self.scarce).sum(axis=0)).sum(axis=-1)
        return total + curve_of(self.curves[:, :CURVE], data.T).T @ self.weight


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
